"""A real agent host over a real socketpair, and agents written into a folder."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DEADLINE_S = 20.0


class HostProcess:
    """`python -m aios_agents.host`, and its user folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder.parent / "host.log"
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "aios_agents.host", "--fd", str(theirs.fileno()), "--agents", str(folder)]
        with theirs, self.log.open("wb") as log:
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=log)
        self.socket = ours
        self.refused: list[tuple[str, str, str]] = []
        ours.settimeout(DEADLINE_S)

    def write(self, name: str, code: str, **keys: Any) -> None:
        """An agent of the user's: `code` is the body of its agent.py."""
        keys = {"name": name, "description": "A test.", "entry": "agent:main", **keys}
        (self.folder / name).mkdir(exist_ok=True)
        (self.folder / name / "agent.py").write_text(code, encoding="utf-8")
        lines = [f"{key} = {json.dumps(value)}\n" for key, value in keys.items()]
        (self.folder / name / "agent.toml").write_text("".join(lines), encoding="utf-8")

    def send(self, packet: bytes | dict[str, Any], fds: list[int] | None = None) -> None:
        data = packet if isinstance(packet, bytes) else json.dumps(packet).encode()
        socket.send_fds(self.socket, [data], fds or [])

    def receive(self) -> dict[str, Any]:
        reply: dict[str, Any] = json.loads(self.socket.recv(64 * 1024))
        return reply

    def spawn(self, agent: str, pid: int = 1, stdin: bytes = b"", **keys: Any) -> tuple[int, int]:
        """Start an agent. Returns its OS pid and a descriptor from which all its output comes."""
        in_r, in_w = os.pipe()
        out_r, out_w = os.pipe()
        os.write(in_w, stdin)
        os.close(in_w)
        keys = {"task": "", "cwd": None, "columns": None, "stdin": bool(stdin), **keys}
        ours, theirs = socket.socketpair()
        with ours, theirs:  # nobody is at the other end but the token
            ours.send(b"t\n")
            self.send({"op": "spawn", "pid": pid, "agent": agent, **keys}, [in_r, out_w, out_w, theirs.fileno()])
        os.close(in_r)
        os.close(out_w)
        reply = self.receive()
        assert (reply["op"], reply["pid"]) == ("spawned", pid), reply
        return reply["os_pid"], out_r

    def run(self, agent: str, **keys: Any) -> tuple[int, str]:
        """Run an agent to its end: (status as the host reports it, all it wrote); `refused` is what was to it."""
        _, out = self.spawn(agent, **keys)
        with os.fdopen(out, encoding="utf-8") as file:
            text = file.read()
        self.refused = []
        while (reply := self.receive())["op"] == "refused":
            self.refused.append((reply["call"], reply["action"], reply["what"]))
        assert reply["op"] == "exited"
        return reply["status"], text

    def close(self) -> int:
        self.socket.close()
        return self.process.wait(DEADLINE_S)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    folder = tmp_path_factory.mktemp("host") / "agents"
    folder.mkdir()
    process = HostProcess(folder)
    yield process
    assert process.close() == 0, process.log.read_text()

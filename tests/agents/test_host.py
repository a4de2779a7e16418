"""The fork server over its real socket: listing, spawning, exit statuses, and what a child inherits."""

from __future__ import annotations

import os
import select
import signal
import socket
import statistics
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from aios_agents import manifest
from aios_agents.host import Host
from aios_agents.runner import Start
from aios_kernel.client import confine
from aios_kernel.client.confine import Confinement

from .conftest import DEADLINE_S, HostProcess

SLEEPER = "import asyncio\n\nasync def main(agent):\n    agent.write('up\\n')\n    await asyncio.Event().wait()\n"


def test_new_agents_appear_at_once_and_broken_ones_are_named_in_the_log(host: HostProcess) -> None:
    host.send({"op": "agents"})
    before = {agent["name"] for agent in host.receive()["agents"]}
    host.write("fresh", "async def main(agent): ...\n", tools=["calculator"])
    (host.folder / "torn").mkdir()
    (host.folder / "torn" / "agent.toml").write_text("name = ")
    host.send({"op": "agents"})
    after = {agent["name"]: agent for agent in host.receive()["agents"]}
    assert after.keys() - before == {"fresh"}
    assert after["fresh"]["source"] == str(host.folder / "fresh")
    assert after["fresh"]["tools"] == ["calculator"]
    assert "torn/agent.toml: not TOML" in host.log.read_text()


def refusal(host: HostProcess, packet: dict[str, object], num_fds: int = 4) -> tuple[str, str]:
    fd = os.open(os.devnull, os.O_RDWR)
    host.send({"op": "spawn", "pid": 9, **packet}, [fd] * num_fds)
    os.close(fd)
    reply = host.receive()
    assert (reply["op"], reply["pid"]) == ("failed", 9)
    return reply["errno"], reply["message"]


def test_what_cannot_be_spawned_is_refused_with_the_reason(host: HostProcess) -> None:
    assert refusal(host, {"agent": "nosuch"}) == ("ENOENT", "no agent is called nosuch")
    errno, message = refusal(host, {"agent": "torn"})
    assert (errno, "not TOML" in message) == ("ECHILD", True)
    errno, message = refusal(host, {"agent": "math", "task": 3})
    assert (errno, "task" in message) == ("ECHILD", True)
    assert refusal(host, {"agent": "math"}, num_fds=3)[0] == "ECHILD"


def test_malformed_packets_do_no_harm(host: HostProcess) -> None:
    for packet in (b"\xff{", b"[]", b"3", b"{}", b'{"op": "dance"}', b'{"op": "spawn"}', b'"' + b"x" * 70_000):
        host.send(packet)
    host.send({"op": "agents"})
    assert host.receive()["op"] == "agents"
    num_fds = len(list(Path(f"/proc/{host.process.pid}/fd").iterdir()))
    fd = os.open(os.devnull, os.O_RDWR)
    host.send(b"{}", [fd, fd, fd])
    os.close(fd)
    host.send({"op": "agents"})
    assert host.receive()["op"] == "agents"
    assert num_fds == len(list(Path(f"/proc/{host.process.pid}/fd").iterdir()))


def test_exit_statuses(host: HostProcess) -> None:
    host.write("seven", "async def main(agent): return 7\n")
    assert host.run("seven") == (7, "")
    host.write("suicide", "import os\nasync def main(agent): os.kill(os.getpid(), 9)\n")
    assert host.run("suicide") == (-9, "")
    host.write("syntax", "async def main(agent:\n")
    status, text = host.run("syntax")
    assert (status, "SyntaxError" in text) == (1, True)
    host.write("unnamed", "x = 1\n")
    status, text = host.run("unnamed")
    assert (status, text.rstrip().endswith("entry: agent has no function main")) == (1, True)


def test_a_child_has_its_streams_and_nothing_else_of_the_host(host: HostProcess) -> None:
    code = (
        "import os, signal\n"
        "fds = sorted(int(fd) for fd in os.listdir('/proc/self/fd'))\n"
        "def main_(agent):\n"
        "    agent.write(f'{fds[:-1]} {os.getsid(0) == os.getpid()} {os.getcwd()} {os.environ[\"COLUMNS\"]}\\n')\n"
        "    agent.write(f'{signal.getsignal(signal.SIGTERM) == signal.SIG_DFL} ')\n"
        "    agent.write(f'{signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL}\\n')\n"
        "async def main(agent): main_(agent)\n"
    )
    host.write("bare", code)
    status, text = host.run("bare", cwd="/", columns=77)
    assert (status, text) == (0, "[0, 1, 2, 3] True / 77\nTrue True\n")


def test_random_numbers_differ_between_children(host: HostProcess) -> None:
    host.write("dice", "import random\nasync def main(agent): agent.write(str(random.random()))\n")
    assert host.run("dice")[1] != host.run("dice")[1]


def test_signals_reach_the_agents_group_as_soon_as_it_is_announced(host: HostProcess) -> None:
    host.write("sleeper", SLEEPER)
    for sig in (signal.SIGTERM, signal.SIGKILL):
        os_pid, out = host.spawn("sleeper")
        os.killpg(os_pid, sig)
        os.close(out)
        assert host.receive() == {"op": "exited", "pid": 1, "status": -sig}


def test_many_agents_at_once(host: HostProcess, capsys: pytest.CaptureFixture[str]) -> None:
    host.write("sleeper", SLEEPER)
    waits, started = [], {}
    for pid in range(1, 33):
        begin = time.perf_counter()
        started[pid] = host.spawn("sleeper", pid=pid)
        waits.append((time.perf_counter() - begin) * 1e3)
    for os_pid, out in started.values():
        os.killpg(os_pid, signal.SIGTERM)
        os.close(out)
    ended = [host.receive() for _ in started]
    assert sorted(reply["pid"] for reply in ended) == sorted(started)
    assert {reply["status"] for reply in ended} == {-signal.SIGTERM}
    with capsys.disabled():
        print(f" [spawn: median {statistics.median(waits):.1f} ms, worst {max(waits):.1f} ms] ", end="")


@pytest.mark.skipif(bool(confine.why_not()), reason=confine.why_not())
def test_a_confined_agent_starts_in_milliseconds_too(
    host: HostProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host.write("sleeper", SLEEPER)
    confinement = asdict(Confinement(confine.SYSTEM, (str(tmp_path), "/dev/null"), 4 << 30, 1 << 20, 64, 60))
    took: dict[bool, list[float]] = {False: [], True: []}
    for number in range(48):
        confined = number % 2 == 1
        begin = time.perf_counter()
        os_pid, out = host.spawn("sleeper", confinement=confinement if confined else None)
        assert os.read(out, 3) == b"up\n"
        took[confined].append((time.perf_counter() - begin) * 1e3)
        os.killpg(os_pid, signal.SIGTERM)
        os.close(out)
        assert host.receive()["op"] == "exited"
    before, after = statistics.median(took[False]), statistics.median(took[True])
    with capsys.disabled():
        print(f" [until it runs: median {before:.1f} ms, confined {after:.1f} ms: {after / before:.2f}x] ", end="")


@pytest.mark.skipif(bool(confine.why_not()), reason=confine.why_not())
def test_a_confined_agent_has_its_folder_and_its_scratch(host: HostProcess, tmp_path: Path) -> None:
    code = (
        "import os, tempfile\n"
        "from pathlib import Path\n"
        "async def main(agent):\n"
        "    with tempfile.TemporaryFile() as file: file.write(b'x')\n"
        "    Path('own').write_text('mine')\n"
        "    agent.write(f'{Path.home()} {Path.cwd()} {(Path(__file__).parent / \"data.txt\").read_text()}\\n')\n"
        "    Path(__file__).write_text('x')\n"
    )
    host.write("reader", code)
    (host.folder / "reader" / "data.txt").write_text("beside it")
    confinement = asdict(Confinement(confine.SYSTEM, (str(tmp_path), "/dev/null"), 4 << 30, 1 << 20, 64, 60))
    status, text = host.run("reader", confinement=confinement, cwd="/")
    assert text.startswith(f"{tmp_path} {tmp_path} beside it\n")
    assert (status, "PermissionError" in text, (tmp_path / "own").read_text()) == (1, True, "mine")
    assert host.refused == [("openat", "write", str(host.folder / "reader" / "agent.py"))]
    status, text = host.run("reader", confinement={**confinement, "write": [str(tmp_path / "none")]})
    assert (status, text.startswith("agent host: reader cannot be confined: ")) == (126, True)


@pytest.mark.parametrize("how", ["socket closed", "host killed"])
def test_agents_end_with_the_host(tmp_path: Path, how: str) -> None:
    (tmp_path / "agents").mkdir()
    host = HostProcess(tmp_path / "agents")
    host.write("sleeper", SLEEPER)
    os_pid, out = host.spawn("sleeper")
    assert os.read(out, 3) == b"up\n"
    watch = os.pidfd_open(os_pid)
    if how == "host killed":
        host.process.kill()
    assert host.close() == (0 if how == "socket closed" else -9)
    assert select.select([watch], [], [], DEADLINE_S)[0], "the agent outlived its host"
    os.close(watch)
    os.close(out)


def test_a_fork_that_fails_leaks_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_fork() -> int:
        raise BlockingIOError("no more processes")

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        host = Host(theirs, None)
        monkeypatch.setattr(os, "fork", no_fork)
        agent = manifest.find(None)[0]["math"]
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(BlockingIOError):
            host._fork(agent, Start(1, "math"), None, [])
        assert before == len(list(Path("/proc/self/fd").iterdir()))
        os.close(host._wake_r)
        os.close(host._wake_w)

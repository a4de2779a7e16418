"""A running kernel as tests use it, with an agent that does what a test tells it to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from aios_kernel.client import KernelClient, Paths, event_of, output_bytes
from aios_kernel.protocol import Event, EventKind, ProcInfo, RunRequest, SyscallRequest

PROBE_MANIFEST = """
name = "probe"
description = "Does what its task says, for tests."
entry = "probe:main"
reads_stdin = true
"""

# The first word of the task chooses what to do. "up" on stdout tells that it is being done.
PROBE_PROGRAM = """
import asyncio, os, signal, subprocess, sys

async def main(agent):
    what, _, rest = agent.task.partition(" ")
    if what == "exit":
        agent.write("out\\n")
        agent.note("err")
        return int(rest)
    if what == "echo":
        while data := await asyncio.to_thread(os.read, 0, 65_536):
            agent.write(data.decode())
        return 0
    if what == "busy":
        for _ in range(int(rest)):
            await agent.me()
        return 0
    if what == "flood":
        block = "x" * 65_535 + "\\n"
        for _ in range(int(rest)):
            agent.write(block)
        return 0
    if what == "daemonize":  # leaves a grandchild behind that holds the pipes open
        child = subprocess.Popen(["sleep", "60"])
        agent.write(f"{child.pid}\\n")
        return 0
    if what == "chat":
        reply = await agent.chat([{"role": "user", "content": rest}], max_tokens=64)
        agent.write(reply.text)
        return 0
    if what == "family":
        child = await agent.spawn("probe", "exit 7")
        agent.write(f"{(await agent.wait(child)).exit_code}\\n")
        return 0
    if what == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if what == "selfstop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if what == "deaf":
        os.close(0)
    token = agent._kernel._http.headers["Authorization"].removeprefix("Bearer ")
    agent.write(f"up {token}\\n")
    await asyncio.Event().wait()
"""


@dataclass(frozen=True)
class Probe:
    """A probe agent that waits, and a client that makes syscalls in its name."""

    pid: int
    as_agent: KernelClient

    def call(self, name: str, /, *, deadline_s: float | None = 20.0, **args: Any) -> Any:
        return self.as_agent.syscall(SyscallRequest(name, args, deadline_s))


@dataclass(frozen=True)
class Daemon:
    """A running kernel: `client` speaks to it as the person does."""

    client: KernelClient
    paths: Paths

    def run(self, task: str, agent: str = "probe", **options: Any) -> int:
        return self.client.run(RunRequest(agent, task, **options))

    def events(self, pid: int, **options: Any) -> list[Event]:
        stream = self.client.events(pid, **options)
        try:
            return [event_of(data) for _, data in stream]
        finally:
            stream.close()

    def output(self, pid: int, kind: EventKind = EventKind.STDOUT) -> bytes:
        return b"".join(output_bytes(event) for event in self.events(pid, kinds=(kind,)))

    def probe(self, task: str = "hold", **options: Any) -> Probe:
        pid = self.run(task, **options)
        stream = self.client.events(pid, follow=True, kinds=(EventKind.STDOUT,))
        try:
            for _, data in stream:
                word, _, token = output_bytes(event_of(data)).decode().strip().partition(" ")
                assert word == "up"
                return Probe(pid, KernelClient(self.client.socket_path, token))
        finally:
            stream.close()
        raise AssertionError(f"the probe ended early: {self.events(pid)}\n{self.log()}")

    def finished(self, pid: int, timeout_s: float = 20.0) -> ProcInfo:
        return self.client.wait(pid, timeout_s=timeout_s)

    def log(self) -> str:
        return self.paths.log.read_text() if self.paths.log.exists() else ""


def os_alive(os_pid: int) -> bool:
    try:
        os.kill(os_pid, 0)
    except ProcessLookupError:
        return False
    return True

"""The confinement of agents: what each may have, its scratch folder, and a guard over what the system does not limit.

Applied by the agent host in the process that becomes the agent (see `client.confine`): the kernel only says what.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from aios_kernel.audit import Entry
from aios_kernel.client import confine
from aios_kernel.client.confine import Confinement
from aios_kernel.process import Process
from aios_kernel.protocol import Outcome, Pid
from aios_kernel.sandbox import usage
from aios_kernel.sandbox.config import SandboxConfig
from aios_kernel.sandbox.line import Accept, Line, Traffic

log = logging.getLogger(__name__)

GUARD_S: Final = 1.0  # between two looks; a thousand idle agents cost 15 ms a look
OPEN_FILES: Final = 512  # of an agent, connections to the kernel included


@dataclass(frozen=True, slots=True)
class _Ward:
    process: Process
    folder: Path
    os_pid: int | None = None


class AgentSandbox:
    """The scratch folders of all agents, and who is confined. Event loop only.

    Attributes:
        accept: answers on agents' connections; who serves them sets it.
        why_not: agents are not confined; "" where they are.
    """

    def __init__(self, folder: Path, config: SandboxConfig, tell: Callable[[Entry], object]) -> None:
        """
        Args:
            folder: holds one folder for each process; what a former kernel left in it goes.
            tell: hears for the audit log what a process is killed for.
        """
        self._folder = folder
        self._config = config
        self.accept: Accept = _refuse
        self._tell = tell
        self._wards: dict[Pid, _Ward] = {}
        self._guard: asyncio.Task[None] | None = None
        _remove(folder)
        self.why_not = "the configuration says so: [sandbox] agents = false" if not config.agents else confine.why_not()
        if self.why_not:
            log.warning("agents run with all your rights: %s", self.why_not)

    def line(self, process: Process, token: str) -> Line:
        """A process's way to the kernel. Raises OSError."""
        malformed = _entry(process, "sandbox:frame", "what it sent was no HTTP request")
        return Line(token, self.accept, lambda: self._tell(malformed))

    def enter(self, process: Process) -> Confinement | None:
        """What the process is to be confined to; None: it is not. Raises OSError."""
        if self.why_not:
            return None
        folder = self._folder / str(process.pid)
        folder.mkdir(mode=0o700, parents=True)
        self._wards[process.pid] = _Ward(process, folder)
        config = self._config
        return Confinement(
            read=confine.SYSTEM,
            write=(str(folder), "/dev/null"),
            memory_bytes=config.memory_bytes,
            file_bytes=config.scratch_bytes,
            open_files=OPEN_FILES,
            cpu_s=config.cpu_s,
        )

    def watch(self, pid: Pid, os_pid: int, over: Callable[[Pid, str], None]) -> None:
        """From now on `over` hears when the process takes more than it may, and why; it is to be killed."""
        ward = self._wards.get(pid)
        if ward is None:
            return
        self._wards[pid] = replace(ward, os_pid=os_pid)
        if self._guard is None:
            self._guard = asyncio.create_task(self._keep_guard(over))

    def wrote(self, process: Process, before: int, now: int, over: Callable[[Pid, str], None]) -> None:
        """The process, confined or not, has written output: `before` bytes in its life until then, `now` with that."""
        limit = self._config.output_bytes
        if before <= limit < now:
            self._end(process, f"more than {limit >> 20} MiB of output", over)

    def refused(self, pid: Pid, call: str, action: str, what: str) -> None:
        """The system has refused a call of the process."""
        ward = self._wards.get(pid)
        if ward is not None:
            self._tell(replace(_entry(ward.process, f"sandbox:{action}", f"the sandbox refused {call}"), resource=what))

    async def leave(self, pid: Pid) -> None:
        """The process has ended: its folder goes."""
        ward = self._wards.pop(pid, None)
        if ward is None:
            return
        try:
            ward.folder.rmdir()  # most are empty
        except OSError:
            await asyncio.to_thread(_remove, ward.folder)

    async def close(self) -> None:
        if self._guard is not None:
            self._guard.cancel()
            await asyncio.gather(self._guard, return_exceptions=True)
        await asyncio.to_thread(_remove, self._folder)

    async def _keep_guard(self, over: Callable[[Pid, str], None]) -> None:
        while True:
            await asyncio.sleep(GUARD_S)
            for ward, why in await asyncio.to_thread(self._excesses, list(self._wards.values())):
                if self._wards.get(ward.process.pid) is ward:
                    self._end(ward.process, why, over)

    def _end(self, process: Process, why: str, over: Callable[[Pid, str], None]) -> None:
        log.warning("process %d is killed: %s", process.pid, why)
        self._tell(_entry(process, "sandbox:limit", why))
        over(process.pid, why)

    def _excesses(self, wards: list[_Ward]) -> list[tuple[_Ward, str]]:
        """Any thread: it uses nothing that changes."""
        return [(ward, why) for ward in wards if (why := self._excess(ward))]

    def _excess(self, ward: _Ward) -> str:
        """What a process has too much of; "" mostly."""
        limits = self._config
        if ward.os_pid is not None and usage.num_threads(ward.os_pid) > limits.threads:
            return f"more than {limits.threads} threads"
        if usage.disk_bytes(ward.folder, ward.os_pid, limits.scratch_bytes) > limits.scratch_bytes:
            return f"more than {limits.scratch_bytes >> 20} MiB or {usage.MAX_FILES} files in its scratch folder"
        return ""


def _refuse(connection: socket.socket, _: Traffic) -> None:
    connection.close()


def _entry(process: Process, action: str, why: str) -> Entry:
    request = process.request
    return Entry("decision", process.pid, request.agent, request.group, action=action, outcome=Outcome.DENY, why=why)


def _remove(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        try:
            usage.remove(folder)
        except OSError as error:
            log.error("the scratch folder %s cannot be removed: %s", folder, error)

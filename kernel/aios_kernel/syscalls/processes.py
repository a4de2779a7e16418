"""proc.*"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from aios_kernel import eventlog
from aios_kernel.access.need import Kind, Need
from aios_kernel.admission import inherited_class
from aios_kernel.errors import BadRequest, NoSuchProcess, NotPermitted
from aios_kernel.journal import Journal
from aios_kernel.life import Life
from aios_kernel.process import Process
from aios_kernel.protocol import History, Mail, ProcInfo, ProcState, RunRequest, Signal, Started
from aios_kernel.saved import history
from aios_kernel.supervisor import Supervisor
from aios_kernel.syscalls.table import NoArgs, OnDelta, Syscall, nothing


@dataclass(frozen=True, slots=True)
class PidArgs:
    pid: int


@dataclass(frozen=True, slots=True)
class SendArgs:
    pid: int
    text: str


@dataclass(frozen=True, slots=True)
class RecvArgs:
    timeout_s: float | None = None  # None: as long as it takes


@dataclass(frozen=True, slots=True)
class ForkArgs(RunRequest):
    """Those of proc.spawn; "" is the caller's own agent."""

    agent: str = ""


@dataclass(frozen=True, slots=True)
class SignalArgs:
    pid: int
    signal: Signal


@dataclass(frozen=True, slots=True)
class Collected:
    """Result of proc.wait: `output` is all that the child wrote to standard output."""

    exit_code: int
    output: str


class ProcessSyscalls:
    def __init__(self, supervisor: Supervisor, journal: Journal) -> None:
        self._supervisor = supervisor
        self._journal = journal

    def rows(self) -> dict[str, Syscall]:
        waiting = ProcState.WAITING
        return {
            "proc.spawn": Syscall(RunRequest, self._spawn, _start, waiting),
            "proc.fork": Syscall(ForkArgs, self._fork, _copy, waiting),
            "proc.history": Syscall(NoArgs, self._history, nothing, effects=False),
            "proc.wait": Syscall(PidArgs, self._wait, self._read_needs, waiting),
            "proc.send": Syscall(SendArgs, self._send, self._send_needs),
            "proc.recv": Syscall(RecvArgs, self._recv, nothing, waiting),
            "proc.signal": Syscall(SignalArgs, self._signal, self._signal_needs),
            "proc.self": Syscall(NoArgs, self._self, nothing, effects=False),
        }

    async def _spawn(self, life: Life, request: RunRequest, _: OnDelta) -> Started:
        """A child gets no more than its parent has: its group, and no better nice value or policy class."""
        if request.fork is not None or request.snapshot is not None:
            raise NotPermitted("proc.spawn: fork, snapshot: contexts are a person's; proc.fork copies the caller's")
        return await self._start_child(life, request)

    async def _fork(self, life: Life, args: ForkArgs, _: OnDelta) -> Started:
        """A child that begins with a copy of the caller's context and conversation."""
        if args.fork is not None or args.snapshot is not None:
            raise NotPermitted("proc.fork: fork, snapshot: it is the caller's own context that is copied")
        mine = life.process
        request = dataclasses.replace(args, agent=args.agent or mine.request.agent, fork=mine.pid)
        return await self._start_child(life, request)

    async def _history(self, life: Life, _: NoArgs, __: OnDelta) -> History | None:
        return history(life.history) if life.history is not None else None

    async def _start_child(self, life: Life, request: RunRequest) -> Started:
        if request.stdin:
            raise BadRequest("stdin: a child has no standard input; send it messages", key="stdin")
        mine = life.process
        request = dataclasses.replace(
            request,
            group=mine.request.group,
            nice=max(request.nice, mine.nice),
            policy_class=inherited_class(request.policy_class, mine.policy_class),
            cwd=request.cwd or mine.request.cwd,
            columns=None,
        )
        return Started(await self._supervisor.run(request, parent=mine))

    async def _wait(self, life: Life, args: PidArgs, _: OnDelta) -> Collected:
        info = await self._known(life, args.pid)
        if info.exit_code is None:
            info = await self._supervisor.wait(args.pid)
        if info.ppid == life.process.pid:
            self._supervisor.collect(args.pid)
        assert info.exit_code is not None  # wait returns at the end
        return Collected(info.exit_code, await eventlog.output_of(self._journal, args.pid))

    async def _send(self, life: Life, args: SendArgs, _: OnDelta) -> None:
        self._supervisor.mail(args.pid, Mail(args.text, life.process.pid))

    async def _recv(self, life: Life, args: RecvArgs, _: OnDelta) -> Mail | None:
        limit = asyncio.timeout(args.timeout_s)
        try:
            async with limit:
                return await life.receive()
        except TimeoutError:
            if not limit.expired():
                raise
            return None

    async def _signal(self, __: Life, args: SignalArgs, _: OnDelta) -> ProcInfo:
        return await self._supervisor.signal(args.pid, args.signal)

    async def _self(self, life: Life, _: NoArgs, __: OnDelta) -> ProcInfo:
        return await self._supervisor.census.info(life.process.pid)

    async def _known(self, life: Life, pid: int) -> ProcInfo:
        """The process. One that has been forgotten must be the caller's child: nobody has decided about it."""
        info = await self._supervisor.census.info(pid)
        if self._supervisor.table.get(pid) is None and info.ppid != life.process.pid:
            raise NotPermitted(f"process {pid} is not a child of process {life.process.pid}", pid=pid)
        return info

    # --- what they need

    def _read_needs(self, process: Process, args: PidArgs) -> Sequence[Need]:
        return self._touch("read", "wait for", process, args.pid)

    def _send_needs(self, process: Process, args: SendArgs) -> Sequence[Need]:
        return self._touch("send", "send a message to", process, args.pid)

    def _signal_needs(self, process: Process, args: SignalArgs) -> Sequence[Need]:
        return self._touch("signal", f"send {args.signal} to", process, args.pid)

    def _touch(self, action: str, verb: str, process: Process, pid: int) -> Sequence[Need]:
        """One need, of another process: relatives are the caller's own, one that has been forgotten is nobody's.

        Raises:
            NoSuchProcess: the pid was never given out, so what is decided now would be about another one later.
            NotPermitted: it is the caller itself.
        """
        if pid == process.pid:
            raise NotPermitted(f"process {pid} is the caller itself", pid=pid)
        target = self._supervisor.table.get(pid)
        if target is None:
            if not 0 < pid <= self._supervisor.table.last_pid:
                raise NoSuchProcess(f"no process {pid}", pid=pid)
            return (Need(action, Kind.PROCESS, str(pid)),)
        relative = target.is_descendant_of(process.pid) or (action == "send" and process.is_descendant_of(target.pid))
        what = f"{verb} process {pid} ({target.request.agent})"
        if relative:
            return (Need(action, Kind.PROCESS, str(pid), str(process.pid), what),)
        return (Need(action, Kind.PROCESS, str(pid), str(pid), what, irreversible=action == "signal"),)


def _start(_: Process, request: RunRequest) -> Sequence[Need]:
    return (Need("spawn", Kind.PROCESS, request.agent, what=f"start {request.agent}"),)


def _copy(process: Process, args: ForkArgs) -> Sequence[Need]:
    agent = args.agent or process.request.agent
    return (Need("fork", Kind.PROCESS, agent, what=f"start {agent} with a copy of its context"),)

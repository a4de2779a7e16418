"""Syscalls: what an agent may ask of the kernel, and the one path by which each is served.

Check arguments, check the right, journal the intent, run under the deadline, journal the result, reply. The intent of
a syscall with effects is durable before it runs, the result of any before its reply leaves. Each syscall runs in a task
of its own, so a slow one holds up nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import difflib
import functools
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from aios_kernel import eventlog
from aios_kernel.admission import inherited_class
from aios_kernel.clock import Clock
from aios_kernel.errors import (
    BadRequest,
    Cancelled,
    DeadlineHit,
    InternalError,
    KernelError,
    LimitHit,
    NoSuchSyscall,
    NotAuthenticated,
    NotPermitted,
    row_of,
    to_wire,
)
from aios_kernel.journal import Call, Journal
from aios_kernel.life import Life
from aios_kernel.llm import Llm
from aios_kernel.process import Process
from aios_kernel.protocol import (
    ChatReply,
    ChatRequest,
    EventKind,
    History,
    Mail,
    ProcInfo,
    ProcState,
    RunRequest,
    Signal,
    Started,
    SyscallRequest,
    ToolSpec,
)
from aios_kernel.saved import history
from aios_kernel.supervisor import Supervisor
from aios_kernel.tools import ToolRegistry

log = logging.getLogger(__name__)

OnDelta = Callable[[str], None]

MAX_SYSCALLS: Final = 1_024  # of one process under way at once


@dataclass(frozen=True, slots=True)
class NoArgs:
    pass


@dataclass(frozen=True, slots=True)
class ToolArgs:
    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


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


@dataclass(frozen=True, slots=True)
class Syscall:
    """One row of the table.

    Args:
        run: does it, for the calling process, with an instance of `args`.
        state: the caller's state meanwhile; None: it answers at once.
        streams: `run` gives text as it comes.
        effects: running it twice would not be the same as running it once.
    """

    args: type
    run: Callable[[Life, Any, OnDelta], Awaitable[Any]]
    state: ProcState | None = None
    streams: bool = False
    effects: bool = True


class Dispatcher:
    """Serves the syscalls of all processes. Event loop only."""

    def __init__(self, supervisor: Supervisor, llm: Llm, tools: ToolRegistry, journal: Journal, clock: Clock) -> None:
        self._supervisor = supervisor
        self._llm = llm
        self._tools = tools
        self._journal = journal
        self._clock = clock
        waiting = ProcState.WAITING
        self.table: Final[dict[str, Syscall]] = {
            "llm.chat": Syscall(ChatRequest, self._chat, ProcState.READY, streams=True, effects=False),
            "tool.call": Syscall(ToolArgs, self._tool_call, waiting),
            "tool.list": Syscall(NoArgs, self._tool_list, effects=False),
            "proc.spawn": Syscall(RunRequest, self._spawn, waiting),
            "proc.fork": Syscall(ForkArgs, self._fork, waiting),
            "proc.history": Syscall(NoArgs, self._history, effects=False),
            "proc.wait": Syscall(PidArgs, self._wait, waiting),
            "proc.send": Syscall(SendArgs, self._send),
            "proc.recv": Syscall(RecvArgs, self._recv, waiting),
            "proc.signal": Syscall(SignalArgs, self._signal),
            "proc.self": Syscall(NoArgs, self._self, effects=False),
        }

    async def dispatch(self, life: Life, request: SyscallRequest, on_delta: OnDelta) -> msgspec.Raw:
        """Serve one syscall: its result as JSON. Call it in a task of its own, which the caller's end cancels.

        Raises:
            NoSuchSyscall, BadRequest: nothing was journaled.
            NotAuthenticated: the process has ended since its token was checked; LimitHit: it has too many under way.
            KernelError: how the syscall ended.
        """
        row = self._row(request)
        args = parse_args(request.name, request.args, row.args)
        process = life.process
        if life.ending:
            raise NotAuthenticated("this token names no living process")
        if len(life.syscalls) >= MAX_SYSCALLS:
            raise LimitHit(f"process {process.pid} has {MAX_SYSCALLS} syscalls under way", limit=MAX_SYSCALLS)
        num, process.num_syscalls = process.num_syscalls, process.num_syscalls + 1
        call = Call(process.pid, num, request.name, msgspec.json.encode(request.args).decode(), self._clock.now())
        task = asyncio.current_task()
        assert task is not None
        life.syscalls.add(task)
        try:
            if row.effects:
                await self._journal.append(call)
            if row.streams:
                process.generating.append(num)
            if row.state is not None:
                life.act(num, (row.state, request.name), self._clock.now())
            result = await self._run(row, life, args, request, on_delta)
        except asyncio.CancelledError:  # nobody waits for the row any more
            self._finish(life, call, None, Cancelled(f"{request.name}: the caller went away"))
            raise
        except KernelError as error:
            await self._finish(life, call, None, error)
            raise
        else:
            await self._finish(life, call, result, None)
            return result
        finally:
            life.syscalls.discard(task)
            if num in process.generating:
                process.generating.remove(num)
            life.act(num, None, self._clock.now())

    def _row(self, request: SyscallRequest) -> Syscall:
        row = self.table.get(request.name)
        if row is None:
            near = difflib.get_close_matches(request.name, self.table, n=1)
            hint = f"; did you mean {near[0]}?" if near else f" (there are {', '.join(self.table)})"
            raise NoSuchSyscall(f"no syscall {request.name!r}{hint}", name=request.name)
        if request.stream and not row.streams:
            raise BadRequest(f"{request.name} does not stream", name=request.name)
        if request.deadline_s is not None and not request.deadline_s > 0:
            raise BadRequest(f"deadline_s = {request.deadline_s:g}: must be more than 0", key="deadline_s")
        return row

    async def _run(
        self, row: Syscall, life: Life, args: Any, request: SyscallRequest, on_delta: OnDelta
    ) -> msgspec.Raw:
        limit = asyncio.timeout(request.deadline_s)
        try:
            async with limit:
                return msgspec.Raw(msgspec.json.encode(await row.run(life, args, on_delta)))
        except KernelError:
            raise
        except Exception as error:
            if isinstance(error, TimeoutError) and limit.expired():
                message = f"{request.name}: not done after {request.deadline_s:g} s"
                raise DeadlineHit(message, deadline_s=request.deadline_s) from error
            log.exception("process %d: %s", life.process.pid, request.name)
            raise InternalError(f"{request.name}: {type(error).__name__}: {error}") from error

    def _finish(
        self, life: Life, call: Call, result: msgspec.Raw | None, error: KernelError | None
    ) -> asyncio.Future[None]:
        """Journal how a syscall ended, then tell it in the process's events."""
        ended = dataclasses.replace(
            call,
            result=bytes(result).decode() if result is not None else None,
            error=msgspec.json.encode(to_wire(error), enc_hook=str).decode() if error is not None else None,
            finished_at=self._clock.now(),
        )
        durable = self._journal.append(ended)
        outcome = "ok" if error is None else row_of(error).errno
        life.log.append_nowait(EventKind.SYSCALL, f"{call.name} {outcome}".encode())
        return durable

    # --- the syscalls

    async def _chat(self, life: Life, request: ChatRequest, on_delta: OnDelta) -> ChatReply:
        process = life.process

        def on_window(text: str) -> None:
            process.window = text
            life.log.append_nowait(EventKind.WINDOW, text.encode())

        with _granted(process, request.max_tokens) as max_tokens:
            return await self._llm.chat(
                process.pid,
                dataclasses.replace(request, max_tokens=max_tokens),
                process.nice,
                on_delta,
                process.program,
                policy_class=process.policy_class,
                on_window=on_window,
                grant=functools.partial(_granted, process),
            )

    async def _tool_call(self, _: Life, args: ToolArgs, __: OnDelta) -> Any:
        return await self._tools.call(args.name, args.arguments)

    async def _tool_list(self, _: Life, __: NoArgs, ___: OnDelta) -> list[ToolSpec]:
        return self._tools.specs()

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
        info = await self._descendant(life, args.pid)
        if info.exit_code is None:
            info = await self._supervisor.wait(args.pid)
        if info.ppid == life.process.pid:
            self._supervisor.collect(args.pid)
        assert info.exit_code is not None  # wait returns at the end
        return Collected(info.exit_code, await eventlog.output_of(self._journal, args.pid))

    async def _send(self, life: Life, args: SendArgs, _: OnDelta) -> None:
        """To its ancestors and its descendants."""
        if args.pid not in life.process.ancestors:
            await self._descendant(life, args.pid)
        self._supervisor.mail(args.pid, Mail(args.text, life.process.pid))

    async def _recv(self, life: Life, args: RecvArgs, _: OnDelta) -> Mail | None:
        limit = asyncio.timeout(args.timeout_s)
        try:
            async with limit:
                return await life.mailbox.get()
        except TimeoutError:
            if not limit.expired():
                raise
            return None

    async def _signal(self, life: Life, args: SignalArgs, _: OnDelta) -> ProcInfo:
        await self._descendant(life, args.pid)
        return await self._supervisor.signal(args.pid, args.signal)

    async def _self(self, life: Life, _: NoArgs, __: OnDelta) -> ProcInfo:
        return await self._supervisor.census.info(life.process.pid)

    async def _descendant(self, life: Life, pid: int) -> ProcInfo:
        """The process, which must be the caller's descendant. Raises NoSuchProcess, NotPermitted."""
        info = await self._supervisor.census.info(pid)
        process = self._supervisor.table.get(pid)
        mine = process.is_descendant_of(life.process.pid) if process else info.ppid == life.process.pid
        if not mine:
            raise NotPermitted(f"process {pid} is not a descendant of process {life.process.pid}", pid=pid)
        return info


def parse_args(name: str, raw: dict[str, Any], kind: type) -> Any:
    """`raw` as an instance of the dataclass `kind`. Raises BadRequest naming the argument."""
    accepted = [f.name for f in dataclasses.fields(kind)]
    for key in raw:
        if key not in accepted:
            raise BadRequest(f"{name}: unknown argument {key!r} (accepted: {', '.join(accepted) or 'none'})", key=key)
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:  # "Expected `str`, got `int` - at `$.task`"
        what, _, where = str(error).partition(" - at ")
        path = where.strip("`").removeprefix("$.")
        raise BadRequest(f"{name}: {path + ': ' if path else ''}{what}", key=path) from error


@contextlib.contextmanager
def _granted(process: Process, wanted: int) -> Iterator[int]:
    """Tokens that a generation may produce under the process's quota. Raises LimitHit when nothing is left."""
    quota = process.request.max_tokens
    if quota is not None:
        left = quota - process.tokens_out - max(process.tokens_reserved, process.tokens_live)
        if left <= 0:
            raise LimitHit(f"process {process.pid} has used up its {quota} tokens", limit=quota)
        wanted = min(wanted, left)
    process.tokens_reserved += wanted
    try:
        yield wanted
    finally:
        process.tokens_reserved -= wanted

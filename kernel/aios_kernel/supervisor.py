"""Runs agents as processes: starts them, pumps their output, signals them, and sees each one to its recorded end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, TypeVar

from aios_kernel import eventlog
from aios_kernel.access import tokens
from aios_kernel.admission import check_nice, check_request, find_agent, limited, within
from aios_kernel.census import Census
from aios_kernel.clock import Clock
from aios_kernel.control import Control, send
from aios_kernel.errors import (
    Cancelled,
    DeadlineHit,
    HostFailed,
    InternalError,
    InvalidState,
    KernelError,
    KernelStopping,
    LimitHit,
    NoSuchProcess,
    NotAuthenticated,
    row_of,
)
from aios_kernel.eventlog import EventLog
from aios_kernel.hosting import Host, SpawnOrder
from aios_kernel.journal import Journal
from aios_kernel.life import DRAIN_S, Life, verdict_of
from aios_kernel.llm import Llm
from aios_kernel.pipes import OutputPipe, StdPipes
from aios_kernel.process import Process, ProcessTable
from aios_kernel.protocol import Event, EventKind, Mail, Pid, ProcInfo, ProcState, RunRequest, Signal
from aios_kernel.sandbox.agents import AgentSandbox
from aios_kernel.saved import Saved
from aios_kernel.scheduler.request import GenEvent, Phase
from aios_kernel.snapshots import Snapshots

log = logging.getLogger(__name__)

S = ProcState
T = TypeVar("T")

MAX_PROCS: Final = 4_096  # alive at once: a fork bomb ends here, with file descriptors to spare
MAX_FAMILY: Final = 512  # of them one program's, zombies too: others and the person have room for theirs

_PHASES: Final = {
    Phase.READY: (S.READY, "queued"),
    Phase.PREFILLING: (S.RUNNING, "prefilling"),
    Phase.DECODING: (S.RUNNING, "decoding"),
}


class Supervisor:
    """All processes of this kernel. Event loop only."""

    def __init__(
        self, host: Host, llm: Llm, snapshots: Snapshots, journal: Journal, clock: Clock, sandbox: AgentSandbox
    ) -> None:
        self.table = ProcessTable(journal.last_pid)
        self.snapshots = snapshots
        self.census = Census(self.table, llm, journal, clock)
        self._control = Control(llm, clock)
        self._host = host
        self._llm = llm
        self._journal = journal
        self._clock = clock
        self._sandbox = sandbox
        self._lives: dict[Pid, Life] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self.on_end: list[Callable[[Pid], None]] = []  # each hears of every process's end, once
        host.listen(self._on_exit, self._on_host_lost)
        llm.listen(self._on_engine_events)

    # --- starting

    async def run(self, request: RunRequest, parent: Process | None = None) -> Pid:
        """Start an agent; returns when its OS process runs.

        Raises:
            BadRequest, NoSuchAgent, LimitHit, InvalidState, HostFailed, KernelStopping
            NoSuchProcess, NoSuchSnapshot, SnapshotBroken: it is to begin with a context that is not there.
        """
        check_request(request, self._llm.model.ref if self._llm.model else "")
        if parent is not None:
            request = within(request, parent, self._clock.now())
        self._check_room(parent)
        request = limited(request, find_agent(request.agent, await self._host.agents()))
        origin = await self._origin(request)
        # Once begun it is carried through: a caller that goes away must not leave half a process.
        return await asyncio.shield(self._task(self._spawn(request, parent, origin)))

    async def capture(self, pid: int) -> Saved:
        """A living process's context as it is now. Raises NoSuchProcess, NoSuchSnapshot."""
        return await self.snapshots.capture(self.living(pid).process)

    async def _origin(self, request: RunRequest) -> Saved | None:
        """The context that the new process is to begin with."""
        if request.fork is not None:
            return await self.capture(request.fork)
        return await self.snapshots.load_usable(request.snapshot) if request.snapshot is not None else None

    def _check_room(self, parent: Process | None = None) -> None:
        if self._stopping:
            raise KernelStopping("the kernel is stopping")
        if parent is not None and sum(each.program == parent.program for each in self.table) >= MAX_FAMILY:
            raise LimitHit(f"process {parent.program} and its descendants are {MAX_FAMILY}", limit=MAX_FAMILY)
        if len(self.table) >= MAX_PROCS:
            raise LimitHit(f"{MAX_PROCS} processes are alive, which is the most there may be", limit=MAX_PROCS)

    async def _spawn(self, request: RunRequest, parent: Process | None, origin: Saved | None) -> Pid:
        self._check_room(parent)  # again, now that nothing comes between this and the table
        life = self._begin(request, parent)
        process = life.process
        try:
            await self._journal.append(self.census.start_row(process))
            if origin is not None:
                life.history = origin.conversation
                await self._llm.plant(process.pid, origin.image, origin.conversation)
            await self._start_os_process(life)
        except Exception as error:  # whatever it is, a process that was begun has an end
            failure = _failure(error)
            life.verdict = (row_of(failure).exit, failure.message)
            send(life, Signal.KILL)  # where it had come so far
            life.spawned.set()
            await self._end(life, 1)
            self.collect(process.pid)  # the parent learns of it by the error
            raise failure from error
        return process.pid

    def _begin(self, request: RunRequest, parent: Process | None) -> Life:
        """Enter a process into the table."""
        model = self._llm.model.ref if self._llm.model else ""
        process = self.table.add(request, parent=parent, model=model, at=self._clock.now())
        life = Life(process, EventLog(process.pid, self._journal, self._clock), tokens.make(process.pid))
        self._lives[process.pid] = life
        return life

    @contextlib.asynccontextmanager
    async def virtual(self, request: RunRequest) -> AsyncIterator[Life]:
        """A process without an OS process: what the current task does within the block is its program.

        Its exit code is 0, 1 when the block raises or the task is cancelled, 128 + N after signal N. The end is
        recorded after the block is left; nobody waits for that.

        Raises:
            LimitHit, KernelStopping: there is no process.
            Cancelled: a signal has ended it; KernelStopping: so has the kernel's own end.
        """
        self._check_room()
        life = self._begin(request, None)
        life.work = asyncio.current_task()
        self._journal.append(self.census.start_row(life.process), urgent=False)  # durable before any later row of its
        life.move(*life.process.live_state(), self._clock.now())
        life.spawned.set()
        try:
            yield life
        except asyncio.CancelledError as error:
            if life.verdict is None:
                life.verdict = (1, "its client went away")
                raise
            if self._stopping:
                raise KernelStopping("the kernel is stopping") from error
            raise Cancelled(f"process {life.process.pid} was {life.verdict[1]}", pid=life.process.pid) from error
        except Exception as error:
            life.verdict = life.verdict or (1, str(error))
            raise
        else:
            life.verdict = life.verdict or (0, "done")
        finally:
            self._task(self._end(life, 0))

    async def _start_os_process(self, life: Life) -> None:
        process, request = life.process, life.process.request
        order = SpawnOrder(
            pid=process.pid,
            agent=request.agent,
            task=request.task,
            cwd=request.cwd,
            columns=request.columns,
            stdin=request.stdin,
            history=life.history is not None,
            confinement=self._sandbox.enter(process),
        )
        life.line = line = self._sandbox.line(process, life.token)
        life.pipes = pipes = StdPipes(stdin=request.stdin)
        with pipes, line.theirs as theirs:
            process.os_pid = await self._host.spawn(order, [*pipes.agent_fds, theirs.fileno()])
        self._sandbox.watch(process.pid, process.os_pid, self._on_excess)
        life.pumps = [
            asyncio.create_task(self._pump(life, EventKind.STDOUT, pipes.stdout)),
            asyncio.create_task(self._pump(life, EventKind.STDERR, pipes.stderr)),
        ]
        if request.deadline_s is not None:
            life.deadline = asyncio.create_task(self._control.keep_deadline(life, request.deadline_s))
        life.move(*process.live_state(), self._clock.now())
        life.spawned.set()

    async def _pump(self, life: Life, kind: EventKind, pipe: OutputPipe) -> None:
        async def take(data: bytes) -> None:
            before, life.num_written = life.num_written, life.num_written + len(data)
            self._sandbox.wrote(life.process, before, life.num_written, self._on_excess)
            await life.log.append(kind, data)

        try:
            await pipe.pump(take)
        except KernelError as error:  # output that cannot be kept is never dropped in silence
            life.verdict = life.verdict or (1, error.message)
            send(life, Signal.KILL)

    def _on_excess(self, pid: Pid, why: str) -> None:
        """A process takes more of the machine than it may."""
        life = self._lives.get(pid)
        if life is not None and not life.ending:
            life.verdict = life.verdict or (137, why)
            send(life, Signal.KILL)

    # --- ending

    def _on_exit(self, pid: Pid, status: int) -> None:
        """The host tells that an agent's OS process has ended."""
        life = self._lives.get(pid)
        if life is not None:
            self._task(self._end(life, status))

    def _on_host_lost(self) -> None:
        """The host has died: its agents have nobody who would report their end, so they end now."""
        for life in list(self._lives.values()):
            if life.process.os_pid is not None and not life.ending:
                life.verdict = life.verdict or (137, "agent host died")
                send(life, Signal.KILL)
                self._task(self._end(life, -9))

    async def _end(self, life: Life, status: int) -> None:
        """Collect the last output, record the end, wake the waiters. Runs once per process."""
        await life.spawned.wait()
        if life.ending:
            return
        life.ending = True
        process = life.process
        await life.settle()
        await self._sandbox.leave(process.pid)
        life.verdict = life.verdict or verdict_of(status)
        code, reason = life.verdict
        usage = self._llm.usage(process.pid)
        keep = life.keep if code == 0 else None
        (failure,) = await asyncio.gather(self._llm.release(process.pid, keep), return_exceptions=True)
        now = self._clock.now()
        ended = life.log.append_nowait(EventKind.EXIT, str(code).encode())
        recorded = self._journal.append(self.census.end_row(process, usage, code, reason, now))
        for problem in (failure, *await asyncio.gather(ended, recorded, return_exceptions=True)):
            if problem is not None:
                log.error("process %d: at its end: %s", process.pid, problem)
        process.exit_code, process.ended_at = code, now
        for tell in self.on_end:
            tell(process.pid)
        parent = self.table.get(process.ppid)
        if parent is not None and not parent.ended:
            life.move(S.ZOMBIE, reason, now)
        else:
            self._bury(life, reason)
        for zombie in self.table.zombies_of(process.pid):
            self._bury(self._lives[zombie.pid], zombie.reason)
        life.over.set()

    def _bury(self, life: Life, reason: str) -> None:
        life.move(S.EXITED, reason, self._clock.now())
        self.table.forget(life.process)
        del self._lives[life.process.pid]

    # --- signals

    async def signal(self, pid: int, signal: Signal) -> ProcInfo:
        """Deliver a signal. KILL acts at once; STOP returns when the context is off its slot.

        Raises:
            NoSuchProcess: there is none, or it has ended.
        """
        await self._control.deliver(self.living(pid), signal)
        return await self.census.info(pid)

    async def close(self, grace_s: float) -> None:
        """End every process: TERM, after `grace_s` KILL, and the host with what is left. Nothing starts any more."""
        self._stopping = True
        lives = list(self._lives.values())
        running = [life for life in lives if not life.process.ended]
        ending = (self._control.terminate(life, None, grace_s) for life in running)
        await asyncio.gather(*ending, return_exceptions=True)
        if running:
            await asyncio.wait([asyncio.create_task(life.over.wait()) for life in running], timeout=DRAIN_S + 1)
        await self._host.close()
        await asyncio.gather(*(self._end(life, -9) for life in running if not life.ending))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- what others ask

    def by_token(self, token: str) -> Life:
        """The process that a capability token names. Raises NotAuthenticated."""
        life = self._lives.get(tokens.pid_of(token))
        if life is None or life.ending or life.killed or not tokens.same(life.token, token):
            raise NotAuthenticated("this token names no living process")
        return life

    async def set_nice(self, pid: int, nice: int) -> ProcInfo:
        """Raises NoSuchProcess, BadRequest."""
        check_nice(nice)
        process = self.living(pid).process
        process.nice = nice
        self._llm.renice(process.pid, nice)
        return await self.census.info(pid)

    async def wait(self, pid: int, state: ProcState = S.EXITED, timeout_s: float | None = None) -> ProcInfo:
        """Wait until the process is in `state`, or has ended. Raises NoSuchProcess, DeadlineHit."""
        life = self._lives.get(Pid(pid))
        if life is not None and life.process.state is not state and not life.process.ended:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            life.waiters.append((state, future))
            try:
                async with asyncio.timeout(timeout_s):
                    await future
            except TimeoutError as error:
                raise DeadlineHit(
                    f"process {pid} is {life.process.state}, not {state}, after {timeout_s:g} s", pid=pid
                ) from error
            finally:
                future.cancel()
        return await self.census.info(pid)

    def collect(self, pid: int) -> None:
        """Its parent has read the exit code: a zombie goes."""
        life = self._lives.get(Pid(pid))
        if life is not None and life.process.state is S.ZOMBIE:
            self._bury(life, life.process.reason)

    async def events(self, pid: int, *, after: int, follow: bool) -> AsyncIterator[list[Event]]:
        """Pages of the process's events with seq > `after`. Raises NoSuchProcess, before the first page."""
        life = self._lives.get(Pid(pid))
        if life is None:
            await self.census.info(pid)
        return life.log.follow(after) if life and follow else eventlog.replay(self._journal, pid, after)

    async def feed(self, pid: int, data: bytes) -> None:
        """Write to the agent's standard input, waiting while its pipe is full. Raises NoSuchProcess, InvalidState."""
        life = self.living(pid)
        await life.spawned.wait()
        if life.pipes is None or life.pipes.stdin is None:
            raise InvalidState(f"process {pid} was started without standard input", pid=pid)
        await life.pipes.stdin.feed(data)

    async def end_stdin(self, pid: int) -> None:
        """Close the agent's standard input; closed or ended already is as good."""
        life = self._lives.get(Pid(pid))
        if life is not None and life.pipes is not None and life.pipes.stdin is not None:
            await life.pipes.stdin.end()

    def mail(self, pid: int, mail: Mail) -> None:
        """Put a message into the mailbox. Raises NoSuchProcess, LimitHit."""
        self.living(pid).post(mail)

    def _on_engine_events(self, events: list[GenEvent]) -> None:
        """Count the tokens of generations, and follow their phases in the states of their processes."""
        for event in events:
            life = self._lives.get(event.pid)
            if life is None:
                continue
            life.process.count(event.tokens, ended=event.done is not None or event.error is not None)
            if event.done is not None:
                life.process.tokens_in += event.done.tokens_in - event.done.tokens_cached
            if life.process.generating and event.phase in _PHASES:
                life.act(life.process.generating[0], _PHASES[event.phase], self._clock.now())

    def living(self, pid: int) -> Life:
        """Raises NoSuchProcess, also for one that has ended."""
        life = self._lives.get(Pid(pid))
        if life is None or life.process.ended or life.ending:
            ended = 0 < pid <= self.table.last_pid
            raise NoSuchProcess(f"process {pid} has ended" if ended else f"no process {pid}", pid=pid)
        return life

    def _task(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _failure(error: Exception) -> KernelError:
    """What a start that failed is called."""
    if isinstance(error, KernelError):
        return error
    if isinstance(error, OSError):
        return HostFailed(f"no pipes for the agent: {error}")
    log.error("an agent could not be started", exc_info=error)
    return InternalError(f"{type(error).__name__}: {error}")

"""The step: plan, swap, feed, choose, emit. Owner thread only; synchronous, so that tests step it by hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from aios_kernel.clock import Clock
from aios_kernel.context.manager import Context, ContextManager
from aios_kernel.core import Core, CoreError, DecodeAborted, DecodeFailed, EngineConfig, Logits
from aios_kernel.errors import InternalError, KernelError, ModelFailed
from aios_kernel.protocol import Pid, SnapshotInfo
from aios_kernel.scheduler.governor import Governor
from aios_kernel.scheduler.job import Finish, Job
from aios_kernel.scheduler.policies import make_policy
from aios_kernel.scheduler.policy import PREFILL_COST, Runnable
from aios_kernel.scheduler.request import GenEvent, JobId, Phase
from aios_kernel.scheduler.service import Ledger

RATE_TOKENS = 32  # a process's tokens/s are measured over this many


@dataclass(slots=True, eq=False)
class Line:
    """A process as the engine knows it: its context and its generations, of which only the first can run."""

    pid: Pid
    context: Context
    jobs: deque[Job] = field(default_factory=deque)
    nice: int = 0
    suspended: bool = False
    phase: Phase = Phase.IDLE
    waited_s: float = 0.0  # of ended generations
    token_times: deque[float] = field(default_factory=lambda: deque(maxlen=RATE_TOKENS))

    @property
    def job(self) -> Job | None:
        return self.jobs[0] if self.jobs else None


class StepLoop:
    """All processes' generations over one core. The caller drains `events` after each step or operation."""

    def __init__(self, core: Core, config: EngineConfig, governor: Governor, clock: Clock) -> None:
        self.core = core
        self.config = config
        self.governor = governor
        self.clock = clock
        self.contexts = ContextManager(core, ram_bytes=config.ram_bytes, clock=clock)
        self.policy = make_policy(config.policy)
        self.quantum = config.quantum
        self.ledger = Ledger()
        self._contended = False  # somebody waits for a slot in this step
        self.lines: dict[Pid, Line] = {}
        self.events: list[GenEvent] = []
        self.changed = True  # something other than token counts has changed since this was last cleared
        self.steps = 0
        self.step_s = 0.0  # running mean of a decode step
        self.prefilling: Pid | None = None  # read by other threads, to know whom an abort would hit
        self._suspects: set[Pid] = set()  # were in a failed batch: fed alone until they are past it
        self._queue_counter = 0
        self.threads = 0

    # --- operations, between steps ------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Queue a generation. A sampler that cannot be made ends it with an error event."""
        request = job.request
        line = self._line(request.pid)
        line.nice = request.nice
        try:
            job.sampler = self.core.sampler(request.params, request.grammar)
        except Exception as error:
            failure = error if isinstance(error, KernelError) else InternalError(f"no sampler: {error!r}")
            self._emit(GenEvent(job.id, line.pid, error=failure))
            return
        if line.job is None:
            self.ledger.join(line.pid, request.program or line.pid, self.queue())
        line.jobs.append(job)
        if line.job is job:
            self._begin(line, job)

    def _begin(self, line: Line, job: Job) -> None:
        self._line_up(job)
        job.cached = self.contexts.begin(line.context, job.request.prompt, self.config.chunk)
        self._enter(line, Phase.SUSPENDED if line.suspended else Phase.READY)
        if line.suspended:
            job.stop_waiting(self.clock.monotonic())

    def cancel(self, job_id: JobId) -> None:
        """End a generation where it is; what it produced stays in the context. No effect once it has ended."""
        for line in self.lines.values():
            for job in line.jobs:
                if job.id == job_id:
                    self._finish(line, job, Finish.CANCELLED)
                    return

    def suspend(self, pid: Pid) -> SnapshotInfo | None:
        """Stop `pid`'s generations and take its context off its slot; the snapshot, if it had any KV."""
        line = self._line(pid)  # known from now on, so that a generation it submits next waits
        line.suspended = True
        if line.job is not None:
            self._set_aside(line, line.job)
            line.job.stop_waiting(self.clock.monotonic())
        self.contexts.leave(line.context)
        self._enter(line, Phase.SUSPENDED)
        return next((info for info in self.contexts.infos() if info.pid == pid), None)

    def resume(self, pid: Pid) -> None:
        line = self.lines.get(pid)
        if line is not None and line.suspended:
            others = self.queue()
            line.suspended = False
            if line.job is not None:
                self.ledger.join(pid, line.job.request.program or pid, others)
                self._line_up(line.job)
            self._enter(line, Phase.READY if line.job else Phase.IDLE)

    def renice(self, pid: Pid, nice: int) -> None:
        if pid in self.lines:
            self.lines[pid].nice = nice
            self.changed = True

    def release(self, pid: Pid) -> None:
        """The process has ended: its generations are cancelled, its context is forgotten."""
        self.ledger.release(pid)  # also one without a line: a program may begin with one that never generates
        line = self.lines.get(pid)
        if line is None:
            return
        while line.job is not None:
            self._finish(line, line.jobs[-1], Finish.CANCELLED)
        del self.lines[pid]
        self.contexts.drop(pid)
        self.changed = True

    def set_policy(self, name: str, quantum: int | None) -> None:
        """Raises BadRequest for an unknown name."""
        self.policy = make_policy(name)
        self.quantum = quantum or self.quantum
        self.changed = True

    def fail_all(self, error: KernelError) -> None:
        """End every generation with `error`."""
        for line in self.lines.values():
            for job in tuple(reversed(line.jobs)):
                self._fail(line, job, error)

    def _line(self, pid: Pid) -> Line:
        return self.lines.get(pid) or self.lines.setdefault(pid, Line(pid, self.contexts.get(pid)))

    # --- the step -----------------------------------------------------------------------------------------

    def runnable(self) -> bool:
        return any(line.jobs and not line.suspended for line in self.lines.values())

    def queue(self) -> tuple[Runnable, ...]:
        """What the policy sees."""
        now = self.clock.monotonic()
        return tuple(
            Runnable(
                pid=line.pid,
                arrived=job.id,
                queued=job.queued,
                nice=line.nice,
                holds_slot=job.running,
                used=job.used,
                pending=line.context.log.pending,
                waited_s=job.queue_wait_s(now),
                prompt=len(job.request.prompt) - job.cached,
                produced=len(job.produced),
                counter=self.ledger.counter(line.pid),
                program=self.ledger.attained(line.pid),
            )
            for line in self.lines.values()
            if (job := line.job) is not None and not line.suspended
        )

    def step(self) -> None:
        """Run one step: at most `chunk` tokens of prefill, then one token for everyone who decodes."""
        queue = self.queue()
        plan = self.policy.plan(queue, slots=self.core.spec.num_slots, quantum=self.quantum)
        self._contended = len(plan.run) < len(queue)
        running = self._swap(plan.run)
        self._govern()
        if self._prefill(running):
            self._decode(running)
        self.steps += 1

    def _govern(self) -> None:
        threads = self.governor.update(self.clock.monotonic())
        if threads != self.threads:
            self.threads = threads
            self.core.set_threads(threads)

    def _swap(self, pids: Sequence[Pid]) -> list[tuple[Line, Job]]:
        """Give slots to the chosen ones; whoever held one and was not chosen is preempted."""
        now = self.clock.monotonic()
        chosen = set(pids)
        for line in self.lines.values():
            if line.job is not None and line.job.running and line.pid not in chosen:
                self._set_aside(line, line.job)
                self._line_up(line.job)
                self._enter(line, Phase.READY)
        running = []
        for pid in pids:
            line = self.lines[pid]
            job = line.job
            assert job is not None
            self.contexts.touch(line.context)
            self.contexts.enter(line.context, keep=chosen)
            if not job.running:
                job.take_slot(now)
            self._enter(line, Phase.PREFILLING if line.context.log.next_size > 1 else Phase.DECODING)
            running.append((line, job))
        return running

    def _prefill(self, running: list[tuple[Line, Job]]) -> bool:
        """Feed prefill pieces in plan order, up to the step's budget. False: a call failed or was aborted.

        The budget is a chunk, or two while fewer sequences decode than wait for that: decoding few at a time is what
        costs most when many arrive together.
        """
        num_prefilling = sum(line.context.log.next_size > 1 for line, _ in running)
        budget = self.config.chunk * (2 if 2 * num_prefilling > len(running) else 1)
        for line, job in running:
            log = line.context.log
            while line.job is job and 1 < log.next_size <= budget:
                start, tokens = log.next_piece()
                budget -= len(tokens)
                self.prefilling = line.pid
                began = self.clock.monotonic()
                try:
                    row = self.core.prefill(_slot(line), tokens, start)
                except CoreError as error:
                    self._recover([(line, job)], error)
                    return False
                finally:
                    self.prefilling = None
                took = self.clock.monotonic() - began
                job.prefill_s += took
                self.ledger.charge(line.pid, PREFILL_COST * len(tokens), line.nice, contended=self._contended)
                self._take(line, job, self._choose(line, job, row))
        return True

    def _decode(self, running: list[tuple[Line, Job]]) -> None:
        rows = [(line, job) for line, job in running if line.job is job and line.context.log.next_size == 1]
        rows.sort(key=lambda row: _slot(row[0]))
        together = [row for row in rows if row[0].pid not in self._suspects]
        alone = [[row] for row in rows if row[0].pid in self._suspects]
        for batch in [together, *alone] if together else alone:
            if not self._decode_batch(batch):
                return

    def _decode_batch(self, batch: list[tuple[Line, Job]]) -> bool:
        logs = [line.context.log for line, _ in batch]
        began = self.clock.monotonic()
        try:
            rows = self.core.decode(
                [_slot(line) for line, _ in batch],
                [log.tokens[log.fed_tokens] for log in logs],
                [log.fed_tokens for log in logs],
            )
        except CoreError as error:
            self._recover(batch, error)
            return False
        now = self.clock.monotonic()
        took = now - began
        self.step_s = took if not self.step_s else 0.9 * self.step_s + 0.1 * took
        for line, job in batch:
            job.decode_s += took
            line.token_times.append(now)
            self.ledger.charge(line.pid, 1.0, line.nice, contended=self._contended)
        # Every row is read before anything else is done with the core: that may end what the rows lie in.
        choices = [self._choose(line, job, row) for (line, job), row in zip(batch, rows, strict=True)]
        for (line, job), choice in zip(batch, choices, strict=True):
            self._take(line, job, choice)
        return True

    def _choose(self, line: Line, job: Job, row: Logits) -> int | CoreError | None:
        """A piece of `line` is in its KV; when it was the last (else None) its logits choose a token."""
        line.context.log.fed += 1
        if line.context.log.pending:
            return None
        self._suspects.discard(line.pid)
        try:
            return job.choose(row)
        except CoreError as error:
            return error

    def _take(self, line: Line, job: Job, token: int | CoreError | None) -> None:
        """Show the chosen token and make it the next to be fed, or end the generation."""
        if token is None:
            return
        if isinstance(token, CoreError):
            self._fail(line, job, ModelFailed(f"process {line.pid}: {token}", pid=line.pid))
            return
        log = line.context.log
        if self.core.is_eog(token):
            self._finish(line, job, Finish.STOP)
            return
        delta, reason = job.accept(token, self.core.piece(token))
        if delta:
            self._emit(GenEvent(job.id, line.pid, text=delta, tokens=job.untold()))
        if reason is None and len(log) >= self.core.spec.window:
            reason = Finish.LENGTH
        if reason is not None:
            self._finish(line, job, reason)
        else:
            log.append(token)

    def _recover(self, batch: list[tuple[Line, Job]], error: CoreError) -> None:
        """After a failed call: cut what it may have written; whoever fails alone is ended, others try alone."""
        if isinstance(error, DecodeFailed):
            self.contexts.rebuild()
        else:
            for line, _ in batch:
                self.core.trim(_slot(line), line.context.log.fed_tokens)
        if isinstance(error, DecodeAborted):
            return
        if len(batch) > 1:
            self._suspects.update(line.pid for line, _ in batch)
            return
        line, job = batch[0]
        slot = line.context.slot
        self._fail(line, job, ModelFailed(f"process {line.pid}, slot {slot}: {error}", pid=line.pid, slot=slot))

    # --- ends and changes ---------------------------------------------------------------------------------

    def _finish(self, line: Line, job: Job, reason: Finish) -> None:
        tail = job.stream.flush()
        if tail:
            self._emit(GenEvent(job.id, line.pid, text=tail))
        result = job.result(reason, self.core.spec, self.clock.monotonic())
        self._end(line, job, GenEvent(job.id, line.pid, done=result, tokens=job.untold()))

    def _fail(self, line: Line, job: Job, error: KernelError) -> None:
        job.stop_waiting(self.clock.monotonic())
        self._end(line, job, GenEvent(job.id, line.pid, error=error, tokens=job.untold()))

    def _end(self, line: Line, job: Job, event: GenEvent) -> None:
        """Take `job` out of its line; the next one of the line begins."""
        was_first = line.job is job
        line.jobs.remove(job)
        line.waited_s += job.wait_s
        job.close()
        self._suspects.discard(line.pid)
        self._emit(event)
        if not was_first:
            return
        line.context.log.drop_pending()
        if line.job is not None:
            self._begin(line, line.job)
        else:
            self._enter(line, Phase.SUSPENDED if line.suspended else Phase.IDLE)

    def _set_aside(self, line: Line, job: Job) -> None:
        """Take `job` off the running ones. Its context leaves its slot only when another needs that."""
        job.running = False
        job.used = 0
        self._suspects.discard(line.pid)

    def _enter(self, line: Line, phase: Phase) -> None:
        if line.phase is not phase:
            line.phase = phase
            self._emit(GenEvent(line.job.id if line.job else None, line.pid, phase=phase))

    def _emit(self, event: GenEvent) -> None:
        self.events.append(event)
        self.changed = self.changed or not event.text

    def _line_up(self, job: Job) -> None:
        self._queue_counter += 1
        job.line_up(self._queue_counter, self.clock.monotonic())

    def check_invariants(self) -> None:
        """Re-count the world. Raises AssertionError."""
        self.contexts.check_invariants()
        running = 0
        places = [line.job.queued for line in self.lines.values() if line.job]
        assert len(places) == len(set(places)), "two generations have one place in the run queue"
        for line in self.lines.values():
            assert self.contexts.contexts.get(line.pid) is line.context, f"{line.pid} has another context"
            for job in line.jobs:
                assert job.sampler is not None, f"job {job.id} is queued and closed"
                assert not job.running or job is line.job, f"job {job.id} runs before its turn"
                running += job.running
            assert not (line.suspended and line.context.slot is not None), f"{line.pid} is suspended in a slot"
            waiting = line.job is not None and not line.suspended
            assert waiting == (line.phase not in (Phase.IDLE, Phase.SUSPENDED)), f"{line.pid} is {line.phase}"
            assert line.job is None or line.context.log.pending, f"{line.pid} has nothing to feed"
        assert running <= self.core.spec.num_slots, "more run than there are slots"


def _slot(line: Line) -> int:
    slot = line.context.slot
    assert slot is not None, f"process {line.pid} runs without a slot"
    return slot

"""The step: plan, swap, feed, choose, emit. Owner thread only; synchronous, so that tests step it by hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from aios_kernel.clock import Clock
from aios_kernel.context.image import Image
from aios_kernel.context.manager import ContextManager
from aios_kernel.core import Core, CoreError, EngineConfig
from aios_kernel.errors import BadRequest, InternalError, InvalidState, KernelError, ModelFailed
from aios_kernel.protocol import Pid, SnapshotInfo
from aios_kernel.scheduler.experience import Costs, Habits
from aios_kernel.scheduler.feed import Feeder
from aios_kernel.scheduler.governor import Governor
from aios_kernel.scheduler.job import Finish, Job
from aios_kernel.scheduler.line import Line
from aios_kernel.scheduler.policies import make_policy
from aios_kernel.scheduler.policy import Runnable
from aios_kernel.scheduler.record import Recorder
from aios_kernel.scheduler.request import GenEvent, JobId, Phase
from aios_kernel.scheduler.service import Ledger

NUM_ETA_ERRORS: Final = 64


class StepLoop:
    """All processes' generations over one core. The caller drains `events` after each step or operation."""

    def __init__(self, core: Core, config: EngineConfig, governor: Governor, clock: Clock) -> None:
        self.core = core
        self.config = config
        self.governor = governor
        self.clock = clock
        self.contexts = ContextManager(core, config, clock)
        self.policy = make_policy(config.policy)
        self.quantum = config.quantum
        self.ledger = Ledger()
        self.recorder = Recorder()
        self._feeder = Feeder(core, self.contexts, self.ledger, self.recorder, config, clock)
        self.lines: dict[Pid, Line] = {}
        self.events: list[GenEvent] = []
        self.changed = True  # something other than token counts has changed since this was last cleared
        self.steps = 0
        self.engine_s = 0.0  # seconds in steps so far
        self.prompt_tokens = self.cached_tokens = 0  # of generations that have begun: in all, and not fed
        self.habits = Habits()
        self.eta_errors: deque[float] = deque(maxlen=NUM_ETA_ERRORS)  # of waits that a forecast was made for
        self._queue_counter = 0
        self.threads = 0

    # --- operations, between steps ------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Queue a generation. A sampler that cannot be made ends it with an error event."""
        request = job.request
        line = self._line(request.pid)
        line.nice = request.nice if line.nice is None else line.nice  # it may have been changed since it asked
        try:
            job.sampler = self.core.sampler(request.params, request.grammar)
            for token in request.prompt[len(request.prompt) - request.accepted :]:
                job.sampler.accept(token)
                job.stream.skip(self.core.piece(token))
        except Exception as error:
            job.close()
            self._emit(GenEvent(job.id, line.pid, error=_no_sampler(error)))
            return
        if line.job is None:
            self.ledger.join(line.pid, job.program, self.queue())
        line.jobs.append(job)
        if line.job is job:
            self._begin(line, job)

    def _begin(self, line: Line, job: Job) -> None:
        self._line_up(job)
        job.cached = self.contexts.begin(line.context, job.request.prompt, job.request.head)
        self.habits = self.habits.asked(self.clock.monotonic(), line.ended_at)
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
                self.ledger.join(pid, line.job.program, others)
                self._line_up(line.job)
            self._enter(line, Phase.READY if line.job else Phase.IDLE)

    def renice(self, pid: Pid, nice: int) -> None:
        self._line(pid).nice = nice  # known from now on: one that asks while the model loads has still to come
        self.changed = True

    def release(self, pid: Pid, *, keep: bool = False) -> None:
        """The process has ended: its generations are cancelled, its context is forgotten, or kept for `inherit`.

        Of a process whose context is kept, it is forgotten now.
        """
        self.ledger.release(pid)  # also one without a line: a program may begin with one that never generates
        line = self.lines.get(pid)
        if line is not None:
            while line.job is not None:
                self._finish(line, line.jobs[-1], Finish.CANCELLED)
            if line.ended_at is not None:
                self.habits = self.habits.left_off()
            del self.lines[pid]
        if keep:
            self.contexts.keep(pid)
        else:
            self.contexts.drop(pid)
        self.changed = True

    def inherit(self, pid: Pid, former: Pid) -> None:
        """Make the kept context of `former` that of `pid`; no effect when it is gone. Raises InvalidState."""
        line = self._idle_line(pid)
        if self.contexts.hand_on(former, pid):
            line.context = self.contexts.get(pid)
            if line.suspended:
                self.contexts.leave(line.context)
            self.changed = True

    def capture(self, pid: Pid) -> Image:
        """The context of `pid` as it stands. Raises NoSuchSnapshot: it has none yet."""
        return self.contexts.capture(pid)

    def plant(self, pid: Pid, image: Image) -> bool:
        """Make `image` the context of `pid`. Raises InvalidState (it generates), and what ContextManager.plant does."""
        line = self._idle_line(pid)
        planted = self.contexts.plant(pid, image)
        line.context = self.contexts.get(pid)
        self.changed = True
        return planted

    def settle(self) -> None:
        """Take note of contexts whose files are written by now."""
        self.contexts.tiers.settle()
        self.changed = True

    def set_policy(self, name: str, quantum: int | None) -> None:
        """Raises BadRequest for an unknown name."""
        self.policy = make_policy(name)
        self.quantum = quantum or self.quantum
        self.changed = True

    def expect(self, made_at: float, etas_ms: Mapping[Pid, float]) -> None:
        """Note a forecast for those that waited when it was made, and still do."""
        for pid, eta_ms in etas_ms.items():
            if pid in self.lines and (job := self.lines[pid].job) is not None:
                job.expect(made_at, eta_ms / 1e3)

    def fail_all(self, error: KernelError) -> None:
        """End every generation with `error`."""
        for line in self.lines.values():
            for job in tuple(reversed(line.jobs)):
                self._fail(line, job, error)

    def _line(self, pid: Pid) -> Line:
        return self.lines.get(pid) or self.lines.setdefault(pid, Line(pid, self.contexts.get(pid)))

    def _idle_line(self, pid: Pid) -> Line:
        """Raises InvalidState."""
        line = self._line(pid)
        if line.jobs:
            raise InvalidState(f"process {pid} is generating", pid=pid)
        return line

    # --- the step -----------------------------------------------------------------------------------------

    def runnable(self) -> bool:
        return any(line.jobs and not line.suspended for line in self.lines.values())

    def queue(self) -> tuple[Runnable, ...]:
        """What the policy sees."""
        now = self.clock.monotonic()
        return tuple(
            Runnable(
                pid=line.pid,
                program=job.program,
                arrived=job.id,
                queued=job.queued,
                nice=line.nice or 0,
                policy_class=job.request.policy_class,
                holds_slot=job.running,
                used=job.used,
                pending=line.context.log.pending,
                waited_s=job.queue_wait_s(now),
                prompt=len(job.request.prompt) - job.cached,
                produced=len(job.produced),
                counter=self.ledger.counter(line.pid),
                attained=self.ledger.attained(line.pid),
            )
            for line in self.lines.values()
            if (job := line.job) is not None and not line.suspended
        )

    @property
    def core_s(self) -> float:
        """Seconds in model calls so far."""
        return self._feeder.core_s

    @property
    def costs(self) -> Costs:
        """What model calls have lately taken."""
        return self._feeder.costs

    @property
    def prefilling(self) -> Pid | None:
        """Whose prompt is being fed. Any thread may ask, to know whom an abort would hit."""
        return self._feeder.prefilling

    def step(self) -> None:
        """Run one step: prompts up to a budget, then one token for everyone who decodes."""
        began, core_s = self.clock.monotonic(), self.core_s
        self.recorder.begin()
        queue = self.queue()
        plan = self.policy.plan(queue, slots=self.core.spec.num_slots, quantum=self.quantum)
        preempted = tuple(entry.pid for entry in queue if entry.holds_slot and entry.pid not in plan.run)
        running = self._swap(plan.run)
        self._govern()
        for line, job, choice in self._feeder.feed(running, contended=len(plan.run) < len(queue)):
            self._take(line, job, choice)
        self.steps += 1
        now = self.clock.monotonic()
        took = now - began
        self.engine_s += took
        self.recorder.end(self.steps, at=self.clock.now(), now=now, took_s=took, preempted=preempted)
        self._feeder.costs = self.costs.stepped(took - (self.core_s - core_s))

    def _govern(self) -> None:
        fixed = self.core.spec.fixed_threads
        threads = self.governor.limit if fixed else self.governor.update(self.clock.monotonic())
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
            if not job.running and (error := job.take_slot(now)) is not None:
                self.eta_errors.append(error)
            self._enter(line, Phase.PREFILLING if line.context.log.next_size > 1 else Phase.DECODING)
            running.append((line, job))
        return running

    def _take(self, line: Line, job: Job, choice: int | ModelFailed) -> None:
        """Show the chosen token and make it the next to be fed, or end the generation."""
        if isinstance(choice, ModelFailed):
            self._fail(line, job, choice)
            return
        if not job.produced:
            job.cached = max(0, len(job.request.prompt) - job.fed)  # what was lost on the way has been fed after all
            self.prompt_tokens += len(job.request.prompt)
            self.cached_tokens += job.cached
            self.habits = self.habits.fed(len(job.request.prompt) - job.cached)
        token = choice
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

    # --- ends and changes ---------------------------------------------------------------------------------

    def _finish(self, line: Line, job: Job, reason: Finish) -> None:
        tail = job.stream.flush()
        if tail:
            self._emit(GenEvent(job.id, line.pid, text=tail))
        if reason is not Finish.CANCELLED:
            self.habits = self.habits.finished(job.program, job.request.max_tokens, len(job.produced))
        line.ended_at = now = self.clock.monotonic()
        result = job.result(reason, self.core.spec, now)
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
        self._feeder.forget(line.pid)
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
        self._feeder.forget(line.pid)

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
        for context in self.contexts.contexts.values():
            assert context.kept == (context.pid not in self.lines), f"nobody has the context of {context.pid}"
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


def _no_sampler(error: Exception) -> KernelError:
    """Why a generation cannot begin."""
    if isinstance(error, KernelError):
        return error
    if isinstance(error, CoreError):
        return BadRequest(str(error))
    return InternalError(f"no sampler: {error!r}")

"""The engine's state as others see it, copied between steps, and the queue as it will go on from there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from aios_kernel.core import EngineConfig
from aios_kernel.protocol import Pid, QueueEntry, SchedInfo, SnapshotInfo
from aios_kernel.scheduler.classes import ByClass
from aios_kernel.scheduler.experience import Costs, Habits
from aios_kernel.scheduler.feed import prefill_budget
from aios_kernel.scheduler.forecast import Forecast, Machine, Prospect, foresee
from aios_kernel.scheduler.line import Line
from aios_kernel.scheduler.loop import StepLoop
from aios_kernel.scheduler.pace import Pace
from aios_kernel.scheduler.policies import POLICIES, make_policy
from aios_kernel.scheduler.policy import Runnable
from aios_kernel.scheduler.request import EngineStats, Phase, Usage

IDLE_AFTER_S = 2.0  # a process that produced nothing for this long has rate 0


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the queue is foreseen from."""

    at: float  # seconds of the engine's clock
    prospects: tuple[Prospect, ...]  # of those that run or wait
    machine: Machine
    running: dict[Pid, str]  # what each of them does
    suspended: tuple[Pid, ...]  # in a generation


@dataclass(frozen=True, slots=True)
class View:
    """The engine as it stood between two steps; any thread may read it."""

    at: float  # seconds of the engine's clock
    usage: dict[Pid, Usage]
    outlook: Outlook  # of an earlier view, when many wait: see Viewer
    snapshots: tuple[SnapshotInfo, ...]
    stats: EngineStats
    sched: SchedInfo


def empty_view(config: EngineConfig) -> View:
    """Before the model is loaded."""
    machine = _machine(config, make_policy(config.policy), config.quantum, Costs(), Habits(), 0.0)
    return View(
        at=0.0,
        usage={},
        outlook=Outlook(at=0.0, prospects=(), machine=machine, running={}, suspended=()),
        snapshots=(),
        stats=EngineStats(slots=config.slots),
        sched=_sched(config.policy, config.quantum),
    )


def view_of(loop: StepLoop) -> View:
    """A consistent, immutable copy."""
    return Viewer(loop).view()


class Viewer:
    """Makes views that cost in proportion to what changed. Owner thread only.

    The usage of a process that did nothing is that of the former view, and where many wait the outlook is.
    """

    def __init__(self, loop: StepLoop) -> None:
        self._loop = loop
        self._former: dict[Pid, tuple[_Mark, Usage]] = {}
        self._outlook: Outlook | None = None
        self._pace = Pace()  # of outlooks

    def view(self) -> View:
        loop, now = self._loop, self._loop.clock.monotonic()
        former = self._former
        self._former = {pid: self._marked(line, former.get(pid), now) for pid, line in loop.lines.items()}
        usage = {pid: entry for pid, (_, entry) in self._former.items()}
        if self._outlook is None or self._pace.due(now) or not loop.runnable():
            with self._pace.spend(now):
                self._outlook = _outlook(loop, now)
        return View(
            at=now,
            usage=usage,
            outlook=self._outlook,
            snapshots=loop.contexts.infos(),
            stats=_stats(loop, usage, now),
            sched=_sched(loop.policy.name, loop.quantum),
        )

    def _marked(self, line: Line, former: tuple[_Mark, Usage] | None, now: float) -> tuple[_Mark, Usage]:
        """The usage of one, with the mark by which the next view tells whether it is still right."""
        mark = _mark(line)
        # In a slot its log grows; a rate falls to 0 by itself.
        if former is not None and former[0] == mark and line.context.slot is None and not former[1].tok_per_s:
            return former
        return mark, _usage(self._loop, line, now)


_Mark = tuple[object, ...]


def _mark(line: Line) -> _Mark:
    """All that the usage of one off its slot is made from: while this stays the same, so does that."""
    context, log = line.context, line.context.log
    return (
        line.phase,
        line.suspended,
        tuple(line.jobs),
        line.waited_s,
        context,
        context.snapshot,
        context.tier,
        len(log),
        log.fed,
    )


def _stats(loop: StepLoop, usage: dict[Pid, Usage], now: float) -> EngineStats:
    contexts, errors = loop.contexts, sorted(loop.eta_errors)
    return EngineStats(
        slots=loop.core.spec.num_slots,
        slots_used=sum(not context.kept for context in contexts.in_slots()),
        threads=loop.threads,
        tok_per_s=sum(entry.tok_per_s for entry in usage.values()),
        prefill_tok_per_s=loop.recorder.prefill_tok_per_s(now),
        kv_bytes=sum(contexts.kv_bytes(context) for context in contexts.in_slots()),
        ram_bytes=contexts.tiers.ram_bytes,
        disk_bytes=contexts.tiers.disk_bytes,
        prefix_bytes=contexts.prefixes.num_bytes,
        prefix_hit_rate=loop.cached_tokens / loop.prompt_tokens if loop.prompt_tokens else 0.0,
        steps=loop.steps,
        engine_s=loop.engine_s,
        core_s=loop.core_s,
        eta_error=errors[len(errors) // 2] if errors else None,
    )


def _outlook(loop: StepLoop, now: float) -> Outlook:
    prospects = tuple(_prospect(loop, entry) for entry in loop.queue())
    running = [prospect.entry.pid for prospect in prospects if prospect.entry.holds_slot]
    return Outlook(
        at=now,
        prospects=prospects,
        machine=_machine(loop.config, loop.policy, loop.quantum, loop.costs, loop.habits, now),
        running={pid: _progress(loop.lines[pid]) for pid in running},
        suspended=tuple(line.pid for line in loop.lines.values() if line.suspended and line.jobs),
    )


def _machine(config: EngineConfig, policy: ByClass, quantum: int, costs: Costs, habits: Habits, now: float) -> Machine:
    budget = partial(prefill_budget, config, costs)
    return Machine(policy, config.slots, quantum, costs, habits, budget, habits.newcomers_per_s(now))


def _sched(policy: str, quantum: int) -> SchedInfo:
    return SchedInfo(policy=policy, policies=tuple(sorted(POLICIES)), quantum=quantum)


def _prospect(loop: StepLoop, entry: Runnable) -> Prospect:
    line = loop.lines[entry.pid]
    assert line.job is not None
    room = loop.core.spec.window - len(line.context.log) + 1  # the last token need not be fed
    return Prospect(entry, line.job.request.max_tokens, room, loop.contexts.adoptable(line.context))


def _usage(loop: StepLoop, line: Line, now: float) -> Usage:
    context = line.context
    return Usage(
        phase=line.phase,
        reason=_progress(line),
        slot=context.slot,
        tier=context.tier,
        ctx_used=len(context.log),
        kv_bytes=loop.contexts.kv_bytes(context),
        tok_per_s=_rate(line, now),
        waited_s=line.waited_s + sum(job.wait_s for job in line.jobs),
        waits_since=tuple(job.waits_since for job in line.jobs if job.waits_since is not None),
    )


def _rate(line: Line, now: float) -> float:
    times = line.token_times
    if line.job is None or line.suspended or len(times) < 2 or now - times[-1] > IDLE_AFTER_S or times[-1] <= times[0]:
        return 0.0
    return (len(times) - 1) / (times[-1] - times[0])


def _progress(line: Line) -> str:
    if line.phase is Phase.PREFILLING:
        log = line.context.log
        return f"prefilling {log.fed_tokens}/{len(log)}"
    return line.phase.value


def queue_of(outlook: Outlook) -> tuple[QueueEntry, ...]:
    """Who runs, who waits behind whom for how long yet, who is suspended. Takes milliseconds when many wait."""
    waiting = foresee(outlook.prospects, outlook.machine)
    return (
        *(QueueEntry(pid, "running", n, does, (), 0.0) for n, (pid, does) in enumerate(outlook.running.items(), 1)),
        *(_waiting(pid, n, forecast, outlook.machine) for n, (pid, forecast) in enumerate(waiting.items(), 1)),
        *(QueueEntry(pid, "suspended", n, "suspended", (), None) for n, pid in enumerate(outlook.suspended, 1)),
    )


def _waiting(pid: Pid, position: int, forecast: Forecast, machine: Machine) -> QueueEntry:
    reason, eta_ms = _behind(forecast.behind), None
    if forecast.in_s is not None:
        eta_ms = forecast.in_s * 1e3
    elif machine.costs.known:
        reason += ", for too long to foresee"
    return QueueEntry(pid, "ready", position, reason, forecast.behind, eta_ms)


def _behind(pids: tuple[Pid, ...]) -> str:
    """behind 12 and 15; behind 12, 15 and 3 more."""
    if not pids:
        return "next"
    if len(pids) <= 3:
        names = [str(pid) for pid in pids]
        return "behind " + " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return f"behind {pids[0]}, {pids[1]} and {len(pids) - 2} more"

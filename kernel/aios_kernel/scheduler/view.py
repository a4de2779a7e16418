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
from aios_kernel.scheduler.policies import POLICIES, make_policy
from aios_kernel.scheduler.policy import Runnable
from aios_kernel.scheduler.request import EngineStats, Phase, Usage

IDLE_AFTER_S = 2.0  # a process that produced nothing for this long has rate 0


@dataclass(frozen=True, slots=True)
class View:
    """The engine as it stood between two steps; any thread may read it."""

    at: float  # seconds of the engine's clock
    usage: dict[Pid, Usage]
    prospects: tuple[Prospect, ...]  # of those that run or wait
    machine: Machine
    suspended: tuple[Pid, ...]  # in a generation
    snapshots: tuple[SnapshotInfo, ...]
    stats: EngineStats
    sched: SchedInfo


def empty_view(config: EngineConfig) -> View:
    """Before the model is loaded."""
    return View(
        at=0.0,
        usage={},
        prospects=(),
        machine=_machine(config, make_policy(config.policy), config.quantum, Costs(), Habits(), 0.0),
        suspended=(),
        snapshots=(),
        stats=EngineStats(slots=config.slots),
        sched=_sched(config.policy, config.quantum),
    )


def view_of(loop: StepLoop) -> View:
    """A consistent, immutable copy."""
    now = loop.clock.monotonic()
    usage = {pid: _usage(loop, line, now) for pid, line in loop.lines.items()}
    errors = sorted(loop.eta_errors)
    stats = EngineStats(
        slots=loop.core.spec.num_slots,
        slots_used=sum(not context.kept for context in loop.contexts.in_slots()),
        threads=loop.threads,
        tok_per_s=sum(entry.tok_per_s for entry in usage.values()),
        kv_bytes=sum(loop.contexts.kv_bytes(context) for context in loop.contexts.in_slots()),
        ram_bytes=loop.contexts.tiers.ram_bytes,
        disk_bytes=loop.contexts.tiers.disk_bytes,
        prefix_bytes=loop.contexts.prefixes.num_bytes,
        prefix_hit_rate=loop.cached_tokens / loop.prompt_tokens if loop.prompt_tokens else 0.0,
        steps=loop.steps,
        engine_s=loop.engine_s,
        core_s=loop.core_s,
        eta_error=errors[len(errors) // 2] if errors else None,
    )
    return View(
        at=now,
        usage=usage,
        prospects=tuple(_prospect(loop, entry) for entry in loop.queue()),
        machine=_machine(loop.config, loop.policy, loop.quantum, loop.costs, loop.habits, now),
        suspended=tuple(line.pid for line in loop.lines.values() if line.suspended and line.jobs),
        snapshots=loop.contexts.infos(),
        stats=stats,
        sched=_sched(loop.policy.name, loop.quantum),
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
        wait_ms=(line.waited_s + sum(job.waited_s(now) for job in line.jobs)) * 1e3,
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


def queue_of(view: View) -> tuple[QueueEntry, ...]:
    """Who runs, who waits behind whom for how long yet, who is suspended. Takes milliseconds when many wait."""
    running = (prospect.entry.pid for prospect in view.prospects if prospect.entry.holds_slot)
    waiting = foresee(view.prospects, view.machine)
    return (
        *(QueueEntry(pid, "running", n, view.usage[pid].reason, (), 0.0) for n, pid in enumerate(running, 1)),
        *(_waiting(pid, n, forecast, view) for n, (pid, forecast) in enumerate(waiting.items(), 1)),
        *(QueueEntry(pid, "suspended", n, "suspended", (), None) for n, pid in enumerate(view.suspended, 1)),
    )


def _waiting(pid: Pid, position: int, forecast: Forecast, view: View) -> QueueEntry:
    reason, eta_ms = _behind(forecast.behind), None
    if forecast.in_s is not None:
        eta_ms = forecast.in_s * 1e3
    elif view.machine.costs.known:
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

"""The engine's state as others see it, copied between steps."""

from __future__ import annotations

import heapq

from aios_kernel.protocol import Pid, QueueEntry, SchedInfo
from aios_kernel.scheduler.loop import Line, StepLoop
from aios_kernel.scheduler.policies import POLICIES
from aios_kernel.scheduler.policy import Runnable
from aios_kernel.scheduler.request import EngineStats, Phase, Usage, View

IDLE_AFTER_S = 2.0  # a process that produced nothing for this long has rate 0


def view_of(loop: StepLoop) -> View:
    """A consistent, immutable copy."""
    now = loop.clock.monotonic()
    queue = _queue_entries(loop)
    reasons = {entry.pid: entry.reason for entry in queue}
    usage = {pid: _usage(loop, line, reasons.get(pid), now) for pid, line in loop.lines.items()}
    stats = EngineStats(
        slots=loop.core.spec.num_slots,
        slots_used=sum(1 for _ in loop.contexts.in_slots()),
        threads=loop.threads,
        tok_per_s=sum(entry.tok_per_s for entry in usage.values()),
        kv_bytes=sum(loop.contexts.kv_bytes(context) for context in loop.contexts.in_slots()),
        ram_bytes=loop.contexts.ram_bytes,
        steps=loop.steps,
    )
    sched = SchedInfo(policy=loop.policy.name, policies=tuple(sorted(POLICIES)), quantum=loop.quantum)
    return View(usage=usage, queue=queue, snapshots=loop.contexts.infos(), stats=stats, sched=sched)


def _usage(loop: StepLoop, line: Line, reason: str | None, now: float) -> Usage:
    context = line.context
    return Usage(
        phase=line.phase,
        reason=reason or line.phase.value,
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


def _queue_entries(loop: StepLoop) -> tuple[QueueEntry, ...]:
    entries = loop.queue()
    holders = [entry for entry in entries if entry.holds_slot]
    waiting = tuple(entry for entry in entries if not entry.holds_slot)
    order = loop.policy.plan(waiting, slots=len(waiting), quantum=loop.quantum).run
    running = [entry.pid for entry in holders]
    result = [
        QueueEntry(pid, "running", position, _progress(loop.lines[pid]), (), 0.0)
        for position, pid in enumerate(running, 1)
    ]
    for position, (pid, eta_ms) in enumerate(zip(order, _etas_ms(loop, holders, order), strict=True), 1):
        behind = (*running, *order[: position - 1])
        result.append(QueueEntry(pid, "ready", position, _behind(behind), behind, eta_ms))
    suspended = (line.pid for line in loop.lines.values() if line.suspended and line.jobs)
    result += [
        QueueEntry(pid, "suspended", position, "suspended", (), None) for position, pid in enumerate(suspended, 1)
    ]
    return tuple(result)


def _progress(line: Line) -> str:
    if line.phase is Phase.PREFILLING:
        log = line.context.log
        return f"prefilling {log.fed_tokens}/{len(log)}"
    return line.phase.value


def _behind(pids: tuple[Pid, ...]) -> str:
    """behind 12 and 15; behind 12, 15 and 3 more."""
    if not pids:
        return "next"
    if len(pids) <= 3:
        names = [str(pid) for pid in pids]
        return "behind " + " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return f"behind {pids[0]}, {pids[1]} and {len(pids) - 2} more"


def _etas_ms(loop: StepLoop, holders: list[Runnable], order: tuple[Pid, ...]) -> list[float | None]:
    """When each of `order` gets a slot, if everyone before it uses all that it may: upper estimates.

    None: nobody can say.
    """
    if not loop.step_s or loop.policy.overtakes:
        return [None for _ in order]
    free = [_turn(loop, entry.pid, entry.used) for entry in holders]  # steps until each slot is free
    free += [0] * (loop.core.spec.num_slots - len(holders))
    heapq.heapify(free)
    steps = []
    for pid in order:
        steps.append(free[0])
        heapq.heapreplace(free, free[0] + _turn(loop, pid, 0))
    return [count * loop.step_s * 1e3 for count in steps]


def _turn(loop: StepLoop, pid: Pid, used: int) -> int:
    """The most tokens that it may yet produce before it gives its slot to one that waits."""
    job = loop.lines[pid].job
    assert job is not None
    left = job.request.max_tokens - len(job.produced)
    return min(left, max(0, loop.quantum - used)) if loop.policy.preempts else left

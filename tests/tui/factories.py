"""What the kernel tells, made by hand: every field has a plain value, a test names only those it is about."""

from __future__ import annotations

import itertools
from typing import Any, Final

from aios_kernel.protocol import (
    PROTOCOL_VERSION,
    Frame,
    HostInfo,
    KernelStatus,
    ProcInfo,
    ProcState,
    QueueEntry,
    SlotUse,
    StepInfo,
    StepPhase,
    Tier,
)
from aios_shell.tui.live import Link, Live

NOW: Final = 1_800_000_000.0  # Unix seconds

_STEPS = itertools.count(1)


def proc(pid: int, **changes: Any) -> ProcInfo:
    """A process that decodes in a slot."""
    fields: dict[str, Any] = {
        "pid": pid,
        "ppid": 0,
        "agent": "chat",
        "task": f"task {pid}",
        "state": ProcState.RUNNING,
        "reason": "decoding",
        "nice": 0,
        "group": "user",
        "model": "SmolLM2-135M-Instruct.Q4_1.gguf",
        "tokens_in": 120,
        "tokens_out": 40,
        "tok_per_s": 12.5,
        "ctx_used": 512,
        "ctx_max": 2048,
        "slot": 0,
        "tier": Tier.SLOT,
        "kv_bytes": 12_000_000,
        "wait_ms": 300.0,
        "turnaround_ms": 4200.0,
        "started_at": NOW - 4.2,
        "ended_at": None,
        "exit_code": None,
        "exact": True,
        "os_pid": 4000 + pid,
    }
    return ProcInfo(**(fields | changes))


def ended(pid: int, exit_code: int = 0, **changes: Any) -> ProcInfo:
    """A process that has exited."""
    fields: dict[str, Any] = {
        "state": ProcState.EXITED,
        "reason": "",
        "tok_per_s": 0.0,
        "slot": None,
        "tier": Tier.NONE,
        "kv_bytes": 0,
        "ended_at": NOW,
        "exit_code": exit_code,
        "os_pid": None,
    }
    return proc(pid, **(fields | changes))


def status(**changes: Any) -> KernelStatus:
    """A kernel with a model, four slots, and budgets of 2 GB of memory and 8 GB of disk."""
    fields: dict[str, Any] = {
        "pid": 4000,
        "version": "0.1.0",
        "protocol": PROTOCOL_VERSION,
        "socket": "kernel.sock",
        "url": None,
        "model": "SmolLM2-135M-Instruct.Q4_1.gguf",
        "model_state": "ready",
        "policy": "plas",
        "policies": ("fair", "fifo", "mlfq", "plas", "priority", "rr"),
        "quantum": 32,
        "exact": True,
        "exact_reason": "the self-test passed",
        "uptime_s": 61.0,
        "slots": 4,
        "slots_used": 2,
        "threads": 2,
        "procs": 3,
        "tok_per_s": 96.0,
        "prefill_tok_per_s": 210.0,
        "kv_bytes": 49_000_000,
        "ram_bytes": 400_000_000,
        "ram_budget": 2_000_000_000,
        "disk_bytes": 1_000_000_000,
        "disk_budget": 8_000_000_000,
        "prefix_bytes": 20_000_000,
        "prefix_hit_rate": 0.4,
        "steps": 1000,
        "engine_s": 50.0,
        "core_s": 48.0,
        "eta_error": 0.2,
    }
    return KernelStatus(**(fields | changes))


def entry(pid: int, **changes: Any) -> QueueEntry:
    """A place in the run queue, first of those that are ready."""
    fields: dict[str, Any] = {
        "pid": pid,
        "queue": "ready",
        "position": 1,
        "reason": "waits for a slot",
        "behind": (),
        "eta_ms": 4000.0,
    }
    return QueueEntry(**(fields | changes))


def use(slot: int, pid: int, phase: StepPhase = StepPhase.DECODE, tokens: int = 1) -> SlotUse:
    return SlotUse(slot, pid, phase, tokens)


def step(*uses: SlotUse, **changes: Any) -> StepInfo:
    """A step of the scheduler; its number is one more than that of the step made before."""
    number = next(_STEPS)
    fields: dict[str, Any] = {"step": number, "at": NOW + number / 20, "took_ms": 40.0, "uses": uses, "preempted": ()}
    return StepInfo(**(fields | changes))


def host(**changes: Any) -> HostInfo:
    """A machine of two cores without a GPU."""
    fields: dict[str, Any] = {
        "cpu_percent": 73.0,
        "cores": 2,
        "memory_used": 6_000_000_000,
        "memory_total": 24_000_000_000,
        "kernel_rss": 600_000_000,
        "gpu": "",
        "gpu_percent": None,
        "gpu_used": None,
        "gpu_total": None,
    }
    return HostInfo(**(fields | changes))


def frame(*procs: ProcInfo, **changes: Any) -> Frame:
    fields: dict[str, Any] = {
        "at": NOW,
        "status": status(),
        "procs": list(procs),
        "gone": [],
        "queue": None,
        "steps": [],
        "steps_lost": 0,
        "host": host(),
    }
    return Frame(**(fields | changes))


def live(*procs: ProcInfo, **changes: Any) -> Live:
    """What a connected app knows after its first frame."""
    made = Live(link=Link.LIVE)
    made.apply(frame(*procs, **changes))
    return made

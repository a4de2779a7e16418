"""The live feed: what a screen needs to show the system at work."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from aios_kernel.protocol.kernel import KernelStatus, QueueEntry
from aios_kernel.protocol.processes import ProcInfo


class StepPhase(StrEnum):
    PREFILL = "prefill"
    DECODE = "decode"


@dataclass(frozen=True, slots=True)
class SlotUse:
    """One slot's part of a step."""

    slot: int
    pid: int
    phase: StepPhase
    tokens: int


@dataclass(frozen=True, slots=True)
class StepInfo:
    """One step of the scheduler."""

    step: int
    at: float  # Unix seconds at its end
    took_ms: float
    uses: tuple[SlotUse, ...]
    preempted: tuple[int, ...]  # pids that lost their slot at its beginning


@dataclass(frozen=True, slots=True)
class HostInfo:
    """The machine under the kernel. GPU figures are None, its name empty, where there is none."""

    cpu_percent: float  # of all cores together, 0 to 100
    cores: int
    memory_used: int  # bytes, as the other memory figures
    memory_total: int
    kernel_rss: int
    gpu: str
    gpu_percent: float | None
    gpu_used: int | None
    gpu_total: int | None


@dataclass(frozen=True, slots=True)
class Frame:
    """What has changed since the client's former frame. GET /watch sends them as server-sent events."""

    at: float  # Unix seconds
    status: KernelStatus  # as `GET /kernel` tells it
    procs: list[ProcInfo]  # those that changed; in the first frame all that live, zombies, and the last ended ones
    gone: list[int]  # pids that are not told of any more
    queue: list[QueueEntry] | None  # None: as before
    steps: list[StepInfo]  # of the scheduler since the former frame, at most the newest 256
    steps_lost: int  # those since the former frame that are left out
    host: HostInfo  # the machine, read once a second

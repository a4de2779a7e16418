"""What the kernel last told, for every widget. Plain data, changed on the UI thread only."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from aios_kernel.protocol import Frame, HostInfo, KernelStatus, ProcInfo, ProcState, QueueEntry, StepInfo

NUM_STEPS: Final = 4096
NUM_RATES: Final = 32  # samples of one process's tokens a second
NUM_TOTALS: Final = 120  # and of the kernel's
SAMPLE_S: Final = 1.0


class Link(StrEnum):
    """How the app stands with the kernel."""

    CONNECTING = "connecting"
    STARTING = "starting"  # there was no kernel: one is being started
    LOADING = "loading"  # it answers; its model is not ready
    LIVE = "live"
    LOST = "lost"  # it went away; tried again until it is back


@dataclass(slots=True)
class Live:
    """The system as last told. After LOST it stays as it was, for reading."""

    link: Link = Link.CONNECTING
    note: str = ""  # one line on the link
    procs: dict[int, ProcInfo] = field(default_factory=dict)
    status: KernelStatus | None = None
    queue: list[QueueEntry] = field(default_factory=list)
    host: HostInfo | None = None
    steps: deque[StepInfo] = field(default_factory=lambda: deque(maxlen=NUM_STEPS))
    rates: dict[int, deque[float]] = field(default_factory=dict)  # tokens a second by pid, one sample a second
    totals: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=NUM_TOTALS))  # (prefill, decode)
    _sampled_at: float = 0.0

    @property
    def asking(self) -> list[ProcInfo]:
        """Those that a person must answer, the oldest first."""
        return [proc for proc in self.procs.values() if proc.state is ProcState.ASKING]

    def begin(self) -> None:
        """A new connection: its first frame tells of everything."""
        self.procs.clear()
        self.steps.clear()
        self.queue = []

    def apply(self, frame: Frame) -> None:
        """Take a frame in."""
        self.procs.update((proc.pid, proc) for proc in frame.procs)
        for pid in frame.gone:
            self.procs.pop(pid, None)
            self.rates.pop(pid, None)
        if frame.queue is not None:
            self.queue = frame.queue
        self.status, self.host = frame.status, frame.host
        self.steps.extend(frame.steps)
        if frame.at - self._sampled_at >= SAMPLE_S:
            self._sampled_at = frame.at
            self._sample(frame.status)

    def _sample(self, status: KernelStatus) -> None:
        self.totals.append((status.prefill_tok_per_s, status.tok_per_s))
        for pid, proc in self.procs.items():
            history = self.rates.get(pid)
            if history is None and not proc.tok_per_s:
                continue
            if history is None:
                history = self.rates[pid] = deque(maxlen=NUM_RATES)
            if proc.tok_per_s or any(history):
                history.append(proc.tok_per_s)

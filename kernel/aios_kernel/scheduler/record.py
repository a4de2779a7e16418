"""What the last steps did, for those who watch. Kept whether or not anybody does: it costs 20 microseconds of a step,
and who opens a screen sees at once what led there."""

from __future__ import annotations

from collections import deque
from typing import Final

from aios_kernel.protocol import Pid, SlotUse, StepInfo, StepPhase

NUM_STEPS: Final = 256  # kept
RATE_S: Final = 2.0  # tokens per second are those of so long


class Recorder:
    """Owner thread only."""

    def __init__(self) -> None:
        self.steps: deque[StepInfo] = deque(maxlen=NUM_STEPS)  # the last one last
        self._uses: dict[tuple[int, Pid, StepPhase], int] = {}  # tokens, in this step
        self._fed: deque[tuple[float, int]] = deque()  # when a step ended, prompt tokens that it fed

    def begin(self) -> None:
        """A step begins; whatever a failed one has left is not its."""
        self._uses.clear()

    def use(self, slot: int, pid: Pid, phase: StepPhase, tokens: int) -> None:
        """So many tokens of `pid` were fed. Pieces of one prompt add up."""
        key = (slot, pid, phase)
        self._uses[key] = self._uses.get(key, 0) + tokens

    def end(self, step: int, *, at: float, now: float, took_s: float, preempted: tuple[Pid, ...]) -> None:
        """The step ended. at: Unix time; now: seconds of the engine's clock."""
        uses = tuple(SlotUse(*key, tokens) for key, tokens in self._uses.items())
        self.steps.append(StepInfo(step, at, took_s * 1e3, uses, preempted))
        fed = sum(use.tokens for use in uses if use.phase is StepPhase.PREFILL)
        if fed:
            self._forget(now)
            self._fed.append((now, fed))

    def prefill_tok_per_s(self, now: float) -> float:
        """Prompt tokens fed a second, over the last seconds."""
        self._forget(now)
        return sum(tokens for _, tokens in self._fed) / RATE_S

    def _forget(self, now: float) -> None:
        while self._fed and self._fed[0][0] <= now - RATE_S:
            self._fed.popleft()

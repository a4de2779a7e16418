"""What has happened, as far as it tells what will: how long model calls take, what processes ask of the model.

Both are values: to learn is to make a new one, so that a view can hold them for other threads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from aios_kernel.protocol import Pid

SAMPLES: Final = 32  # generations of one kind that are remembered
MIN_SAMPLES: Final = 3  # of a kind, before it is believed
MAX_KINDS: Final = 256
WINDOW_S: Final = 30  # for newcomers: those that have not asked for so long


def running_mean(mean: float, value: float) -> float:
    """Follows the last ten or so."""
    return 0.9 * mean + 0.1 * value if mean else value


@dataclass(frozen=True, slots=True)
class Costs:
    """Running means, in seconds."""

    decode_s: Mapping[int, float] = field(default_factory=dict)  # of a step's calls, by the number of sequences
    prefill_s: float = 0.0  # of a prompt's token
    rest_s: float = 0.0  # of a step, outside of model calls

    def decoded(self, batch: int, took_s: float) -> Costs:
        mean = running_mean(self.decode_s.get(batch, 0.0), took_s)
        return replace(self, decode_s={**self.decode_s, batch: mean})

    def prefilled(self, tokens: int, took_s: float) -> Costs:
        return replace(self, prefill_s=running_mean(self.prefill_s, took_s / tokens))

    def stepped(self, rest_s: float) -> Costs:
        return replace(self, rest_s=running_mean(self.rest_s, rest_s))

    @property
    def known(self) -> bool:
        return bool(self.decode_s)

    def step_s(self, batch: int) -> float:
        """Of a step that decodes so many sequences; 0 while nothing is known.

        Between numbers that there have been, on the line; beyond them a call grows as on a CPU, with `batch` + 1:
        9 ms for 1 sequence, 45 for 8.
        """
        below = max((size for size in self.decode_s if size <= batch), default=0)
        above = min((size for size in self.decode_s if size >= batch), default=0)
        if not batch or not self.decode_s:
            return self.rest_s
        if not below or not above:
            nearest = below or above
            return self.rest_s + self.decode_s[nearest] * (batch + 1) / (nearest + 1)
        share = (batch - below) / (above - below) if above > below else 0.0
        return self.rest_s + (1 - share) * self.decode_s[below] + share * self.decode_s[above]


@dataclass(frozen=True, slots=True)
class Habits:
    """How long generations are, and what comes after them."""

    again: float = 0.0  # of processes whose generation has ended: the share that asks for another
    pause_s: float = 0.0  # until it does
    prompt: float = 0.0  # tokens to feed for it
    _came: tuple[float, ...] = ()  # the last seconds, rounded down, in which newcomers asked
    _lengths: Mapping[tuple[str, int], tuple[int, ...]] = field(default_factory=dict)  # least lately added first

    def asked(self, now: float, ended_at: float | None) -> Habits:
        """A process asks for a generation; its last one ended at that time, if there was one."""
        if ended_at is not None and now - ended_at <= WINDOW_S:
            pause_s = running_mean(self.pause_s, now - ended_at)
            return replace(self, again=running_mean(self.again, 1.0), pause_s=pause_s)
        second = float(int(now))
        recent = [time for time in self._came if second - WINDOW_S < time < second]
        return replace(self, _came=(*recent, second))

    def fed(self, prompt: int) -> Habits:
        """So many tokens were fed for a generation."""
        return replace(self, prompt=running_mean(self.prompt, prompt))

    def left_off(self) -> Habits:
        """A process has ended after its last generation."""
        return replace(self, again=running_mean(self.again, 0.0))

    def finished(self, program: Pid, max_tokens: int, produced: int) -> Habits:
        """A generation has ended by itself, or at its limit."""
        lengths = dict(self._lengths)
        for kind in _kinds(program, max_tokens):
            lengths[kind] = (*lengths.pop(kind, ())[1 - SAMPLES :], produced)
        for kind in list(lengths)[: max(0, len(lengths) - MAX_KINDS)]:
            del lengths[kind]
        return replace(self, _lengths=lengths)

    def newcomers_per_s(self, now: float) -> float:
        """How often processes come that have not asked lately: if they come in a share p of the seconds, -ln(1 - p).

        Not by their number: a crowd that is started at once says nothing about later.
        """
        busy = sum(now - WINDOW_S <= time for time in self._came)
        return -math.log(1 - min(busy, WINDOW_S - 1) / WINDOW_S)

    def left(self, program: Pid, max_tokens: int, produced: int) -> float:
        """Tokens that one which has produced so many will likely produce yet, by the most telling kind that is known.

        That is what those before it that came as far went on to produce; one that is longer than they were is taken
        to be in its middle. One that cannot be compared is taken to use all that it may.
        """
        for kind in _kinds(program, max_tokens):
            lengths = self._lengths.get(kind, ())
            longer = [length - produced for length in lengths if length > produced]
            if len(longer) >= MIN_SAMPLES:
                return min(max_tokens - produced, sum(longer) / len(longer))
            if len(lengths) >= MIN_SAMPLES:
                return min(max_tokens - produced, produced)
        return max_tokens - produced


def _kinds(program: Pid, max_tokens: int) -> tuple[tuple[str, int], ...]:
    return ("program", program), ("limit", max_tokens), ("all", 0)

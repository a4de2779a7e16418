"""What is asked of a server, when, by whom: the same for ours and for a peer, and never the same twice.

Words are drawn anew for each run, from a seed that stands in the JSON beside its figures: a run can be repeated, and no
server's prompt cache knows a prompt from an earlier one.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final


@dataclass(frozen=True, slots=True)
class Turn:
    """One question. The reply is read to its end, or for `limit_s`: then the client hangs up, which is no failure."""

    text: str
    max_tokens: int
    limit_s: float | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns of one client, each asked when the one before is answered, `think_s` later."""

    group: str  # what it is in this benchmark: "long", "short"
    arrives_s: float  # after the trace begins
    turns: tuple[Turn, ...]
    system: str = ""
    think_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Trace:
    conversations: tuple[Conversation, ...]
    deadline_s: float  # for all of it; whatever is unanswered then counts as failed

    @property
    def num_turns(self) -> int:
        return sum(len(conversation.turns) for conversation in self.conversations)


_ADJECTIVES: Final = (
    "old young small large quiet loud bright dark warm cold brave shy clever slow quick gentle proud hungry sleepy "
    "lonely golden silver green blue red white broken hidden distant careful"
)
_NOUNS: Final = (
    "fox robot pilot nurse queen miner baker sailor painter singer farmer judge river comet storm clock mirror lantern "
    "letter island violin garden bridge stone forest engine window market castle mountain teacher doctor rabbit horse "
    "captain wizard dragon library train village"
)
_VERBS: Final = (
    "finds follows watches carries paints repairs visits remembers forgets hides counts draws answers helps leaves "
    "opens closes studies describes sells buys builds cleans guards"
)


class Writer:
    """Draws text. Two writers of one seed write the same."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)  # noqa: S311 -- varied and repeatable is all it must be
        self._adjectives, self._nouns, self._verbs = _ADJECTIVES.split(), _NOUNS.split(), _VERBS.split()

    def thing(self) -> str:
        return f"{self._random.choice(self._adjectives)} {self._random.choice(self._nouns)}"

    def sentence(self) -> str:
        return f"The {self.thing()} {self._random.choice(self._verbs)} the {self.thing()} near the {self.thing()}."

    def prose(self, num_words: int) -> str:
        """Sentences of about so many words; a word is about 1.1 tokens."""
        words = 0
        sentences = []
        while words < num_words:
            sentences.append(self.sentence())
            words += len(sentences[-1].split())
        return " ".join(sentences)

    def story(self) -> str:
        """A question whose answer is long."""
        return f"Write a long story about a {self.thing()}, a {self.thing()} and a {self.thing()}."

    def arrivals(self, num: int, first_s: float, last_s: float) -> list[float]:
        """`num` times, spread evenly and shaken by up to half a gap, in order."""
        gap = (last_s - first_s) / max(1, num - 1)
        times = [first_s + gap * (i + self._random.uniform(-0.5, 0.5)) for i in range(num)]
        return sorted(max(first_s, min(last_s, time)) for time in times)

"""Search by words: what an agent uses to find, in its own data, the few things worth showing to the model."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

_STOP_WORDS = """a about an and are as at by day days do for four from i in is it like liked likes me my of on one or
please some something that the three to trip two want wants week weekend with"""

_ENDINGS = re.compile(r"(?<=\w{3})(ies|es|s|ing|ed|y|e)$")


def rank(query: str, items: Sequence[T], text_of: Callable[[T], str]) -> list[tuple[float, T]]:
    """(score, item) pairs, best first; items of equal score keep their order.

    The score is the summed weight of the query's words that the item's text has; rare words weigh more
    (inverse document frequency), and 0 means that none occurs.
    """
    bags = [_words(text_of(item)) for item in items]
    frequency = Counter(word for bag in bags for word in bag)
    wanted = _words(query)
    scores = [sum(math.log(1 + len(items) / frequency[word]) for word in sorted(wanted & bag)) for bag in bags]
    return sorted(zip(scores, items, strict=True), key=lambda pair: -pair[0])


def _words(text: str) -> set[str]:
    """The words that say something, without their commonest English endings: "story" finds "stories"."""
    words = set(re.findall(r"[^\W_]+", text.lower())) - set(_STOP_WORDS.split())
    return {_ENDINGS.sub("", word) for word in words}

"""A slogan, by Reflexion: when it is too long, beside the point or borrowed, the model is told and tries again."""

from __future__ import annotations

import re
from typing import Final

from aios_agents.patterns import Reflexion

MAX_WORDS: Final = 8
STEM: Final = 4  # letters that words of one meaning mostly share: bake, bakery


class Slogan(Reflexion):
    system = f"Write a slogan of at most {MAX_WORDS} words. It names what it is for."
    examples = (
        ("a bicycle shop", "Your bicycle, ready to roll."),
        ("a swimming pool that is open at night", "Swim under the stars."),
        ("a library", "A library card opens every door."),
        ("a repair cafe", "Repair it, keep it, love it."),
    )
    options = {"max_tokens": 32, "stop": ["\n"], "repeat_penalty": 1.1}  # at 1.0 the 135M model goes in circles

    async def check(self, task: str, attempt: str) -> str | None:
        words = _words(attempt)
        if not 2 <= len(words) <= MAX_WORDS:
            return f"A slogan of {len(words)} words is too {'long' if words else 'short'}."
        if attempt in dict(self.examples).values():
            return "This slogan belongs to somebody else."
        if words == _words(task):
            return "This only repeats what it is for."
        if not {word[:STEM] for word in words} & {word[:STEM] for word in _words(task) if len(word) >= STEM}:
            return f"The slogan does not name {task}."
        return None


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())

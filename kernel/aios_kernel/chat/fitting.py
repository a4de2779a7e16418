"""A prompt on its way into the context window. Any thread."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aios_kernel.chat import summary, window
from aios_kernel.chat.conversation import Memory
from aios_kernel.chat.request import Ask
from aios_kernel.chat.window import Forgotten, Unit
from aios_kernel.errors import PromptTooLong
from aios_kernel.scheduler.request import GenResult

if TYPE_CHECKING:
    from aios_kernel.chat.prompt import Prompt, Renderer


@dataclass(frozen=True, slots=True)
class Fit:
    """A prompt, and what it leaves out."""

    prompt: Prompt
    forgotten: Forgotten | None  # now, or since earlier prompts of the conversation
    units: Sequence[Unit] = ()  # now
    dropped: int = 0  # tokens of `units`
    news: str | None = None  # what was done now, for a person


@dataclass(frozen=True, slots=True)
class Fitting:
    """The prompts that one request may get."""

    ask: Ask
    memory: Memory
    renderer: Renderer
    window: int  # tokens
    max_tokens: int  # of the reply, beside what of it is given

    def whole(self) -> Fit:
        """Nothing is left out, though the reply may have little room. Raises PromptTooLong when it has none."""
        prompt = self._prompt(None)
        if len(prompt) >= self.window:
            raise self._too_long("the prompt", prompt)
        return Fit(prompt, None)

    def as_before(self) -> Fit:
        """Nothing is left out but what earlier prompts of the conversation left out."""
        forgotten = window.recall(self.ask.messages, self.memory.forgotten)
        return Fit(self._prompt(forgotten), forgotten)

    def fits(self, fit: Fit) -> bool:
        return len(fit.prompt) + self._reserve(fit.prompt) <= self.window

    def shorter(self, fit: Fit) -> Fit:
        """So many more of the oldest turns are left out that half of the window is free for turns to come, as the KV
        of all that follows is lost each time; less is free where no more can go.

        Raises PromptTooLong when what has to stay is as large as the window.
        """
        messages, former = self.ask.messages, fit.forgotten
        units = window.droppable(messages, former.dropped if former else ())

        def without(number: int) -> Forgotten | None:
            return window.forget(messages, units[:number], former) if number else former

        least = self._prompt(without(len(units)))
        if len(least) >= self.window:
            raise self._too_long("even without its older turns the prompt" if units else "the prompt", least)
        number = bisect.bisect_left(
            range(len(units)), True, key=lambda number: len(self._prompt(without(number))) <= self.window // 2
        )
        forgotten, units = without(number), units[:number]
        prompt = self._prompt(forgotten)
        dropped = len(fit.prompt) - len(prompt)
        news = f"dropped {window.count(units)}, {dropped:,} tokens" if units else None
        return Fit(prompt, forgotten, units, dropped, news)

    def pieces(self, fit: Fit) -> list[str]:
        """What `fit` leaves out now, as texts to be summed up. Raises NoSummary."""
        gone = window.messages_of(self.ask.messages, fit.units)
        return summary.pieces(gone, self.window, lambda ask: len(self.renderer.prompt(ask, Memory())))

    def summarised(self, fit: Fit, result: GenResult) -> Fit:
        """`fit` with a summary in the place of all that it leaves out. Raises NoSummary."""
        assert fit.forgotten is not None
        forgotten = replace(fit.forgotten, summary=result.text.strip())
        news = f"summarised {window.count(fit.units)}, {fit.dropped:,} -> {len(result.tokens):,} tokens"
        shorter = replace(fit, prompt=self._prompt(forgotten), forgotten=forgotten, news=news)
        if not self.fits(shorter):
            raise summary.NoSummary("no room for a summary")
        return shorter

    def _prompt(self, forgotten: Forgotten | None) -> Prompt:
        ask = self.ask
        if forgotten is not None:
            ask = replace(ask, messages=window.leave_out(ask.messages, forgotten))
        return self.renderer.prompt(ask, self.memory)

    def _reserve(self, prompt: Prompt) -> int:
        """Tokens to keep free for the reply: its max_tokens, but at most a quarter of the window.

        A reply that goes on is measured as it was when it began, so that its prompt stays what it was.
        """
        given = len(prompt.given)
        return max(1, min(self.max_tokens + given, self.window // 4) - given)

    def _too_long(self, what: str, prompt: Prompt) -> PromptTooLong:
        about = "about " if prompt.about else ""
        message = f"{what} has {about}{len(prompt):,} tokens, the context window {self.window:,}"
        return PromptTooLong(message, tokens=len(prompt), window=self.window)

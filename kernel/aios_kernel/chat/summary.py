"""What is said in the place of turns that a prompt leaves out: a summary that the model itself writes."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from aios_kernel.chat.request import Ask
from aios_kernel.errors import KernelError
from aios_kernel.scheduler.request import GenResult

MAX_PIECES: Final = 4  # generations that one summary may take

_SYSTEM: Final = (
    "You summarise conversations. Keep names, numbers, decisions and open questions. "
    "Answer with the summary alone, in at most three sentences."
)
_REQUEST: Final = "{text}\n\nSummarise this conversation in at most three sentences."


Generate = Callable[[Ask], Awaitable[GenResult]]


class NoSummary(Exception):
    """There is none; the message tells why."""


def max_tokens(window: int) -> int:
    """Of a summary."""
    return min(256, window // 8)


def pieces(messages: Sequence[dict[str, Any]], window: int, size: Callable[[Ask], int]) -> list[str]:
    """The conversation as text, in pieces that each leave room for the summary so far and for the one to come.

    size: tokens of a prompt. Raises NoSummary when there are more than MAX_PIECES.
    """
    cut = [transcript(messages)]
    while (large := _first(cut, lambda text: size(asking(text)) + 2 * max_tokens(window) >= window)) is not None:
        if len(cut) == MAX_PIECES:
            raise NoSummary("too long for a summary")
        cut[large : large + 1] = _halves(cut[large])
    return cut


async def summarise(pieces: Sequence[str], former: str, generate: Generate) -> GenResult:
    """A summary of `pieces`, one after the other, and of what `former` sums up. Raises NoSummary."""
    summary = former
    for piece in pieces:
        text = f"Summary of what was said before: {summary}\n\n{piece}" if summary else piece
        try:
            result = await generate(asking(text))
        except KernelError as error:
            raise NoSummary(f"no summary: {error.message}") from error
        summary = result.text.strip()
        if result.finish_reason != "stop" or not summary:
            raise NoSummary(f"no summary: it ended with {result.finish_reason} after {len(result.tokens)} tokens")
    return result


def asking(text: str) -> Ask:
    """The request for a summary of `text`."""
    spoken = {"system": _SYSTEM, "user": _REQUEST.format(text=text)}
    messages = [{"role": role, "content": content, "tool_calls": []} for role, content in spoken.items()]
    return Ask(messages, given="", tools=(), must_call=False, json_schema=None)


def transcript(messages: Sequence[dict[str, Any]]) -> str:
    """Who said what, which tool was called and what it answered."""
    lines = []
    for message in messages:
        who = message["role"]
        if message["content"]:
            lines.append(f"{who}: {message['content']}")
        for call in message["tool_calls"]:
            lines.append(f"{who} calls {call['name']}: {json.dumps(call['arguments'], ensure_ascii=False)}")
    return "\n".join(lines)


def _first(texts: Sequence[str], is_large: Callable[[str], bool]) -> int | None:
    return next((index for index, text in enumerate(texts) if is_large(text)), None)


def _halves(text: str) -> list[str]:
    """At the end of a line, else between words, where there is one in the second quarter."""
    middle = len(text) // 2
    at = text.rfind("\n", middle // 2, middle) + 1 or text.rfind(" ", middle // 2, middle) + 1 or middle
    return [text[:at], text[at:]]

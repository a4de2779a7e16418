"""A call of the model: what it takes, and its reply while it is produced."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypedDict

import msgspec

from aios_kernel.protocol import ChatReply

Message = dict[str, Any]  # {"role", "content", ...}, see protocol.ChatRequest
Messages = str | Sequence[Message]  # text alone is one user message


class ChatOptions(TypedDict, total=False):
    """Keyword arguments of every call of the model; see protocol.ChatRequest for ranges and defaults."""

    tool_choice: str
    json_schema: dict[str, Any]
    max_tokens: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    seed: int
    stop: list[str]
    logits_hash: bool
    continue_final_message: bool
    overflow: str


class Generation:
    """A reply while it is produced: iterate it for pieces of text; then `reply` is all of it.

    Leaving the loop early, or cancelling it, cancels the generation in the kernel.
    """

    def __init__(self, events: AsyncIterator[tuple[str, Any]]) -> None:
        self._events = events
        self._reply: ChatReply | None = None

    async def __aiter__(self) -> AsyncIterator[str]:
        async for kind, data in self._events:
            if kind == "delta":
                yield data["text"]
            else:
                self._reply = msgspec.convert(data, ChatReply)

    @property
    def reply(self) -> ChatReply:
        """The finished reply. Raises RuntimeError before the iteration has ended."""
        if self._reply is None:
            raise RuntimeError("the reply is there only after the last piece")
        return self._reply


def system(text: str) -> Message:
    return {"role": "system", "content": text}


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def as_messages(messages: Messages) -> list[Message]:
    """Text alone is one user message."""
    return [user(messages)] if isinstance(messages, str) else list(messages)


def sentence_end(text: str) -> int:
    """Where the last whole sentence of `text` ends; 0: there is none."""
    ends = [match.end() for match in re.finditer(r"[.!?][\"'”’)]*(?=\s|$)", text)]
    return ends[-1] if ends else 0

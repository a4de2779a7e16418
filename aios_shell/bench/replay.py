"""The client: plays a trace against any server of OpenAI chat completions, and times what comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import aiohttp

from aios_kernel.errors import KernelError
from aios_shell.bench.trace import Conversation, Trace, Turn

LINE_BYTES: Final = 1 << 20  # of an event stream; the longest are usage and timings, some hundred bytes


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server. `url` ends before /chat/completions."""

    name: str
    url: str
    model: str
    slots: int | None = None  # sequences it serves at once; None: it does not say
    key: str | None = None

    @property
    def label(self) -> str:
        return f"{self.name}, {self.slots} slots" if self.slots else self.name


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of one turn. Times in seconds since the trace began."""

    group: str
    conversation: int
    turn: int
    sent_s: float
    ended_s: float
    first_s: float | None = None  # the first text; None: none came
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    error: str = ""

    @property
    def first_after_s(self) -> float | None:
        """Time to first token."""
        return None if self.first_s is None else self.first_s - self.sent_s


class RequestFailed(KernelError):
    """A server answered with an error, with what is not the protocol, or not to the end. Exit code 1."""


def play(trace: Trace, server: Endpoint, on_reply: Callable[[Reply], None] = lambda _: None) -> list[Reply]:
    """Play the whole trace; a turn that fails is a Reply with its error, and ends its conversation."""
    return asyncio.run(_play(trace, server, on_reply))


async def _play(trace: Trace, server: Endpoint, on_reply: Callable[[Reply], None]) -> list[Reply]:
    headers = {"Authorization": f"Bearer {server.key}"} if server.key else {}
    limits = aiohttp.ClientTimeout(total=trace.deadline_s)
    # A connection each: servers differ in how long they keep one, and a request on one just closed would fail.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(
        connector=connector, headers=headers, timeout=limits, read_bufsize=LINE_BYTES
    ) as http:
        began = asyncio.get_running_loop().time()
        player = _Player(http, server, began, trace.deadline_s, on_reply)
        async with asyncio.TaskGroup() as group:
            for number, conversation in enumerate(trace.conversations):
                group.create_task(player.converse(number, conversation))
    return sorted(player.replies, key=lambda reply: reply.ended_s)


class _Player:
    """One playing of a trace."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        server: Endpoint,
        began: float,
        deadline_s: float,
        on_reply: Callable[[Reply], None],
    ) -> None:
        self._http, self._server, self._began, self._deadline_s = http, server, began, deadline_s
        self._on_reply = on_reply
        self.replies: list[Reply] = []

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._began

    async def converse(self, number: int, conversation: Conversation) -> None:
        messages = [{"role": "system", "content": conversation.system}] if conversation.system else []
        await asyncio.sleep(conversation.arrives_s)
        for index, turn in enumerate(conversation.turns):
            messages.append({"role": "user", "content": turn.text})
            asked = Reply(conversation.group, number, index, sent_s=self._now, ended_s=0.0)
            reply, text = await self._ask(asked, turn, messages)
            self.replies.append(reply)
            self._on_reply(reply)
            if reply.error:
                return
            messages.append({"role": "assistant", "content": text})
            await asyncio.sleep(conversation.think_s)

    async def _ask(self, asked: Reply, turn: Turn, messages: Sequence[dict[str, str]]) -> tuple[Reply, str]:
        body = {
            "model": self._server.model,
            "messages": messages,
            "max_tokens": turn.max_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        texts: list[str] = []
        usage: dict[str, Any] = {}
        first, error = None, ""
        left_s = max(0.0, self._deadline_s - self._now)
        limited = turn.limit_s is not None and turn.limit_s < left_s
        try:
            async with asyncio.timeout(turn.limit_s if limited else left_s):
                async for chunk in self._chunks(body):
                    usage = chunk.get("usage") or usage
                    text = _text(chunk)
                    if text:
                        first = self._now if first is None else first
                        texts.append(text)
        except TimeoutError:
            error = "" if limited else f"not answered within the trace's {self._deadline_s:g} s"
        except (aiohttp.ClientError, RequestFailed) as failure:
            error = str(failure) or type(failure).__name__
        reply = replace(asked, ended_s=self._now, first_s=first, error=error)
        details = usage.get("prompt_tokens_details") or {}
        counted = replace(
            reply,
            tokens_in=usage.get("prompt_tokens", 0),
            tokens_cached=details.get("cached_tokens") or 0,
            tokens_out=usage.get("completion_tokens", len(texts)),  # who is cut off, or counts none, sends one a piece
        )
        return counted, "".join(texts)

    async def _chunks(self, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """The JSON of each event. Raises RequestFailed, aiohttp.ClientError."""
        async with self._http.post(f"{self._server.url}/chat/completions", json=body) as answer:
            if answer.status != 200:
                raise RequestFailed(f"HTTP {answer.status}: {(await answer.text())[:200]}")
            async for line in answer.content:
                if not line.startswith(b"data:"):
                    continue
                data = line[5:].strip()
                if data == b"[DONE]":
                    return
                yield _decoded(data)
        raise RequestFailed("the stream ended before [DONE]")


def _decoded(data: bytes) -> dict[str, Any]:
    """One event's JSON. Raises RequestFailed when it is none, or an error."""
    try:
        chunk = json.loads(data)
    except ValueError as error:
        raise RequestFailed(f"not JSON: {data[:80]!r}") from error
    if not isinstance(chunk, dict) or "error" in chunk:
        raise RequestFailed(f"the stream said {data[:200].decode(errors='replace')}")
    return chunk


def _text(chunk: dict[str, Any]) -> str:
    choices = chunk.get("choices") or [{}]
    return (choices[0].get("delta") or {}).get("content") or ""

"""Interaction logs: what each process asked and was answered, for as long as it lives."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from aios_kernel.clock import Clock
from aios_kernel.errors import KernelError, row_of
from aios_kernel.memory.cache import Pages
from aios_kernel.protocol import ChatReply, ChatRequest, Interaction, Pid

log = logging.getLogger(__name__)

MAX_LAST: Final = 1_000  # of one answer,
MAX_BYTES: Final = 8 << 20  # and of all of it
LARGE: Final = 65_536  # characters of messages beyond which a thread reads them


@dataclass(slots=True, eq=False)
class _Log:
    """Interactions `first` to `first + len(sizes) - 1` of one process."""

    first: int = 0
    sizes: deque[int] = field(default_factory=deque)
    total: int = 0
    said: list[bytes] = field(default_factory=list)  # hashes of the messages of its last chat


class InteractionLog:
    """The logs of all processes that live. Event loop only.

    Args:
        budget: bytes of all logs, in memory or not; beyond, the longest one loses its beginning.
        most: interactions in all logs; the same.
    """

    def __init__(self, pages: Pages, budget: int, most: int, clock: Clock) -> None:
        self._pages = pages
        self._budget, self._most = budget, most
        self._clock = clock
        self._logs: dict[Pid, _Log] = {}
        self._total = self.num_interactions = 0

    def __len__(self) -> int:
        return len(self._logs)

    async def chat(self, pid: Pid, request: ChatRequest, answer: ChatReply | KernelError) -> None:
        """Note an llm.chat: of its messages those that the process's last one did not have."""
        large = sum(len(str(message.get("content"))) for message in request.messages) > LARGE
        hashes = await asyncio.to_thread(_hashes, request.messages) if large else _hashes(request.messages)
        mine = self._logs.setdefault(pid, _Log())
        known = _num_common(mine.said, hashes)
        fresh = request.messages[known:]
        if known and fresh[0].get("role") == "assistant":  # the former answer, which is in the log
            fresh = fresh[1:]
        mine.said = hashes
        answered = {"text": answer.text, "tool_calls": answer.tool_calls} if isinstance(answer, ChatReply) else None
        await self._add(pid, "chat", fresh, answered, answer)

    async def tool(self, pid: Pid, name: str, arguments: dict[str, Any], answer: Any) -> None:
        """Note a tool.call; answer: what it returned, or the KernelError it raised."""
        answered = None if isinstance(answer, KernelError) else answer
        await self._add(pid, "tool", {"name": name, "arguments": arguments}, answered, answer)

    async def last(self, pid: int, count: int) -> list[Interaction]:
        """The newest interactions, oldest first; none for a process without any. Fewer where they are long."""
        mine = self._logs.get(Pid(pid))
        if mine is None:
            return []
        rows: list[Interaction] = []
        left, end = MAX_BYTES, mine.first + len(mine.sizes)
        for seq in reversed(range(max(mine.first, end - min(count, MAX_LAST)), end)):
            page = await self._pages.get((pid, seq))
            left -= len(page or b"")
            if left < 0 and rows:
                break
            if page is not None:
                rows.append(msgspec.json.decode(page, type=Interaction))
        return rows[::-1]

    def end(self, pid: Pid) -> None:
        """The process has ended: its log dies with it."""
        mine = self._logs.pop(pid, None)
        if mine is not None:
            self._total -= mine.total
            self.num_interactions -= len(mine.sizes)
            self._pages.drop((pid, mine.first + index) for index in range(len(mine.sizes)))

    async def _add(self, pid: Pid, kind: str, asked: Any, answered: Any, outcome: Any) -> None:
        mine = self._logs.setdefault(pid, _Log())
        seq = mine.first + len(mine.sizes)
        error = f"{row_of(outcome).errno}: {outcome.message}" if isinstance(outcome, KernelError) else ""
        row = Interaction(seq, self._clock.now(), kind, asked, answered, error)
        data = msgspec.json.encode(row, enc_hook=str)
        mine.sizes.append(len(data))
        mine.total += mine.sizes[-1]
        self._total += mine.sizes[-1]
        self.num_interactions += 1
        self._trim()
        if seq >= mine.first:  # unless it alone is more than all may be
            await self._pages.put((pid, seq), data)

    def _trim(self) -> None:
        """Keep all logs together within the budget."""
        while self._total > self._budget or self.num_interactions > self._most:
            pid, longest = max(self._logs.items(), key=lambda item: item[1].total)
            size = longest.sizes.popleft()
            longest.total -= size
            self._total -= size
            self.num_interactions -= 1
            self._pages.drop([(pid, longest.first)])
            longest.first += 1


def _hashes(messages: Sequence[dict[str, Any]]) -> list[bytes]:
    texts = (msgspec.json.encode(message, enc_hook=str) for message in messages)
    return [hashlib.blake2b(text, digest_size=16).digest() for text in texts]


def _num_common(a: Iterable[bytes], b: list[bytes]) -> int:
    """How many both begin with, but not all of b: of a chat there is always something new."""
    count = 0
    for x, y in zip(a, b[:-1], strict=False):
        if x != y:
            break
        count += 1
    return count

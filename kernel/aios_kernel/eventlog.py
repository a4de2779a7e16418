"""A process's events: appended durably, replayed from the journal and followed live without gap or duplicate."""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final

from aios_kernel.clock import Clock
from aios_kernel.errors import InvalidState
from aios_kernel.journal import EventRow, Journal
from aios_kernel.protocol import Event, EventKind, Pid

TAIL_LENGTH: Final = 128  # newest events kept in memory, so that followers seldom read the journal
PAGE: Final = 500  # events of one journal read

BULK_BYTES: Final = 4_096  # an agent that writes as much at once is not typing to a person: do not hold it up
MAX_OUTPUT_BYTES: Final = 8 << 20  # of one process's output in one reply

_EXTENT: Final = """
SELECT coalesce(sum(octet_length(data)), 0)::BIGINT AS size, coalesce(min(seq), 0) AS first,
    coalesce(max(seq), -1) AS last
FROM events WHERE pid = ? AND kind = 'stdout'
"""
_PART: Final = "SELECT data FROM events WHERE pid = ? AND kind = 'stdout' AND seq >= ? AND seq < ? ORDER BY seq"

_BINARY: Final = frozenset({EventKind.STDOUT, EventKind.STDERR})


class EventLog:
    """The events of one living process.

    An event is shown to followers only once it is durable, and events become durable in their order: so what a
    follower has seen is always a prefix, and the next one is found by number, in the tail or in the journal.
    """

    def __init__(self, pid: Pid, journal: Journal, clock: Clock) -> None:
        self._pid = pid
        self._journal = journal
        self._clock = clock
        self._next_seq = 0
        self._tail: deque[Event] = deque(maxlen=TAIL_LENGTH)
        self._changed = asyncio.Event()
        self.ended = False
        self._lost: BaseException | None = None  # why the newest event that could not be written was not

    async def append(self, kind: EventKind, data: bytes) -> None:
        """Add an event; returns when it is durable. Raises InternalError when the journal cannot be written."""
        # shield: whoever stops waiting must not make a gap in what followers see
        await asyncio.shield(self.append_nowait(kind, data))

    def append_nowait(self, kind: EventKind, data: bytes) -> asyncio.Future[None]:
        """Add an event without waiting; the order of these calls is the order of events."""
        row = EventRow(self._pid, self._next_seq, kind.value, data, self._clock.now())
        self._next_seq += 1
        durable = self._journal.append(row, urgent=kind is EventKind.EXIT or len(data) >= BULK_BYTES)
        durable.add_done_callback(lambda future: self._publish(row, future))
        return durable

    def _publish(self, row: EventRow, durable: asyncio.Future[None]) -> None:
        self._lost = None if durable.cancelled() else durable.exception()
        if not durable.cancelled() and self._lost is None:
            self._tail.append(event_of_row(row.pid, row.seq, row.created_at, row.kind, row.data))
        self.ended = self.ended or row.kind == EventKind.EXIT  # even when unwritable: followers must end
        self._changed.set()
        self._changed = asyncio.Event()

    async def follow(self, after: int) -> AsyncIterator[list[Event]]:
        """Pages of events with seq > `after`, until the EXIT event. Raises why that could not be written."""
        while True:
            changed, ended = self._changed, self.ended
            if self._tail and self._tail[-1].seq > after:
                if self._tail[0].seq <= after + 1:
                    page = [event for event in self._tail if event.seq > after]
                else:
                    page = await read_page(self._journal, self._pid, after)
                if page:
                    after = page[-1].seq
                    yield page
                    continue
            if ended and self._lost is not None:
                raise self._lost
            if ended:
                return
            await changed.wait()


async def replay(journal: Journal, pid: int, after: int) -> AsyncIterator[list[Event]]:
    """Pages of a process's durable events with seq > `after`."""
    while page := await read_page(journal, pid, after):
        after = page[-1].seq
        yield page


async def read_page(journal: Journal, pid: int, after: int) -> list[Event]:
    """Raises InvalidState for a process whose events went to keep the journal below its bound."""
    rows: list[dict[str, Any]] = await journal.read(
        "SELECT seq, created_at, kind, data FROM events WHERE pid = ? AND seq > ? ORDER BY seq LIMIT ?",
        pid,
        after,
        PAGE,
    )
    if not rows and await _is_trimmed(journal, pid):
        raise InvalidState(f"the events of process {pid} are no longer kept: the journal grew too long", pid=pid)
    return [event_of_row(pid, row["seq"], row["created_at"], row["kind"], row["data"]) for row in rows]


def event_of_row(pid: int, seq: int, at: float, kind: str, data: bytes) -> Event:
    known = EventKind(kind)
    text = base64.b64encode(data).decode("ascii") if known in _BINARY else data.decode(errors="replace")
    return Event(pid, seq, at, known, text)


async def _is_trimmed(journal: Journal, pid: int) -> bool:
    return bool(await journal.read("SELECT 1 FROM trims WHERE pid = ?", pid))


async def output_of(journal: Journal, pid: int) -> str:
    """What a process wrote to standard output, as text; of more than MAX_OUTPUT_BYTES the beginning."""
    (extent,) = await journal.read(_EXTENT, pid)
    if not extent["size"] and await _is_trimmed(journal, pid):
        return "[its output is no longer kept]\n"
    data, seq, length = b"", extent["first"], PAGE
    while seq <= extent["last"] and len(data) < MAX_OUTPUT_BYTES:
        page = b"".join(row["data"] for row in await journal.read(_PART, pid, seq, seq + length))
        data, seq = data + page, seq + length
        length = length * 2 if len(page) < BULK_BYTES * PAGE else PAGE  # most have a word each
    kept = data[:MAX_OUTPUT_BYTES]
    text, left = kept.decode(errors="replace"), extent["size"] - len(kept)
    return text if not left else f"{text}\n[{left} bytes are left out]\n"

"""Byte strings under a budget of memory: beyond it the least recently used by LRU-K go to storage, compressed.

LRU-K (O'Neil, O'Neil and Weikum, SIGMOD 1993) with K = 2 evicts what was used longest ago but one: something read once
by a long scan goes before something that is read again and again.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import sqlite3
import zlib
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Final

import xxhash

from aios_kernel.errors import InternalError, KernelError
from aios_kernel.sqlite import Database

log = logging.getLogger(__name__)

SCHEMA: Final = "CREATE TABLE IF NOT EXISTS pages (number INTEGER PRIMARY KEY, data BLOB NOT NULL)"
NEVER: Final = -1
LOW_WATER: Final = 7 / 8  # of the budget: how far one eviction goes, so that the next is a while off
LEVEL: Final = 1  # of zlib: JSON text to about a third, at 60 MB/s
OVERHEAD: Final = 400  # bytes of memory that a page takes beside its data, also while that is in storage


@dataclass(slots=True, eq=False)
class _Page:
    """One byte string. It never changes, so a copy in storage stays good when it comes back."""

    number: int  # in storage
    size: int
    check: int
    data: bytes | None  # None: it is in storage alone
    last: int  # when it was used last,
    before: int  # and the time before that; NEVER
    stored: int = 0  # bytes of the copy in storage; 0: there is none


class Pages:
    """The byte strings of all processes. Event loop only.

    Attributes:
        ram_bytes: in memory, with OVERHEAD for each, here or in storage: so many must not be put that this is too much.
        out_bytes: of those in storage alone, uncompressed; disk_bytes: of all copies in storage.
        evictions, faults: how many went, and came back.
    """

    def __init__(self, swap: Database, budget: int) -> None:
        """swap: has a table of SCHEMA."""
        self._swap = swap
        self._budget = budget
        self._pages: dict[Hashable, _Page] = {}
        self._numbers = itertools.count(1)
        self._uses = itertools.count()
        self._evicting = asyncio.Lock()
        self.ram_bytes = self.out_bytes = self.disk_bytes = self.evictions = self.faults = 0

    def __len__(self) -> int:
        return len(self._pages)

    async def put(self, key: Hashable, data: bytes) -> None:
        """Keep `data` under a new key. Waits while others have to go for it."""
        assert key not in self._pages
        page = _Page(next(self._numbers), len(data), xxhash.xxh3_64_intdigest(data), data, next(self._uses), NEVER)
        self._pages[key] = page
        self.ram_bytes += len(data) + OVERHEAD
        await self._make_room()

    async def get(self, key: Hashable) -> bytes | None:
        """The data; None where it was dropped, or lost on a disk that was full. Raises InternalError."""
        page = self._pages.get(key)
        if page is None:
            return None
        page.last, page.before = next(self._uses), page.last
        if page.data is not None:
            return page.data
        data = await self._swap.read(lambda db: _load(db, page))
        if data is not None and page.data is None and self._pages.get(key) is page:
            page.data = data
            self.faults += 1
            self.out_bytes -= page.size
            self.ram_bytes += page.size
            await self._make_room()
        return data

    def drop(self, keys: Iterable[Hashable]) -> None:
        """Forget them, here and, some time later, in storage."""
        dropped = [page for key in keys if (page := self._pages.pop(key, None)) is not None]
        for page in dropped:
            self.ram_bytes -= OVERHEAD + (page.size if page.data is not None else 0)
            self.out_bytes -= page.size if page.data is None else 0
            self.disk_bytes -= page.stored
        self._remove([page for page in dropped if page.stored])

    async def _make_room(self) -> None:
        if self.ram_bytes <= self._budget:
            return
        async with self._evicting:
            if self.ram_bytes > self._budget:
                await self._evict(self._victims())

    def _victims(self) -> list[Hashable]:
        """Those to go, so many that LOW_WATER is reached: the longest unused by its use before the last one."""
        excess = self.ram_bytes - int(self._budget * LOW_WATER)
        resident = [(page.before, page.last, key) for key, page in self._pages.items() if page.data is not None]
        victims: list[Hashable] = []
        for _, _, key in sorted(resident, key=lambda row: row[:2]):
            if excess <= 0:
                break
            victims.append(key)
            excess -= self._pages[key].size
        return victims

    async def _evict(self, keys: list[Hashable]) -> None:
        """Write copies of those that have none, then let go. Meanwhile they can be read and dropped."""
        fresh = {key: page for key in keys if not (page := self._pages[key]).stored}
        try:
            sizes = await self._swap.write(lambda db: _store(db, fresh.values())) if fresh else []
        except KernelError as error:  # the budget holds all the same: they are lost
            log.error("%d interactions are lost: %s", len(fresh), error)
            self.drop(fresh)
            return
        for page, size in zip(fresh.values(), sizes, strict=True):
            page.stored = size
            self.disk_bytes += size
        dropped = [page for key, page in fresh.items() if key not in self._pages]
        self.disk_bytes -= sum(page.stored for page in dropped)
        self._remove(dropped)
        for key in keys:
            held = self._pages.get(key)
            if held is not None and held.data is not None:
                held.data = None
                self.ram_bytes -= held.size
                self.out_bytes += held.size
                self.evictions += 1

    def _remove(self, pages: list[_Page]) -> None:
        """Remove their copies; nobody waits for that."""
        if pages:
            numbers = [(page.number,) for page in pages]
            self._swap.post(lambda db: db.executemany("DELETE FROM pages WHERE number = ?", numbers).rowcount)

    def check_invariants(self) -> None:
        """Re-count. Raises AssertionError."""
        pages = self._pages.values()
        resident = sum(page.size for page in pages if page.data is not None)
        assert self.ram_bytes == resident + OVERHEAD * len(pages)
        assert self.out_bytes == sum(page.size for page in pages if page.data is None)
        assert self.disk_bytes == sum(page.stored for page in pages)
        assert all(page.stored for page in pages if page.data is None)


def _store(db: sqlite3.Connection, pages: Iterable[_Page]) -> list[int]:
    """Write them, in the writer's thread. Returns the bytes that each takes."""
    rows = [(page.number, zlib.compress(page.data or b"", LEVEL)) for page in pages]
    db.executemany("INSERT INTO pages VALUES (?, ?)", rows)
    return [len(packed) for _, packed in rows]


def _load(db: sqlite3.Connection, page: _Page) -> bytes | None:
    """In a reader's thread. Raises InternalError when it is not what was stored."""
    row = db.execute("SELECT data FROM pages WHERE number = ?", (page.number,)).fetchone()
    if row is None:  # dropped meanwhile
        return None
    try:
        data = zlib.decompress(row["data"])
    except zlib.error as error:
        raise InternalError(f"an interaction came back damaged: {error}") from error
    if xxhash.xxh3_64_intdigest(data) != page.check:
        raise InternalError("an interaction came back altered")
    return data

"""The vectors of those owners that searched last, in memory; they are a copy of what SQLite has."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aios_kernel.sqlite import Database

Matrix = NDArray[np.float32]

MIN_ROOM: Final = 64  # rows


class _Vectors:
    """One owner's: `ids[n]` is the note of row n. Rows are only ever added, so what is being read does not change."""

    def __init__(self, ids: NDArray[np.int64], rows: Matrix) -> None:
        self.count = len(ids)
        self._ids, self._rows = ids, rows

    @property
    def num_bytes(self) -> int:
        return self._rows.nbytes + self._ids.nbytes

    def add(self, id: int, row: Matrix) -> None:
        if id in self._ids[: self.count]:  # read from SQLite meanwhile
            return
        if not self.count:
            self._rows = self._rows.reshape(len(self._ids), row.size)
        if self.count == len(self._ids):
            room = max(MIN_ROOM, self.count // 4)
            self._ids = np.concatenate([self._ids, np.zeros(room, np.int64)])
            self._rows = np.concatenate([self._rows, np.zeros((room, row.size), np.float32)])
        self._ids[self.count], self._rows[self.count] = id, row
        self.count += 1

    def nearest(self, vector: Matrix, most: int) -> list[int]:
        """Ids of at most so many, by cosine, the nearest first. Any thread."""
        count = self.count
        ids, rows = self._ids[:count], self._rows[:count]
        if not len(ids) or rows.shape[1] != vector.size:
            return []
        # Not `rows @ vector`: BLAS would wake a team of threads that spin beside the engine's.
        cosines = np.einsum("ij,j->i", rows, vector)
        best = np.argpartition(-cosines, min(most, len(ids) - 1))[:most]
        return [int(id) for id in ids[best[np.argsort(-cosines[best], kind="stable")]]]


class Vectors:
    """Finds the nearest of an owner's notes. Event loop only.

    Attributes:
        ram_bytes: what is in memory now.
    """

    def __init__(self, db: Database, budget: int) -> None:
        """db: has the tables of notes. budget: bytes; beyond, the owner that has searched longest ago is let go."""
        self._db = db
        self._budget = budget
        self._held: OrderedDict[tuple[str, str], _Vectors] = OrderedDict()  # of owner and model; the last: used last
        self._changes = 0

    @property
    def ram_bytes(self) -> int:
        return sum(held.num_bytes for held in self._held.values())

    async def nearest(self, owner: str, model: str, vector: Matrix, most: int) -> list[int]:
        """Ids of the owner's notes that have a vector of `model`, the nearest first."""
        vectors = await self._vectors(owner, model)
        return await asyncio.to_thread(vectors.nearest, vector, most)

    def add(self, owner: str, model: str, id: str, data: bytes) -> None:
        """A note that had none has one now. Call it once it is in SQLite, and `forget` for any other change."""
        self._changes += 1
        held = self._held.get((owner, model))
        if held is not None:
            held.add(int(id), np.frombuffer(data, np.float32))
            self._make_room()

    def forget(self, owner: str) -> None:
        """One of the owner's vectors has changed or gone."""
        self._changes += 1
        for key in [key for key in self._held if key[0] == owner]:
            del self._held[key]

    async def _vectors(self, owner: str, model: str) -> _Vectors:
        key = owner, model
        while key not in self._held:
            changes = self._changes
            loaded = await self._load(owner, model)
            if changes == self._changes or loaded.num_bytes > self._budget:
                self._held[key] = loaded
                self._make_room()
                return loaded
        self._held.move_to_end(key)
        return self._held[key]

    async def _load(self, owner: str, model: str) -> _Vectors:
        select = """SELECT v.id, v.vector FROM vectors v JOIN owners o ON o.number = v.owner
            WHERE o.name = ? AND v.model = ? ORDER BY v.id"""

        def make(rows: list[tuple[int, bytes]]) -> _Vectors:
            ids = np.array([row[0] for row in rows], np.int64)
            data = np.frombuffer(b"".join(row[1] for row in rows), np.float32)
            return _Vectors(ids, data.reshape(len(rows), -1) if rows else np.zeros((0, 0), np.float32))

        return await self._db.read(lambda db: make(db.execute(select, (owner, model)).fetchall()))

    def _make_room(self) -> None:
        while self._held and self.ram_bytes > self._budget:
            self._held.popitem(last=False)

"""The memory manager: notes of agents, found by words and by meaning, and what each process said and heard."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from aios_kernel.clock import Clock
from aios_kernel.embedding import Embedding
from aios_kernel.errors import (
    BadRequest,
    InternalError,
    LimitHit,
    ModelBroken,
    ModelFailed,
    NoSuchModel,
    NoSuchNote,
)
from aios_kernel.life import Life
from aios_kernel.memory import cache, notes
from aios_kernel.memory.cache import OVERHEAD, Pages
from aios_kernel.memory.config import MemoryConfig
from aios_kernel.memory.enrich import Enricher, analyse, evolve
from aios_kernel.memory.log import InteractionLog
from aios_kernel.memory.notes import Notes, Vector
from aios_kernel.memory.text import MAX_WORDS, Text, checked, text_of
from aios_kernel.memory.vectors import Vectors
from aios_kernel.protocol import MemoryStatus, Note, NoteDetail, NoteHit
from aios_kernel.sqlite import Database

NUM_LINKS: Final = 3  # notes that a new one is linked to: as many as a small model can look at together
MAX_QUERY: Final = 4_096  # characters
MAX_HITS: Final = 100
MAX_LISTED: Final = 1_000
POOL: Final = 50  # of each way of finding, before they are merged
RANK: Final = 60  # reciprocal rank fusion's constant (Cormack, Clarke and Buettcher, SIGIR 2009)
BATCH: Final = 16  # notes that are indexed at a time

_NO_VECTORS: Final = (NoSuchModel, ModelBroken, ModelFailed, InternalError)  # notes are kept and found without


class MemoryManager:
    """Event loop only.

    Attributes:
        notes: all of them; what is changed in them is changed here.
        log: of the interactions of processes.
    """

    def __init__(
        self, file: Path, swap: Path, config: MemoryConfig, embedding: Embedding, enricher: Enricher, clock: Clock
    ) -> None:
        """file: of the notes. swap: of what does not fit in memory. Raises InternalError."""
        self._db = Database.open(file, notes.SCHEMA)
        self._swap = Database.open(swap, cache.SCHEMA, durable=False)
        self._config = config
        self._embedding = embedding
        self._enricher = enricher
        for_vectors = config.ram_bytes // 2 if embedding.model else 0
        self._pages_budget = config.ram_bytes - for_vectors
        self._pages = Pages(self._swap, self._pages_budget)
        self._vectors = Vectors(self._db, for_vectors)
        self.notes: Final = Notes(self._db, config.agent_bytes, clock)
        # Half of the budget is always there for what the pages hold.
        self.log: Final = InteractionLog(self._pages, config.log_bytes, self._pages_budget // (2 * OVERHEAD), clock)

    def close(self) -> None:
        """Blocks; safe to call twice."""
        self._db.close()
        self._swap.close()

    # --- notes

    async def add(self, life: Life, text: Text, *, enrich: bool) -> Note:
        """Keep a note of the process's agent, linked to its nearest.

        Args:
            enrich: the model says what `text` does not, and looks at the tags of the nearest notes again.

        Raises:
            BadRequest, LimitHit; where enriched also what Llm.chat raises, nothing being kept then.
        """
        text, owner = checked(text), life.process.request.agent
        if not enrich:
            vector = await self._vector(text, life.process.pid)
            return await self._keep(owner, text, vector, await self._near(owner, text, vector), enriched=False)
        async with self._enricher.model(life) as ask:
            text = checked(await analyse(ask, text))
            vector = await self._vector(text, life.process.pid)
            near = await self.notes.several(owner, await self._near(owner, text, vector))
            tags = await evolve(ask, text, near)
        note = await self._keep(owner, text, vector, [int(other.id) for other in near], enriched=True)
        for other, more in zip(near, tags, strict=True):
            with contextlib.suppress(NoSuchNote, LimitHit):  # it has gone meanwhile, or may not grow
                await self.notes.update(owner, other.id, partial(_tagged, more), enriched=True)
        return await self.notes.get(owner, note.id)

    async def update(self, owner: str, id: str, changes: Mapping[str, Any], by: int) -> Note:
        """Change some of a note's texts: `changes` are fields of Text. Raises NoSuchNote, BadRequest, LimitHit."""

        def change(text: Text) -> Text:
            return checked(replace(text, **changes))

        before = text_of(await self.notes.get(owner, id))
        after = change(before)
        if (before.content, before.context) == (after.content, after.context):
            return await self.notes.update(owner, id, change)
        vector = await self._vector(after, by)
        near = [str(other) for other in await self._near(owner, after, vector, besides=int(id))]
        note = await self.notes.update(owner, id, change, links=near, vector=vector)
        self._vectors.forget(owner)
        return note

    async def remove(self, owner: str, id: str) -> None:
        """Raises NoSuchNote."""
        await self.notes.remove(owner, id)
        self._vectors.forget(owner)

    async def newest(self, owner: str | None, count: int, before: str | None = None, tag: str = "") -> list[Note]:
        """See Notes.newest. Raises BadRequest."""
        if not 0 < count <= MAX_LISTED:
            raise BadRequest(f"limit = {count}: must be 1 to {MAX_LISTED}", key="limit")
        return await self.notes.newest(owner, count, before, tag)

    async def detail(self, owner: str, id: str) -> NoteDetail:
        """Raises NoSuchNote."""
        return NoteDetail(await self.notes.get(owner, id), await self.notes.versions(owner, id))

    async def search(self, owner: str, query: str, count: int, by: int) -> list[NoteHit]:
        """The owner's notes that fit a query best, by words and, with an embedding model, by meaning.

        Args:
            by: who asks: a pid, or 0.

        Raises: BadRequest, LimitHit.
        """
        if not 0 < count <= MAX_HITS:
            raise BadRequest(f"k = {count}: must be 1 to {MAX_HITS}", key="k")
        if len(query) > MAX_QUERY:
            raise BadRequest(f"query: {len(query)} characters; at most {MAX_QUERY} are allowed", key="query")
        ranked = await self._ranked(owner, query, await self._vector(Text(query), by))
        found = sorted(ranked, key=lambda id: (-ranked[id][0], id))[:count]
        return [NoteHit(note, *ranked[int(note.id)]) for note in await self.notes.several(owner, found)]

    async def search_all(self, query: str, count: int) -> list[NoteHit]:
        """The same over the notes of all agents, for the person."""
        owners = [owner.name for owner in await self.notes.owners() if owner.notes]
        hits = [hit for owner in owners for hit in await self.search(owner, query, count, 0)]
        return sorted(hits, key=lambda hit: -hit.score)[:count]

    async def _ranked(self, owner: str, query: str, vector: Vector | None) -> dict[int, tuple[float, list[str]]]:
        """By id: score, and how it was found."""
        ways = {"words": await self.notes.by_words(owner, query, POOL)}
        if vector is not None:
            data = np.frombuffer(vector.data, np.float32)
            ways["meaning"] = await self._vectors.nearest(owner, vector.model, data, POOL)
        ranked: dict[int, tuple[float, list[str]]] = {}
        for way, ids in ways.items():
            for rank, id in enumerate(ids, 1):
                score, found_by = ranked.get(id, (0.0, []))
                ranked[id] = score + 1 / (RANK + rank), [*found_by, way]
        return ranked

    async def _near(self, owner: str, text: Text, vector: Vector | None, besides: int | None = None) -> list[int]:
        """Ids of the owner's notes that are nearest to a text."""
        query = " ".join(text.keywords) or " ".join(word for word in text.content[:MAX_QUERY].split() if len(word) > 3)
        ranked = await self._ranked(owner, query, vector)
        ranked.pop(besides or 0, None)
        return sorted(ranked, key=lambda id: (-ranked[id][0], id))[:NUM_LINKS]

    async def _keep(
        self, owner: str, text: Text, vector: Vector | None, near: Sequence[int], *, enriched: bool
    ) -> Note:
        links = [str(id) for id in near]
        note = await self.notes.add(owner, text, enriched=enriched, links=links, vector=vector)
        if vector is not None:
            self._vectors.add(owner, vector.model, note.id, vector.data)
        return note

    # --- vectors

    async def _vector(self, text: Text, by: int) -> Vector | None:
        """Where a text lies; None where no model says so. Raises LimitHit."""
        if not self._embedding.model:
            return None
        try:
            vectors = await self._embedding.embed([f"{text.content}\n{text.context}".rstrip()], by)
        except _NO_VECTORS:  # why is in its state, and in the kernel's log
            return None
        assert self._embedding.identity is not None
        return Vector(self._embedding.identity, np.array(vectors[0], np.float32).tobytes())

    async def index(self) -> int:
        """Give a vector to each note that has none of this model. Returns how many got one.

        Raises: NoSuchModel, ModelBroken, ModelFailed, KernelStopping.
        """
        await self._embedding.embed([""])  # its identity is known after this
        identity, done, failed = self._embedding.identity, 0, 0
        assert identity is not None
        while batch := await self.notes.without_vector(identity, BATCH, failed):
            texts = [f"{note.content}\n{note.context}".rstrip() for note in batch]
            for note, vector in zip(batch, await self._embedding.embed(texts), strict=True):
                try:
                    await self.notes.put_vector(note, Vector(identity, np.array(vector, np.float32).tobytes()))
                    done += 1
                except LimitHit:  # its owner's space is used up
                    failed += 1
                self._vectors.forget(note.owner)
        return done

    # --- facts

    async def status(self) -> MemoryStatus:
        owners = await self.notes.owners()
        pages = self._pages
        return MemoryStatus(
            notes=sum(owner.notes for owner in owners),
            notes_bytes=sum(owner.bytes for owner in owners),
            agents=sum(owner.notes > 0 for owner in owners),
            embedding=self._embedding.model,
            embedding_state=self._embedding.state,
            notes_indexed=await self.notes.num_vectors(self._embedding.identity) if self._embedding.model else 0,
            processes=len(self.log),
            interactions=self.log.num_interactions,
            ram_budget=self._config.ram_bytes,
            ram_bytes=pages.ram_bytes,
            vector_bytes=self._vectors.ram_bytes,
            out_bytes=pages.out_bytes,
            disk_bytes=pages.disk_bytes,
            evictions=pages.evictions,
            faults=pages.faults,
        )


def _tagged(more: Sequence[str], text: Text) -> Text:
    """With more tags; those that it has stay."""
    return replace(text, tags=list(dict.fromkeys([*text.tags, *more]))[:MAX_WORDS])

"""Searches: by words at once, by meaning too where there is an embedding model; both are merged by their ranks.

Embedding a text takes the model's time, so that is done in the background, one agent after the other.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from aios_kernel.clock import Clock
from aios_kernel.errors import BadRequest, KernelError
from aios_kernel.protocol import FileHit, SearchReply
from aios_kernel.storage.paths import Address
from aios_kernel.storage.refresh import MAX_READ
from aios_kernel.storage.store import Store
from aios_kernel.storage.stores import Stores
from aios_kernel.storage.texts import Passage, Unembedded

log = logging.getLogger(__name__)

Embed = Callable[[list[str]], Awaitable[list[list[float]]]]
Ranked = list[tuple[int, Passage]]  # texts by rank, each with the place to show

MAX_QUERY: Final = 1_000  # characters
MAX_HITS: Final = 100
REFRESH_S: Final = 5.0  # other programs' changes are looked for at most so often: that takes 0.1 s at 10,000 files
BATCH: Final = 8  # texts that are embedded at a time
RRF_K: Final = 60  # of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)
PROBE: Final = "The quick brown fox jumps over the lazy dog."  # tells one embedding model from another
SAME_MODEL: Final = 0.999  # cosine of the probe then and now


class Searching:
    """Searches in agents' files. Event loop only."""

    def __init__(self, stores: Stores, clock: Clock, embed: Embed | None) -> None:
        self._stores = stores
        self._clock = clock
        self._embed = embed
        self._refreshed: dict[str, float] = {}
        self._known: set[str] = set()  # owners whose vectors are this model's
        self._waiting: dict[str, None] = {}  # owners with texts to embed
        self._embedding: asyncio.Task[None] | None = None

    async def search(self, address: Address, query: str, limit: int) -> SearchReply:
        """What is found in a folder. Raises BadRequest, NoSuchFile."""
        if not query.strip() or len(query) > MAX_QUERY:
            raise BadRequest(f"query: give 1 to {MAX_QUERY} characters", key="query")
        if not 1 <= limit <= MAX_HITS:
            raise BadRequest(f"limit = {limit}: must be 1 to {MAX_HITS}", key="limit")
        await self.refresh(address.owner)
        vector = await self._embed_query(query)

        def work(store: Store) -> SearchReply:
            words = store.texts.by_words(query, limit, address.path)
            near = store.texts.by_meaning(vector, limit, address.path) if vector is not None else []
            hits = _merged(store, {"words": words, "meaning": near})[:limit]
            return SearchReply(hits, vector is not None, store.texts.num_unembedded() if vector is not None else 0)

        return await self._stores.run(address.owner, work)

    async def refresh(self, owner: str, *, now: bool = False) -> None:
        """Take in what other programs have changed, unless that was done a moment ago. Raises NoSuchFile."""
        before = self._refreshed.get(owner)
        if not now and before is not None and self._clock.monotonic() - before < REFRESH_S:
            return
        changed = await self._stores.run(owner, Store.refresh)
        if changed < MAX_READ:
            self._refreshed[owner] = self._clock.monotonic()
        if changed:
            self.changed(owner)

    def changed(self, owner: str) -> None:
        """An agent's texts have changed: see to their vectors."""
        if self._embed is None:
            return
        self._waiting[owner] = None
        if self._embedding is None or self._embedding.done():
            self._embedding = asyncio.create_task(self._embed_all(self._embed))

    async def settle(self) -> None:
        """Wait until nothing is left to embed."""
        if self._embedding is not None:
            await self._embedding

    async def close(self) -> None:
        self._embed = None
        if self._embedding is not None:
            self._embedding.cancel()
            await asyncio.gather(self._embedding, return_exceptions=True)

    async def _embed_query(self, query: str) -> list[float] | None:
        """None: there is no model now."""
        if self._embed is None:
            return None
        try:
            return (await self._embed([query]))[0]
        except KernelError as error:
            log.info("no search by meaning: %s", error)
            return None

    async def _embed_all(self, embed: Embed) -> None:
        while self._waiting:
            owner = next(iter(self._waiting))
            del self._waiting[owner]
            try:
                await self._embed_owner(embed, owner)
            except KernelError as error:  # the next change, or the next start, tries again
                log.info("texts of %s are not embedded: %s", owner, error)

    async def _embed_owner(self, embed: Embed, owner: str) -> None:
        if owner not in self._known:
            (probe,) = await embed([PROBE])
            await self._stores.run(owner, partial(_check_model, probe=probe))
            self._known.add(owner)
        while texts := await self._stores.run(owner, lambda store: store.texts.unembedded(BATCH)):
            vectors = await embed([passage.text for text in texts for passage in text.passages])
            await self._stores.run(owner, partial(_add_vectors, texts=texts, vectors=vectors))


def _check_model(store: Store, probe: Sequence[float]) -> None:
    """Forget the vectors of another model than the one that gave `probe`."""
    with store.transaction():
        before = store.texts.probe()
        if before is None or len(before) != len(probe) or _cosine(before, probe) < SAME_MODEL:
            store.texts.forget_vectors()
            store.texts.set_probe(probe)


def _add_vectors(store: Store, texts: Sequence[Unembedded], vectors: Sequence[Sequence[float]]) -> None:
    rest = iter(vectors)
    with store.transaction():
        for text in texts:
            store.texts.add_vectors(text, [next(rest) for _ in text.passages])


def _merged(store: Store, ranked: dict[str, Ranked]) -> list[FileHit]:
    """Hits of several rankings, best first: reciprocal rank fusion. The place shown is the first ranking's."""
    scores: dict[int, float] = {}
    places: dict[int, Passage] = {}
    by: dict[int, list[str]] = {}
    for name, rows in ranked.items():
        for rank, (text, place) in enumerate(rows, 1):
            scores[text] = scores.get(text, 0.0) + 1 / (RRF_K + rank)
            places.setdefault(text, place)
            by.setdefault(text, []).append(name)
    best = sorted(scores, key=lambda text: -scores[text])
    return [
        FileHit(
            store.owner, store.texts.path(text), places[text].line, places[text].text, tuple(by[text]), scores[text]
        )
        for text in best
    ]


def _cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b) or 1.0)

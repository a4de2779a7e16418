"""10,000 notes of one agent beside 2,000 of others: a search takes less than 50 ms, 95 times of 100.

What is judged is processor time, all threads together: the same on a machine that has much else to do.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aios_kernel.memory.config import MemoryConfig
from aios_kernel.memory.manager import MemoryManager
from aios_kernel.memory.notes import Vector
from aios_kernel.memory.text import Text
from aios_kernel.testing import FakeClock

pytestmark = pytest.mark.anyio

NOTES, QUERIES, DIMS, GOAL_MS = 10_000, 200, 576, 50.0
# Words as they are in English: the n-th most frequent one has 1/n of the first one's share (Zipf).
WORDS = [
    f"{a}{b}{c}"
    for a in ("ka", "mo", "ti", "re", "su", "lo", "be", "ny")
    for b in "abcdefghijklmnopqrst"
    for c in "xyzvwrtlnmk"
]
SHARES = [1 / rank for rank in range(1, len(WORDS) + 1)]


class Scattered:
    """Vectors without a model: it is the search that is measured."""

    model = identity = "scattered"

    async def embed(self, texts: Sequence[str], by: int = 0) -> list[list[float]]:
        rows = np.random.default_rng(len(texts[0])).standard_normal((len(texts), DIMS)).astype(np.float32)
        return [list(map(float, row / np.linalg.norm(row))) for row in rows]


async def fill(memory: MemoryManager, owner: str, count: int, chance: random.Random, vectors: bool) -> None:
    rows = np.random.default_rng(7).standard_normal((count, DIMS)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)

    async def add(row: Any) -> None:
        text = Text(" ".join(chance.choices(WORDS, SHARES, k=40)), tags=chance.choices(WORDS, k=3))
        vector = Vector("scattered", row.tobytes()) if vectors else None
        await memory.notes.add(owner, text, enriched=False, vector=vector)

    for start in range(0, count, 500):
        await asyncio.gather(*(add(row) for row in rows[start : start + 500]))


@pytest.mark.parametrize("vectors", [False, True], ids=["words", "words and meaning"])
async def test_a_search_among_10_000_notes(tmp_path: Path, vectors: bool, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(3)
    embedding: Any = Scattered()
    if not vectors:
        embedding.model = ""
    files = tmp_path / "memory.sqlite3", tmp_path / "swap.sqlite3"
    memory = MemoryManager(*files, MemoryConfig(), embedding, None, FakeClock())  # type: ignore[arg-type]
    try:
        await fill(memory, "a", NOTES, chance, vectors)
        await fill(memory, "b", 2_000, chance, vectors)
        took, cpu = [], []
        for _ in range(QUERIES):
            query = " ".join(chance.choices(WORDS, SHARES, k=chance.randrange(1, 12)))
            started, before = time.perf_counter(), time.process_time()
            hits = await memory.search("a", query, 10, 0)
            took.append((time.perf_counter() - started) * 1e3)
            cpu.append((time.process_time() - before) * 1e3)
            assert len(hits) == 10
        (p50, p95), (_, cpu_p95) = (np.percentile(times, (50, 95)) for times in (took, cpu))
        with capsys.disabled():
            ways = "words and meaning" if vectors else "words"
            print(f"\n{NOTES} notes, {ways}: p50 {p50:.1f} ms, p95 {p95:.1f} ms, of processor time {cpu_p95:.1f} ms")
        assert cpu_p95 < GOAL_MS
    finally:
        await asyncio.to_thread(memory.close)

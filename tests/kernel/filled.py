"""A store on a disk that is full: `python filled.py STORE FOLDER`, exit code 0 if all held.

FOLDER is a small file system of its own, with a file `ballast` in it. What the store took before the disk was full is
there; each further change is refused by one typed error; and once the ballast is gone it goes on, as it was.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np

from aios_kernel import saved
from aios_kernel.audit import AuditLog, Entry
from aios_kernel.chat import Conversation
from aios_kernel.client.chain import verify
from aios_kernel.clock import SystemClock
from aios_kernel.context.image import Image
from aios_kernel.embedding import Embedding
from aios_kernel.errors import KernelError, LimitHit
from aios_kernel.journal import EventRow, Journal
from aios_kernel.memory.config import MemoryConfig
from aios_kernel.memory.manager import MemoryManager
from aios_kernel.memory.text import Text
from aios_kernel.storage import StorageManager
from aios_kernel.storage.config import StorageConfig
from aios_kernel.storage.manager import allowed
from aios_kernel.storage.paths import Address

REFUSALS: Final = 5
NOTHING: Any = None
Put = Callable[[int], Awaitable[Any]]  # keeps the n-th thing


async def fill(put: Put, ballast: Path) -> list[int]:
    """Keep things until there is no room, and again when there is. Returns those that were kept."""
    kept: list[int] = []
    refused: list[str] = []
    numbers = itertools.count(1)
    while len(refused) < REFUSALS:
        number = next(numbers)
        try:
            await put(number)
        except LimitHit as error:
            refused.append(error.message)
        else:
            kept.append(number)
    assert all("disk is full" in message or "No space left" in message for message in refused), refused
    await asyncio.to_thread(ballast.unlink)
    for number in itertools.islice(numbers, 3):
        await put(number)
        kept.append(number)
    return kept


async def files(folder: Path) -> None:
    def at(number: int) -> Address:
        return Address.parse(f"f{number}", "writer")

    store = StorageManager(folder, StorageConfig(), SystemClock())
    kept = await fill(lambda n: store.write(at(n), content(n), n, allowed), folder / "ballast")
    for reopened in (False, True):
        if reopened:
            await store.close()
            store = StorageManager(folder, StorageConfig(), SystemClock())
        listed = await store.entries(Address.parse("", "writer"))
        assert sorted(int(info.path[1:]) for info in listed) == kept
        for number in kept:
            assert await store.read_bytes(at(number)) == content(number)
        await store._stores.run("writer", lambda each: each.check_invariants())
    await store.close()


async def links(folder: Path) -> None:
    store = StorageManager(folder, StorageConfig(), SystemClock())
    address = Address.parse("f", "writer")
    data = 6 * content(1)
    await store.write(address, data, 1, allowed)
    kept = await fill(lambda _: store.share(address, "", 3_600.0), folder / "ballast")
    for again in (store, StorageManager(folder, StorageConfig(), SystemClock())):
        assert len(again.shares.open()) == len(kept)
        for share in again.shares.open():
            assert (await again.read(Address.parse(f"share:{share.id}", "writer"))).size == len(data)
    assert len(list((folder / "shares").iterdir())) == len(kept)
    await store.close()


async def notes(folder: Path) -> None:
    def opened() -> MemoryManager:
        embedding = Embedding("", NOTHING, lambda: 1)
        return MemoryManager(
            folder / "notes.sqlite3", folder / "swap.sqlite3", MemoryConfig(), embedding, NOTHING, SystemClock()
        )

    manager = opened()
    kept = await fill(
        lambda n: manager.notes.add("writer", Text(content(n).decode()), enriched=False), folder / "ballast"
    )
    for reopened in (False, True):
        if reopened:
            await asyncio.to_thread(manager.close)
            manager = opened()
        listed = await manager.notes.newest("writer", 100_000)
        ids = [int(note.id) for note in listed]
        for note in await manager.notes.several("writer", range(1, len(kept) + 1)):
            assert note.content.encode() == content(kept[int(note.id) - 1])
        assert sorted(ids, reverse=True) == ids
        (owner,) = await manager.notes.owners()
        assert owner.notes == len(kept)
    await asyncio.to_thread(manager.close)


async def audit(folder: Path) -> None:
    def opened() -> AuditLog:
        return AuditLog.open(folder / "audit", SystemClock(), version="1", max_bytes=1 << 30)

    log = opened()

    async def put(number: int) -> None:
        rows = [log.append(Entry("decision", pid=number, why="w" * 500)) for _ in range(20)]
        await asyncio.gather(*rows)

    kept = await fill(put, folder / "ballast")
    rows = await log.read(limit=10_000)
    assert [row.pid for row in rows if row.what == "decision"][-60:] == [n for n in kept[-3:] for _ in range(20)]
    await asyncio.to_thread(log.close)
    report = verify(folder / "audit", None)
    assert not report.problems, report.problems
    assert report.rows == 20 * len(kept) + 1


async def journal(folder: Path) -> None:
    def opened() -> Journal:
        return Journal.open(folder / "journal", kernel_pid=os.getpid(), version="1", clock=SystemClock())

    log = opened()
    data = {n: np.random.default_rng(n).bytes(100_000) for n in range(2_000)}

    def put(number: int) -> Awaitable[None]:
        return log.append(EventRow(1, number, "stdout", data[number], 1.0))

    kept = await fill(put, folder / "ballast")
    for reopened in (False, True):
        if reopened:
            await asyncio.to_thread(log.close)
            log = opened()
        rows = await log.read("SELECT seq, data FROM events WHERE kind = 'stdout' ORDER BY seq")
        assert [row["seq"] for row in rows] == kept
        assert all(row["data"] == data[row["seq"]] for row in rows)
    await asyncio.to_thread(log.close)


async def quota(folder: Path) -> None:
    """The journal where nobody can tell how much room there is: a checkpoint breaks off, and ends the database."""
    setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=1 << 40, f_frsize=1))  # noqa: B010
    await journal(folder)


async def snapshots(folder: Path) -> None:
    said = Conversation([{"role": "user", "content": "x"}], {}, "x", [1, 2], 1, True)

    def image(number: int) -> Image:
        kv = np.frombuffer(np.random.default_rng(number).bytes(1_000_000), dtype=np.uint8)
        return Image((1, 2, number), (3,), 1, kv, "model", "build", True)

    async def put(number: int) -> None:
        path = folder / f"s{number}{saved.SUFFIX}"
        await asyncio.to_thread(saved.write, path, saved.Saved("s", image(number), said, 1, "a", "", "model", 1.0))

    kept = await fill(put, folder / "ballast")
    assert sorted(os.listdir(folder)) == sorted(f"s{number}{saved.SUFFIX}" for number in kept)  # noqa: PTH208
    for number in kept:
        kv, expected = saved.read(folder / f"s{number}{saved.SUFFIX}", None).image.kv, image(number).kv
        assert kv is not None
        assert expected is not None
        assert kv.tobytes() == expected.tobytes()


def content(number: int) -> bytes:
    """50 kB that do not become less by compression."""
    return np.random.default_rng(number).bytes(25_000).hex().encode()


STORES: Final = {
    "files": files,
    "links": links,
    "notes": notes,
    "audit": audit,
    "journal": journal,
    "quota": quota,
    "snapshots": snapshots,
}

if __name__ == "__main__":
    try:
        asyncio.run(STORES[sys.argv[1]](Path(sys.argv[2])))
    except KernelError as error:
        sys.exit(f"{type(error).__name__}: {error}")

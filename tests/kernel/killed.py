"""Stores whose writer is killed again and again: `python killed.py STORE FOLDER SEED KILLS`, exit code 0 if all held.

Each round forks a writer, which opens the real store, changes it and tells each change before it asks for it and once
it is acknowledged as durable; kills it at a moment of chance; and forks a checker, which opens the store again. What is
there must be what was acknowledged, and of what was asked for but not acknowledged each change wholly or not at all.

This process imports much, opens nothing and starts no thread, so that a fork of it costs a millisecond.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Awaitable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
from killing import Known, State, Tell, one_round

from aios_kernel import audit, duck, saved
from aios_kernel.audit import AuditLog, Entry
from aios_kernel.chat import Conversation
from aios_kernel.client.chain import verify
from aios_kernel.clock import SystemClock
from aios_kernel.context.image import Image
from aios_kernel.embedding import Embedding
from aios_kernel.journal import Call, EventRow, Journal
from aios_kernel.memory.config import MemoryConfig
from aios_kernel.memory.manager import MemoryManager
from aios_kernel.memory.text import Text
from aios_kernel.protocol import Note
from aios_kernel.snapshots import Snapshots
from aios_kernel.storage import StorageManager
from aios_kernel.storage.config import StorageConfig
from aios_kernel.storage.manager import allowed
from aios_kernel.storage.paths import Address
from aios_kernel.storage.store import Store

OWNER: Final = "writer"


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def names(folder: Path) -> list[str]:
    """Of all files below it."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def content(rng: random.Random, number: int, longest: int = 60_000) -> bytes:
    """Text that no other change writes, with a word that says so."""
    return f"word{number} ".encode() + rng.randbytes(rng.randrange(longest) // 2).hex().encode()


# --- files ------------------------------------------------------------------------------------------------------


def storage(folder: Path) -> StorageManager:
    return StorageManager(folder, StorageConfig(), SystemClock())


async def change_files(folder: Path, rng: random.Random, known: Known, tell: Tell) -> None:
    """Write, replace, delete and move, one after the other; and share what is there by links."""
    store = storage(folder)
    store.expire()
    held: State = {name: value for name, value in known.state.items() if value is not None}
    for number in range(known.number, sys.maxsize):
        name, to = (f"d{rng.randrange(3)}/f{rng.randrange(4)}" for _ in range(2))
        data = content(rng, number)
        change: State
        work: Awaitable[Any]
        act = rng.choice(["write", "write", "delete", "move", "share"] if name in held else ["write"])
        if act == "write":
            change, work = {name: digest(data)}, store.write(at(name), data, number, allowed)
        elif act == "delete":
            change, work = {name: None}, store.delete(at(name), only=None)
        elif act == "move" and to not in held:
            change, work = {name: None, to: held[name]}, store.move(at(name), at(to), number, allowed, only=None)
        else:
            change, work = {}, store.share(at(name), "", 3_600.0)
        tell(number, change)
        await work
        tell(number)
        held = {key: value for key, value in {**held, **change}.items() if value is not None}


def at(path: str) -> Address:
    return Address.parse(path, OWNER)


async def find_files(folder: Path) -> State:
    """Hashes by path. Versions, the words of searches, and what is left on the disk must agree with the contents."""
    store = storage(folder)
    store.expire()
    try:
        listed = await store.entries(at(""), recursive=True)
        found: State = {}
        for path in [info.path for info in listed if info.kind == "file"]:
            data = await store.read_bytes(at(path))
            found[path] = digest(data)
            versions = await store.history(at(path))
            assert versions[0].sha256 == found[path], f"{path}: its newest version is not its content"
            for version in versions:
                assert digest(await store.read_bytes(at(path), version.version)) == version.sha256
            word = data.split(b" ")[0].decode()
            hits = (await store.search(at(""), word)).hits
            assert [hit.path for hit in hits] == [path], f"{word} is in {path}, found in {[hit.path for hit in hits]}"
        if found:
            await store._stores.run(OWNER, lambda each: check_index(each, found))
        copies = {path.name for path in (folder / "shares").glob("*")}
        assert copies == {share.id for share in store.shares.open()}, "a link's copy is left, or gone"
        for share in store.shares.open():
            assert (await store.read(Address.parse(f"share:{share.id}", OWNER))).size
    finally:
        await store.close()
    assert not [name for name in names(folder) if name.startswith(".")]
    return found


def check_index(store: Store, found: State) -> None:
    store.check_invariants()
    live = [file.path for file in store._index.below("")]
    assert live == sorted(found), f"there is {sorted(found)}, known is {live}"
    heads = "SELECT sha256, count(*) FROM files JOIN versions USING (version) WHERE file = id GROUP BY 1"
    apart = store._index.db.execute(f"{heads} HAVING count(*) > 1").fetchall()
    assert not apart, f"what was moved has left its history: {apart}"


# --- notes ------------------------------------------------------------------------------------------------------


def memory(folder: Path) -> MemoryManager:
    files = folder / "notes.sqlite3", folder / "swap.sqlite3"
    nothing: Any = None  # no model enriches these notes
    return MemoryManager(*files, MemoryConfig(), Embedding("", nothing, lambda: 1), nothing, SystemClock())


async def change_notes(folder: Path, rng: random.Random, known: Known, tell: Tell) -> None:
    """Keep, change and remove notes, several at a time."""
    notes = memory(folder).notes
    numbers = iter(range(known.number, sys.maxsize))

    async def one(mine: random.Random) -> None:
        held: list[Note] = []
        for number in numbers:
            act = mine.choice(["add", "update", "remove"]) if held else "add"
            word, text = f"word{number}", content(mine, number, 4_000).decode()
            if act == "add":
                tell(number, {word: digest(text.encode())})
                held.append(await notes.add(OWNER, Text(text, tags=[word]), enriched=False))
            else:
                note = held.pop(mine.randrange(len(held)))
                old = note.content.split(" ")[0]
                if act == "remove":
                    tell(number, {old: None})
                    await notes.remove(OWNER, note.id)
                else:
                    tell(number, {old: None, word: digest(text.encode())})
                    held.append(await notes.update(OWNER, note.id, partial(saying, text)))
            tell(number)

    await asyncio.gather(*(one(random.Random(rng.random())) for _ in range(4)))


def saying(text: str, _: Text) -> Text:
    return Text(text)


async def find_notes(folder: Path) -> State:
    """Hashes by a word of each note, which alone finds it; what has gone is not found. Counts are counted anew."""
    manager = memory(folder)
    try:
        listed = await manager.notes.newest(OWNER, 100_000)
        found = {note.content.split(" ")[0]: digest(note.content.encode()) for note in listed}
        assert len(found) == len(listed)
        for note in listed:
            word = note.content.split(" ")[0]
            assert [hit.note.id for hit in await manager.search(OWNER, word, 5, 0)] == [note.id], word
            for version in await manager.notes.versions(OWNER, note.id):
                gone = version.content.split(" ")[0]
                assert await manager.search(OWNER, gone, 5, 0) == [], f"{gone} is a former word of {word}"
        assert await manager._db.read(lambda db: db.execute("PRAGMA integrity_check").fetchone()[0]) == "ok"
        for owner in await manager.notes.owners():
            assert owner.notes == len(listed)
    finally:
        await asyncio.to_thread(manager.close)
    assert names(folder) == ["notes.sqlite3"]
    return found


# --- the audit log ----------------------------------------------------------------------------------------------


def audit_log(folder: Path) -> AuditLog:
    setattr(audit, "SEGMENT_BYTES", 8_000)  # noqa: B010 - so that segments are begun, and dropped, all the time
    return AuditLog.open(folder / "audit", SystemClock(), version="1", max_bytes=200_000)


async def change_audit(folder: Path, rng: random.Random, known: Known, tell: Tell) -> None:
    """Append rows, several at a time."""
    log = audit_log(folder)
    for number in range(known.number, sys.maxsize, 10):
        batch = range(number, number + rng.randrange(1, 10))
        for each in batch:
            tell(each, {f"{each:09}": True})
        rows = [log.append(Entry("decision", pid=each, why="w" * rng.randrange(300))) for each in batch]
        for each, row in zip(batch, rows, strict=True):
            await row
            tell(each)


async def find_audit(folder: Path) -> State:
    """The rows; those that the log was told to drop may be missing, the oldest first."""
    report = verify(folder / "audit", None)
    assert not report.problems, report.problems
    log = audit_log(folder)
    rows = await log.read(limit=10_000)
    await asyncio.to_thread(log.close)
    report = verify(folder / "audit", None)
    assert not report.problems, report.problems
    numbers = [row.pid for row in rows if row.what == "decision"]
    assert numbers == sorted(set(numbers)), "rows are doubled, or out of order"
    return {f"{number:09}": True for number in numbers}


# --- the journal ------------------------------------------------------------------------------------------------


def journal(folder: Path) -> Journal:
    setattr(duck, "CHECKPOINT_BYTES", 300_000)  # noqa: B010 - so that checkpoints are made all the time
    return Journal.open(folder / "journal", kernel_pid=os.getpid(), version="1", clock=SystemClock())


async def change_journal(folder: Path, rng: random.Random, known: Known, tell: Tell) -> None:
    """Append rows of both streams, several at a time."""
    log = journal(folder)
    for number in range(known.number, sys.maxsize, 10):
        batch = range(number, number + rng.randrange(1, 10))
        rows = []
        for each in batch:
            data = content(rng, each, 30_000)
            tell(each, {str(each): digest(data)})
            row = EventRow(1, each, "stdout", data, 1.0) if each % 2 else Call(1, each, "x", data.decode(), 1.0)
            rows.append(log.append(row))
        for each, durable in zip(batch, rows, strict=True):
            await durable
            tell(each)


async def find_journal(folder: Path) -> State:
    log = journal(folder)
    try:
        rows = await log.read(
            "SELECT seq AS n, data FROM events WHERE kind = 'stdout' UNION ALL SELECT num, encode(args) FROM calls"
        )
        assert len({row["n"] for row in rows}) == len(rows), "rows are doubled"
        boots = await log.read("SELECT count(*) AS n FROM boots")
        assert boots[0]["n"] == log.boot
    finally:
        await asyncio.to_thread(log.close)
    assert names(folder) == ["journal"]
    return {str(row["n"]): digest(row["data"]) for row in rows}


# --- snapshots --------------------------------------------------------------------------------------------------


async def change_snapshots(folder: Path, rng: random.Random, known: Known, tell: Tell) -> None:
    """Keep contexts under four names, over those that had them."""
    snapshots(folder)
    for number in range(known.number, sys.maxsize):
        name = f"s{rng.randrange(4)}"
        kv = np.frombuffer(rng.randbytes(rng.randrange(1, 2_000_000)), dtype=np.uint8)
        image = Image((1, 2, number), (3,), 1, kv, "model", "build", True)
        said = Conversation([{"role": "user", "content": "x"}], {}, "x", [1, 2], 1, True)
        tell(number, {name: digest(kv.tobytes())})
        saved.write(folder / f"{name}{saved.SUFFIX}", saved.Saved(name, image, said, 1, "a", "", "model", 1.0))
        tell(number)


def snapshots(folder: Path) -> Snapshots:
    nothing: Any = None  # no model reads these
    return Snapshots(folder, nothing, SystemClock())


async def find_snapshots(folder: Path) -> State:
    infos = await snapshots(folder).infos()
    assert not [info for info in infos if info.error]
    assert names(folder) == sorted(f"{info.id}{saved.SUFFIX}" for info in infos)
    found: State = {}
    for info in infos:
        kv = saved.read(folder / f"{info.id}{saved.SUFFIX}", None).image.kv
        assert kv is not None
        found[info.id] = digest(kv.tobytes())
    return found


# --- rounds -----------------------------------------------------------------------------------------------------

STORES: Final = {
    "files": (change_files, find_files),
    "notes": (change_notes, find_notes),
    "audit": (change_audit, find_audit),
    "journal": (change_journal, find_journal),
    "snapshots": (change_snapshots, find_snapshots),
}


def main(name: str, folder: str, seed: str, kills: str) -> None:
    rng, known = random.Random(int(seed)), Known(oldest_go=name == "audit")
    for kill in range(int(kills)):
        rng.seed(rng.random())
        one_round(*STORES[name], Path(folder), rng, known, by_call=kill % 2 == 1)
    print(f"{name}: {known.number} changes, {kills} kills, {len(known.state)} things known")


if __name__ == "__main__":
    main(*sys.argv[1:])

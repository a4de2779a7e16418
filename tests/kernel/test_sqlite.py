"""SQLite behind the event loop: real files."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aios_kernel.errors import BadRequest, InternalError, LimitHit
from aios_kernel.sqlite import Database

pytestmark = pytest.mark.anyio

SCHEMA = "CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, text TEXT)"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database.open(tmp_path / "t.sqlite3", SCHEMA)
    yield database
    await asyncio.to_thread(database.close)


def put(n: int, text: str = "x") -> object:
    return lambda db: db.execute("INSERT INTO t VALUES (?, ?)", (n, text)).lastrowid


def numbers(db: sqlite3.Connection) -> list[int]:
    return [row["n"] for row in db.execute("SELECT n FROM t ORDER BY n")]


async def test_what_was_written_is_read_and_there_after_the_next_start(database: Database, tmp_path: Path) -> None:
    assert list(range(1_000)) == await asyncio.gather(*(database.write(put(n)) for n in range(1_000)))
    assert list(range(1_000)) == await database.read(numbers)
    await asyncio.to_thread(database.close)
    again = Database.open(tmp_path / "t.sqlite3", SCHEMA)
    assert list(range(1_000)) == await again.read(numbers)
    await asyncio.to_thread(again.close)


async def test_a_write_that_fails_is_undone_alone(database: Database) -> None:
    def half(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO t VALUES (2, 'half')")
        raise BadRequest("no")

    results = await asyncio.gather(
        *(database.write(work) for work in (put(1), half, put(1), put(3))), return_exceptions=True
    )
    assert [1, BadRequest("no"), 3] == [results[0], results[1], results[3]]
    assert isinstance(results[2], InternalError)
    assert "UNIQUE constraint failed" in results[2].message
    assert await database.read(numbers) == [1, 3]


async def test_a_full_disk_is_an_error_for_each_and_the_next_write_works(database: Database) -> None:
    pages = await database.write(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    await database.write(lambda db: db.execute(f"PRAGMA max_page_count = {pages + 4}").fetchone())
    with pytest.raises(LimitHit, match="the disk is full"):
        await database.write(put(1, "x" * 100_000))
    await database.write(put(2))
    assert await database.read(numbers) == [2]


async def test_readers_cannot_write(database: Database) -> None:
    with pytest.raises(InternalError, match="readonly"):
        await database.read(put(1))


async def test_a_caller_that_is_cancelled_leaves_its_write_to_its_end(database: Database) -> None:
    task = asyncio.create_task(database.write(put(1)))
    await asyncio.sleep(0)
    task.cancel()
    await database.write(put(2))
    assert await database.read(numbers) == [1, 2]


async def test_what_is_not_durable_begins_empty_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "swap.sqlite3"
    path.write_bytes(b"of a kernel that was killed")
    swap = Database.open(path, SCHEMA, durable=False)
    await swap.write(put(1))
    assert await swap.read(numbers) == [1]
    await asyncio.to_thread(swap.close)
    assert not await asyncio.to_thread(lambda: list(tmp_path.iterdir()))


async def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "t.sqlite3").write_bytes(b"something else " * 100)
    with pytest.raises(InternalError, match=r"t\.sqlite3 cannot be used: file is not a database"):
        Database.open(tmp_path / "t.sqlite3", SCHEMA)

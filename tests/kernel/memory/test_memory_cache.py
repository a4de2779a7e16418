"""Byte strings in memory, out to storage by LRU-K and back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aios_kernel.errors import InternalError
from aios_kernel.memory.cache import OVERHEAD, SCHEMA, Pages
from aios_kernel.sqlite import Database

pytestmark = pytest.mark.anyio

SIZE = 1_000


@pytest.fixture
async def swap(tmp_path: Path) -> AsyncIterator[Database]:
    swap = Database.open(tmp_path / "swap.sqlite3", SCHEMA, durable=False)
    yield swap
    await asyncio.to_thread(swap.close)


def room_for(count: int, *, of: int) -> int:
    return count * SIZE + of * OVERHEAD


def in_memory(pages: Pages) -> set[object]:
    return {key for key, page in pages._pages.items() if page.data is not None}


async def test_all_comes_back_bit_equal_whatever_the_order(swap: Database) -> None:
    pages, told = Pages(swap, 500_000), {}
    chance = random.Random(5)
    for step in range(3_000):
        action = chance.random()
        if action < 0.4 or not told:
            told[step] = chance.randbytes(chance.randrange(3_000)) + b"text " * chance.randrange(300)
            await pages.put(step, told[step])
        elif action < 0.5:
            gone = chance.choice(list(told))
            pages.drop([gone])
            del told[gone]
            assert await pages.get(gone) is None
        else:
            key = chance.choice(list(told))
            assert told[key] == await pages.get(key)
        assert pages.ram_bytes <= 500_000
        pages.check_invariants()
    assert min(pages.evictions, pages.faults) > 200
    assert {key: await pages.get(key) for key in told} == told
    pages.drop(told)
    assert (len(pages), pages.ram_bytes, pages.out_bytes, pages.disk_bytes) == (0, 0, 0, 0)
    assert await swap.write(lambda db: db.execute("SELECT count(*) FROM pages").fetchone()[0]) == 0


async def test_what_is_used_again_and_again_outlives_a_scan(swap: Database) -> None:
    pages = Pages(swap, room_for(8, of=52))
    for name in ("a", "b"):
        await pages.put(name, bytes(SIZE))
        await pages.get(name)  # the second use: more recent than any of those that are used once
    for number in range(50):
        await pages.put(number, bytes(SIZE))
    assert {"a", "b"} <= in_memory(pages)


async def test_the_one_before_the_last_use_decides(swap: Database) -> None:
    pages = Pages(swap, room_for(3, of=5))
    for name in ("often", "late", "then"):
        await pages.put(name, bytes(SIZE))
    for name in ("late", "often", "then", "often", "then", "late"):
        await pages.get(name)
    # uses: often 0 4 6, late 1 3 8, then 2 5 7: late was used last, but its use before that is the oldest
    await pages.put("new", bytes(SIZE))
    await pages.get("new")
    await pages.get("new")
    await pages.put("newer", bytes(SIZE))
    assert "late" not in in_memory(pages)


async def test_text_is_smaller_in_storage(swap: Database) -> None:
    pages = Pages(swap, room_for(1, of=20))
    for number in range(20):
        await pages.put(number, f"the quick brown fox {number} jumps over the lazy dog. ".encode() * 20)
    assert pages.out_bytes > 15_000
    assert pages.disk_bytes < pages.out_bytes / 5


async def test_many_at_once_stay_within_the_budget(swap: Database) -> None:
    pages = Pages(swap, room_for(10, of=200))
    await asyncio.gather(*(pages.put(number, bytes([number]) * SIZE) for number in range(200)))
    assert pages.ram_bytes <= room_for(10, of=200)
    found = await asyncio.gather(*(pages.get(number) for number in range(200)))
    assert [bytes([number]) * SIZE for number in range(200)] == found
    pages.check_invariants()


async def test_those_dropped_while_they_go_leave_nothing(swap: Database) -> None:
    pages = Pages(swap, room_for(2, of=20))
    putting = [asyncio.create_task(pages.put(number, bytes(SIZE))) for number in range(20)]
    await asyncio.sleep(0)  # all are in memory, the first of them on their way out
    pages.drop(range(20))
    await asyncio.gather(*putting)
    pages.check_invariants()
    assert await swap.write(lambda db: db.execute("SELECT count(*) FROM pages").fetchone()[0]) == 0


async def test_a_copy_that_was_altered_is_an_error(swap: Database) -> None:
    pages = Pages(swap, room_for(1, of=2))
    await pages.put("a", bytes(SIZE))
    await pages.put("b", bytes(SIZE))
    await swap.write(lambda db: db.execute("UPDATE pages SET data = substr(data, 1, 5)").rowcount)
    with pytest.raises(InternalError, match="damaged"):
        await pages.get("a")


async def test_a_full_disk_costs_the_oldest_and_the_budget_holds(swap: Database) -> None:
    await swap.write(lambda db: db.execute("PRAGMA max_page_count = 2").fetchone())
    pages = Pages(swap, room_for(4, of=20))
    for number in range(20):
        await pages.put(number, random.Random(number).randbytes(SIZE))
    assert pages.ram_bytes <= room_for(4, of=20)
    assert 0 < len(pages) < 20
    found = [await pages.get(number) for number in range(20)]
    assert all(data in (None, random.Random(number).randbytes(SIZE)) for number, data in enumerate(found))
    pages.check_invariants()

"""Notes in a real SQLite file."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aios_kernel.errors import LimitHit, NoSuchNote
from aios_kernel.memory.notes import MAX_VERSIONS, SCHEMA, Notes, Text, Vector, text_of
from aios_kernel.memory.words import match_any
from aios_kernel.sqlite import Database
from aios_kernel.testing import FakeClock

pytestmark = pytest.mark.anyio

NUMBERS = itertools.count()


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    db = Database.open(tmp_path / "memory.sqlite3", SCHEMA)
    yield db
    await asyncio.to_thread(db.close)


@pytest.fixture
def notes(db: Database) -> Notes:
    return Notes(db, 100_000, FakeClock())


async def add(notes: Notes, owner: str, content: str, **more: object) -> str:
    text = Text(content, **{name: value for name, value in more.items() if name not in ("links", "vector")})  # type: ignore[arg-type]
    rest = {name: value for name, value in more.items() if name in ("links", "vector")}
    return (await notes.add(owner, text, enriched=False, **rest)).id  # type: ignore[arg-type]


async def test_a_note_is_its_owners(notes: Notes) -> None:
    assert [await add(notes, "a", "mine"), await add(notes, "b", "theirs"), await add(notes, "a", "more")] == [
        "1",
        "1",
        "2",
    ]
    assert (await notes.get("b", "1")).content == "theirs"
    for id in ("3", "0", "x", "9" * 30, "1; DROP TABLE notes", "", "-1", "１"):
        with pytest.raises(NoSuchNote) as info:
            await notes.get("a", id)
        assert info.value.message == f"no note {id!r}"
    with pytest.raises(NoSuchNote, match=r"^no note '1'$"):
        await notes.get("nobody", "1")


async def test_words_find_whatever_they_are(notes: Notes) -> None:
    first = await add(notes, "a", "The lighthouse keeper's logbook", tags=["sea"], keywords=["beacon"])
    second = await add(notes, "a", "Recipes for cake", context="What the keeper bakes")
    await add(notes, "b", "The lighthouse of another")
    assert [int(first)] == await notes.by_words("a", "lighthouses", 5)
    assert [int(first)] == await notes.by_words("a", "sea", 5)
    assert [int(first), int(second)] == await notes.by_words("a", "KEEPER beacon", 5)
    assert [int(first)] == await notes.by_words("a", "keeper beacon", 1)
    for query in ("", '"', "* AND (", "NOT", "content:cake -", "nosuchword", "NEAR(", "\0", "’"):
        assert int(first) not in await notes.by_words("a", query, 5)
    assert await notes.by_words("nobody", "lighthouse", 5) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(query=st.text(max_size=60))
async def test_no_query_is_an_error(notes: Notes, query: str) -> None:
    await notes.by_words("a", query, 5)
    assert match_any(query).count('"') % 2 == 0


async def test_a_rank_tells_nothing_of_anothers_words(notes: Notes) -> None:
    for content in ("apple pie", "pear pie", "quince"):
        await add(notes, "a", content)
    before = await notes.by_words("a", "apple pear", 5)
    for _ in range(50):
        await add(notes, "b", "apple " * 5)
    assert before == await notes.by_words("a", "apple pear", 5)


async def test_an_update_keeps_what_was_and_finds_what_is(notes: Notes) -> None:
    id = await add(notes, "a", "the first text", tags=["t"], metadata={"n": 1})
    for number in range(MAX_VERSIONS + 4):
        await notes.update("a", id, lambda text, number=number: replace(text, content=f"text number{number}"))
    note = await notes.get("a", id)
    assert (note.content, note.tags, note.metadata) == (f"text number{MAX_VERSIONS + 3}", ["t"], {"n": 1})
    assert note.version == MAX_VERSIONS + 5
    former = await notes.versions("a", id)
    assert [f"text number{n}" for n in range(MAX_VERSIONS + 2, 2, -1)] == [version.content for version in former]
    assert [int(id)] == await notes.by_words("a", f"number{MAX_VERSIONS + 3}", 5)
    assert await notes.by_words("a", "first", 5) == []
    with pytest.raises(NoSuchNote):
        await notes.update("b", id, lambda text: text)


async def test_links_go_both_ways_and_end_with_the_note(notes: Notes) -> None:
    for number in range(3):
        await add(notes, "a", str(number))
    id = await add(notes, "a", "new", links=["1", "3", "17", "4"])
    assert (await notes.get("a", id)).links == ["1", "3"]
    assert [id] == (await notes.get("a", "1")).links
    await notes.update("a", id, lambda text: replace(text, content="newer"), links=["2"])
    assert [["2"], [], [id], []] == [(await notes.get("a", i)).links for i in (id, "1", "2", "3")]
    await notes.remove("a", "2")
    assert (await notes.get("a", id)).links == []


async def test_what_is_removed_is_not_found_and_its_id_never_comes_again(notes: Notes) -> None:
    id = await add(notes, "a", "secret", vector=Vector("m", bytes(8)))
    await notes.remove("a", id)
    with pytest.raises(NoSuchNote):
        await notes.remove("a", id)
    assert await notes.by_words("a", "secret", 5) == []
    assert await notes.num_vectors("m") == 0
    assert await add(notes, "a", "next") == "2"


async def test_lists_are_newest_first_and_go_on(notes: Notes) -> None:
    for number in range(10):
        await add(notes, "a", str(number), tags=["even"] if number % 2 == 0 else [])
    await add(notes, "b", "other")
    assert [int(note.content) for note in await notes.newest("a", 3)] == [9, 8, 7]
    assert [int(note.content) for note in await notes.newest("a", 2, before="8")] == [6, 5]
    assert [int(note.content) for note in await notes.newest("a", 2, tag="even")] == [8, 6]
    assert len(await notes.newest(None, 100)) == 11


async def test_a_list_is_shorter_where_notes_are_long(db: Database) -> None:
    notes = Notes(db, 1 << 30, FakeClock())
    for _ in range(100):
        await add(notes, "a", "x" * 65_536)
    first = await notes.newest("a", 100)
    assert len(first) == 64
    assert len(await notes.newest("a", 100, before=first[-1].id)) == 36


async def test_an_agent_has_so_much_and_no_more(notes: Notes) -> None:
    await add(notes, "a", "x" * 60_000)
    with pytest.raises(LimitHit, match="at most 100000"):
        await add(notes, "a", "x" * 60_000)
    with pytest.raises(LimitHit):  # what was counts too
        await notes.update("a", "1", lambda text: replace(text, content="y" * 60_000))
    assert (await notes.get("a", "1")).content == "x" * 60_000
    await add(notes, "b", "x" * 60_000)
    await notes.remove("a", "1")
    assert await add(notes, "a", "x" * 60_000) == "2"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
@given(data=st.data())
async def test_the_count_of_bytes_is_that_of_what_is_there(db: Database, data: st.DataObject) -> None:
    notes, owner = Notes(db, 1 << 30, FakeClock()), f"owner {next(NUMBERS)}"
    ids: list[str] = []
    for _ in range(data.draw(st.integers(1, 12))):
        action = data.draw(st.sampled_from(["add", "update", "remove"]))
        content = data.draw(st.text(max_size=30))
        vector = data.draw(st.sampled_from([None, Vector("m", bytes(16))]))
        if action == "add" or not ids:
            ids.append(await add(notes, owner, content, vector=vector))
        elif action == "update":
            id = data.draw(st.sampled_from(ids))
            await notes.update(owner, id, lambda text, new=content: replace(text, content=new), vector=vector)
        else:
            await notes.remove(owner, ids.pop())
    present = await notes.newest(owner, 1_000)
    size = sum(text_of(note).size for note in present)
    for note in present:
        size += sum(
            Text(old.content, old.context, old.keywords, old.tags, old.metadata).size
            for old in await notes.versions(owner, note.id)
        )
    totals = next(each for each in await notes.owners() if each.name == owner)
    sum_of = "SELECT coalesce(sum(length(vector)), 0) FROM vectors WHERE owner = ?"
    size += await db.read(lambda db: db.execute(sum_of, (totals.number,)).fetchone()[0])
    assert (totals.notes, totals.bytes) == (len(ids), size)
    check = f"INSERT INTO words_{totals.number}(words_{totals.number}) VALUES ('integrity-check')"
    await db.write(lambda db: db.execute(check).rowcount)


async def test_all_is_there_after_the_next_start(notes: Notes, db: Database, tmp_path: Path) -> None:
    await add(notes, "a", "kept", tags=["t"], metadata={"x": [1, None]}, keywords=["k"], context="c")
    await notes.update("a", "1", lambda text: replace(text, tags=["t", "u"]), enriched=True)
    before = await notes.get("a", "1")
    await asyncio.to_thread(db.close)
    again = Database.open(tmp_path / "memory.sqlite3", SCHEMA)
    try:
        assert before == await Notes(again, 100_000, FakeClock()).get("a", "1")
        assert await Notes(again, 100_000, FakeClock()).by_words("a", "kept", 5) == [1]
    finally:
        await asyncio.to_thread(again.close)

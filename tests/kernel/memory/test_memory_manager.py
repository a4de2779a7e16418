"""The memory manager over real files; with the embedded model where meaning counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aios_kernel.embedding import Embedding
from aios_kernel.errors import BadRequest, NoSuchModel, NoSuchNote
from aios_kernel.eventlog import EventLog
from aios_kernel.life import Life
from aios_kernel.memory.config import MemoryConfig
from aios_kernel.memory.enrich import analyse, evolve
from aios_kernel.memory.manager import MemoryManager
from aios_kernel.memory.text import MAX_CONTENT, Text
from aios_kernel.models import find, resolve
from aios_kernel.process import ProcessTable
from aios_kernel.protocol import ModelInfo, Note, RunRequest
from aios_kernel.testing import FakeClock

pytestmark = pytest.mark.anyio

NOWHERE = Path("/nonexistent")
REF = "smollm2-135m-instruct-q4_1"
NOTES = (
    "The cat sleeps on the sofa all afternoon.",
    "Quarterly tax returns are due at the end of March.",
    "The boat needs a new sail before summer.",
)


def by_ref(ref: str) -> ModelInfo:
    return resolve(ref, find(NOWHERE, {}, NOWHERE))


class Home:
    """A manager, and processes that keep notes by it."""

    def __init__(self, folder: Path, model: str, config: MemoryConfig, enricher: Any = None) -> None:
        self.embedding = Embedding(model, by_ref, lambda: 1)
        files = folder / "memory.sqlite3", folder / "swap.sqlite3"
        self.memory = MemoryManager(*files, config, self.embedding, enricher, FakeClock())
        self._procs = ProcessTable()

    def life(self, agent: str) -> Life:
        process = self._procs.add(RunRequest(agent), parent=None, model="m", at=0.0)
        return Life(process, EventLog.__new__(EventLog), "token")

    async def add(self, agent: str, content: str, **more: Any) -> Note:
        return await self.memory.add(self.life(agent), Text(content, **more), enrich=False)

    def close(self) -> None:
        self.embedding.close()
        self.memory.close()


Open = Callable[..., Home]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    homes: list[Home] = []

    def open(model: str = "", enricher: Any = None, **config: int) -> Home:
        homes.append(Home(tmp_path, model, MemoryConfig(**config), enricher))
        return homes[-1]

    yield open
    for home in homes:
        await asyncio.to_thread(home.close)


async def found(home: Home, agent: str, query: str, k: int = 1) -> list[str]:
    return [hit.note.content for hit in await home.memory.search(agent, query, k, 0)]


async def test_notes_are_found_by_their_owner_alone(opened: Open) -> None:
    home = opened()
    for content in NOTES:
        await home.add("a", content)
    assert await found(home, "a", "sail for the boats") == [NOTES[2]]
    assert await found(home, "b", "sail for the boats") == []
    assert [hit.found_by for hit in await home.memory.search("a", "cat", 5, 0)] == [["words"]]
    assert [hit.note.owner for hit in await home.memory.search_all("cat sail", 5)] == ["a", "a"]


async def test_a_note_is_linked_to_its_nearest(opened: Open) -> None:
    home = opened()
    first = await home.add("a", "the cat sleeps", keywords=["cat"])
    other = await home.add("a", "taxes are due", keywords=["tax"])
    await home.add("b", "the cat of another")
    last = await home.add("a", "a cat purrs", keywords=["cat"])
    assert last.links == [first.id]
    assert (await home.memory.notes.get("a", other.id)).links == []
    changed = await home.memory.update("a", last.id, {"content": "a tax on cats", "keywords": ["tax"]}, 0)
    assert (changed.links, changed.version) == ([other.id], 2)
    assert (await home.memory.update("a", last.id, {}, 0)).version == 2
    with pytest.raises(NoSuchNote):
        await home.memory.update("b", other.id, {"tags": ["x"]}, 0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (Text(" \n"), "content: a note says something"),
        (Text("x" * (MAX_CONTENT + 1)), "content: 65537 characters"),
        (Text("x", tags=["t"] * 17), "tags: 17 of them"),
        (Text("x", tags=["t" * 65]), "tags: 65 characters"),
        (Text("x", keywords=[" "]), "keywords: one of them is empty"),
        (Text("x", metadata={"k": "v" * 9_000}), "metadata: "),
        (Text("half \ud800"), "content: not Unicode text"),
    ],
)
async def test_what_is_no_note_is_named(opened: Open, text: Text, says: str) -> None:
    home = opened()
    with pytest.raises(BadRequest, match=says):
        await home.memory.add(home.life("a"), text, enrich=False)
    assert await home.memory.newest("a", 10) == []


async def test_questions_have_bounds(opened: Open) -> None:
    home = opened()
    for call in (
        home.memory.search("a", "x", 0, 0),
        home.memory.search("a", "x", 101, 0),
        home.memory.search("a", "x" * 5_000, 5, 0),
        home.memory.newest("a", 0),
    ):
        with pytest.raises(BadRequest):
            await call
    with pytest.raises(NoSuchModel):
        await home.memory.index()


class Asked:
    """The model's part in notes, played by a list of answers."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.prompts = list(answers), list[str]()

    @asynccontextmanager
    async def model(self, life: Life) -> AsyncIterator[Any]:
        yield self

    async def __call__(self, instruction: Any, prompt: str, schema: dict[str, Any]) -> Any:
        self.prompts.append(prompt)
        return self.answers.pop(0)


async def test_the_model_says_what_is_left_out_and_looks_at_the_nearest_again(opened: Open) -> None:
    asked = Asked(
        {"keywords": ["Cat", "cat ", "sofa"], "context": " A cat rests. ", "tags": ["pets"]},
        {"tags": [["pets", "Sleep"]]},
    )
    home = opened(enricher=asked)
    near = await home.add("a", "my cat is called Tom", keywords=["cat"], tags=["names"])
    far = await home.add("a", "taxes are due", tags=["money"])
    note = await home.memory.add(home.life("a"), Text("the cat sleeps on the sofa", tags=["mine"]), enrich=True)
    assert (note.keywords, note.context, note.tags) == (["cat", "sofa"], "A cat rests.", ["mine"])
    assert (note.enriched, note.links) == (True, [near.id])
    evolved = await home.memory.detail("a", near.id)
    assert (evolved.note.tags, evolved.note.enriched) == (["names", "pets", "sleep"], True)
    assert [version.tags for version in evolved.versions] == [["names"]]
    assert (await home.memory.notes.get("a", far.id)).tags == ["money"]
    assert "Tom" in asked.prompts[1]
    assert set(await found(home, "a", "sleep", 5)) == {"the cat sleeps on the sofa", "my cat is called Tom"}


async def test_what_is_given_is_not_asked() -> None:
    text = Text("x", "about x", ["x"], ["letters"])
    asked = Asked()
    assert await analyse(asked, text) is text
    assert await evolve(asked, text, []) == []
    assert asked.prompts == []


@pytest.mark.model
async def test_meaning_finds_what_words_do_not(opened: Open) -> None:
    home = opened(REF)
    for content in NOTES:
        await home.add("a", content)
    hits = await home.memory.search("a", "a kitten naps on the couch", 3, 0)
    assert (hits[0].note.content, hits[0].found_by) == (NOTES[0], ["words", "meaning"])
    assert {"meaning"} < {way for hit in hits for way in hit.found_by}
    assert [hit.found_by for hit in await home.memory.search("a", "Katze", 3, 0)] == [["meaning"]] * 3
    status = await home.memory.status()
    assert (status.notes_indexed, status.embedding_state) == (3, "ready")
    assert status.vector_bytes >= 3 * 576 * 4
    await home.memory.remove("a", "1")
    assert NOTES[0] not in await found(home, "a", "a kitten naps on the couch", 3)


@pytest.mark.model
async def test_notes_from_before_there_was_a_model_are_indexed(opened: Open) -> None:
    before = opened()
    for content in NOTES:
        await before.add("a", content)
    await asyncio.to_thread(before.close)
    home = opened(REF)
    assert await home.memory.index() == 3
    assert await home.memory.index() == 0
    assert len(await found(home, "a", "Katze", 5)) == 3


async def test_notes_are_kept_while_the_model_is_broken(opened: Open) -> None:
    home = opened("nosuch")
    note = await home.add("a", NOTES[0])
    assert await found(home, "a", "cat") == [note.content]
    assert (await home.memory.status()).embedding_state.startswith("failed: no model 'nosuch'")

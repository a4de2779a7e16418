"""Searches in one agent's texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stores import open_store

from aios_kernel.storage.store import Store
from aios_kernel.storage.texts import MAX_INDEXED, MAX_PASSAGES, PASSAGE_CHARS, SHOWN_CHARS, passages_of, text_of


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path)
    for path, text in {
        "fox.txt": "line one\nThe quick brown fox jumps over the dog.\nlast",
        "notes/dog.txt": "A dog barked.\nDogs bark at foxes.",
        "recipes/soup.md": "Carrots, leeks and a lazy afternoon.",
        "data.bin": "\0fox",
    }.items():
        store.write(tuple(path.split("/")), text.encode(), 1)
    yield store
    store.check_invariants()
    store.close()


def found(store: Store, query: str, below: str = "") -> list[str]:
    return [store.texts.path(id) for id, _ in store.texts.by_words(query, 10, below)]


def test_words(store: Store) -> None:
    assert found(store, "fox")[0] == "fox.txt"
    assert set(found(store, "fox")) == {"fox.txt", "notes/dog.txt"}  # foxes too
    assert found(store, "dog fox")[:2] == ["notes/dog.txt", "fox.txt"]  # both have both words
    assert found(store, "leeks fox")  # one has neither all, but some
    assert found(store, "soup") == ["recipes/soup.md"]  # in the name
    assert found(store, "dog", "notes") == ["notes/dog.txt"]
    assert found(store, "unicorn") == found(store, "  ...  ") == []


def test_the_line_is_shown(store: Store) -> None:
    (_, place), *_ = store.texts.by_words("brown fox", 1)
    assert (place.line, place.text) == (2, "The quick brown fox jumps over the dog.")


@given(query=st.text(max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_query_is_an_error(store: Store, query: str) -> None:
    store.texts.by_words(query, 5)
    store.texts.by_words(f'"{query}* OR NEAR( {query}', 5)


def test_changes_are_followed(store: Store) -> None:
    store.write(("fox.txt",), b"hedgehog", 1, replace=True)
    assert (found(store, "brown"), found(store, "hedgehog")) == ([], ["fox.txt"])
    store.move(("notes",), ("old",), 1)
    assert found(store, "barked") == ["old/dog.txt"]
    store.delete(("old",), only=None)
    assert found(store, "barked") == []
    store.restore(None, "old/dog.txt", ())
    assert found(store, "barked") == ["old/dog.txt"]


def test_other_programs_changes_are_found(store: Store, tmp_path: Path) -> None:
    (tmp_path / "files/new.txt").write_text("badger")
    (tmp_path / "files/fox.txt").unlink()
    (tmp_path / "files/link.txt").symlink_to("/etc/passwd")
    assert store.refresh() == 2
    assert store.refresh() == 0
    assert (found(store, "badger"), found(store, "quick"), found(store, "root")) == (["new.txt"], [], [])


def test_by_meaning(store: Store) -> None:
    assert store.texts.num_unembedded() == 3  # the one that is no text has nothing to embed
    vectors = {"fox.txt": [1.0, 0.0], "notes/dog.txt": [0.8, 0.6], "recipes/soup.md": [0.0, 1.0]}
    with store.transaction():
        for text in store.texts.unembedded(10):
            store.texts.add_vectors(text, [vectors[store.texts.path(text.id)]] * len(text.passages))
    assert store.texts.num_unembedded() == 0
    near = store.texts.by_meaning([2.0, 0.1], 2)
    assert [store.texts.path(id) for id, _ in near] == ["fox.txt", "notes/dog.txt"]
    assert near[0][1].text == "line one"
    assert [store.texts.path(id) for id, _ in store.texts.by_meaning([1.0, 0.0], 2, "recipes")] == ["recipes/soup.md"]
    assert store.texts.by_meaning([1.0, 0.0, 0.0], 2) == []  # of another model
    store.delete(("fox.txt",))
    assert [store.texts.path(id) for id, _ in store.texts.by_meaning([1.0, 0.0], 1)] == ["notes/dog.txt"]
    with store.transaction():
        store.texts.forget_vectors()
    assert store.texts.num_unembedded() == 2


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain", "plain"),
        (b"a\0b", ""),
        (b"\xff\xfe", ""),
        ("é".encode()[:1], ""),
        (b"x" * (MAX_INDEXED - 1) + "é".encode(), "x" * (MAX_INDEXED - 1)),
        (b"", ""),
    ],
)
def test_what_is_text(data: bytes, text: str) -> None:
    assert text_of(data) == text


@given(st.text(alphabet="ab\n ", max_size=4_000), st.integers(1, 40))
def test_passages_are_bounded_and_their_lines_right(text: str, times: int) -> None:
    text = text * times
    lines = text.split("\n")
    passages = list(passages_of(text))
    assert len(passages) <= MAX_PASSAGES
    for passage in passages:
        assert 0 < len(passage.text) <= PASSAGE_CHARS
        assert lines[passage.line - 1].startswith(passage.text.split("\n")[0])


def test_a_long_line_is_cut_around_the_word(store: Store) -> None:
    store.write(("long",), b"x " * 5_000 + b"needle " + b"y " * 5_000, 1)
    (_, place), *_ = store.texts.by_words("needle", 1)
    assert "needle" in place.text
    assert len(place.text) <= SHOWN_CHARS + 2

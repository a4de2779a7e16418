"""Notes in SQLite: each is its owner's, found by words, linked to its nearest, with what it was before.

Every owner has a full-text index of its own, so that not even the rank of a result tells of another's words.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from aios_kernel.clock import Clock
from aios_kernel.errors import LimitHit, NoSuchNote
from aios_kernel.memory import words
from aios_kernel.memory.text import Text, text_of
from aios_kernel.protocol import Note, NoteVersion
from aios_kernel.sqlite import Database

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS owners (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
    last_id INTEGER NOT NULL DEFAULT 0, notes INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS notes (
    owner INTEGER NOT NULL REFERENCES owners, id INTEGER NOT NULL, version INTEGER NOT NULL,
    content TEXT NOT NULL, context TEXT NOT NULL, keywords TEXT NOT NULL, tags TEXT NOT NULL, metadata TEXT NOT NULL,
    enriched INTEGER NOT NULL, created_at REAL NOT NULL, updated_at REAL NOT NULL,
    UNIQUE (owner, id)
);
CREATE TABLE IF NOT EXISTS versions (
    owner INTEGER NOT NULL, id INTEGER NOT NULL, version INTEGER NOT NULL,
    content TEXT NOT NULL, context TEXT NOT NULL, keywords TEXT NOT NULL, tags TEXT NOT NULL, metadata TEXT NOT NULL,
    until REAL NOT NULL,
    PRIMARY KEY (owner, id, version),
    FOREIGN KEY (owner, id) REFERENCES notes (owner, id) ON DELETE CASCADE
);
CREATE TABLE IF NOT EXISTS links (
    owner INTEGER NOT NULL, a INTEGER NOT NULL, b INTEGER NOT NULL,
    PRIMARY KEY (owner, a, b),
    FOREIGN KEY (owner, a) REFERENCES notes (owner, id) ON DELETE CASCADE,
    FOREIGN KEY (owner, b) REFERENCES notes (owner, id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS links_back ON links (owner, b);
CREATE TABLE IF NOT EXISTS vectors (
    owner INTEGER NOT NULL, id INTEGER NOT NULL, model TEXT NOT NULL, vector BLOB NOT NULL,
    PRIMARY KEY (owner, id),
    FOREIGN KEY (owner, id) REFERENCES notes (owner, id) ON DELETE CASCADE
);
"""
_SELECT: Final = """
SELECT n.*, o.name, (SELECT json_group_array(b) FROM links l WHERE l.owner = n.owner AND l.a = n.id) AS linked
FROM notes n JOIN owners o ON o.number = n.owner
"""
MAX_LISTED_CHARS: Final = 4 << 20  # of the contents in one list
MAX_VERSIONS: Final = 16  # former ones that are kept of a note


@dataclass(frozen=True, slots=True)
class Vector:
    """Where a note's content and context lie: float32, of the model `model`."""

    model: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Owner:
    """One owner's totals. number: by which the tables know it."""

    number: int
    name: str
    notes: int
    bytes: int


class Notes:
    """All notes. Event loop only.

    Args:
        agent_bytes: those of one owner may take.
    """

    def __init__(self, db: Database, agent_bytes: int, clock: Clock) -> None:
        self._db = db
        self._agent_bytes = agent_bytes
        self._clock = clock

    # --- reading

    async def owners(self) -> list[Owner]:
        """Those that have had notes."""
        select = "SELECT number, name, notes, bytes FROM owners ORDER BY name"
        return await self._db.read(lambda db: [Owner(*row) for row in db.execute(select)])

    async def get(self, owner: str, id: str) -> Note:
        """Raises NoSuchNote, whether or not another has one of this id."""
        return await self._db.read(lambda db: _note(db, owner, id))

    async def several(self, owner: str, ids: Sequence[int]) -> list[Note]:
        """Those that are there, in the order of ids."""
        marks = ", ".join("?" for _ in ids)
        select = f"{_SELECT} WHERE o.name = ? AND n.id IN ({marks})"
        rows = await self._db.read(lambda db: db.execute(select, (owner, *ids)).fetchall())
        found = {row["id"]: _to_note(row) for row in rows}
        return [found[id] for id in ids if id in found]

    async def newest(self, owner: str | None, count: int, before: str | None = None, tag: str = "") -> list[Note]:
        """The newest first, fewer than `count` where they are long.

        Args:
            owner: None: of all owners.
            before: an id: only older ones than that.
            tag: only those that have it.
        """
        select = f"""{_SELECT} WHERE (:owner IS NULL OR o.name = :owner) AND (:before IS NULL OR n.id < :before)
            AND (:tag = '' OR EXISTS (SELECT 1 FROM json_each(n.tags) WHERE value = :tag))
            ORDER BY n.created_at DESC, n.id DESC LIMIT :count"""  # noqa: S608 - nothing foreign is put in
        found = {"owner": owner, "before": _number(before) if before else None, "tag": tag, "count": count}

        def read(db: sqlite3.Connection) -> list[Note]:
            listed: list[Note] = []
            left = MAX_LISTED_CHARS
            for row in db.execute(select, found):
                left -= len(row["content"])
                if left < 0 and listed:
                    break
                listed.append(_to_note(row))
            return listed

        return await self._db.read(read)

    async def versions(self, owner: str, id: str) -> list[NoteVersion]:
        """The former ones, the newest first."""

        def read(db: sqlite3.Connection) -> list[NoteVersion]:
            select = """SELECT v.* FROM versions v JOIN owners o ON o.number = v.owner
                WHERE o.name = ? AND v.id = ? ORDER BY v.version DESC"""
            return [
                NoteVersion(row["version"], *_texts(row), until=row["until"])
                for row in db.execute(select, (owner, _number(id)))
            ]

        return await self._db.read(read)

    async def by_words(self, owner: str, query: str, count: int) -> list[int]:
        """Ids of the notes that have words of the query, the best first."""

        def read(db: sqlite3.Connection) -> list[int]:
            number = _owner(db, owner)
            return words.search(db, number, query, count) if number is not None else []

        return await self._db.read(read)

    async def without_vector(self, model: str, count: int, skip: int) -> list[Note]:
        """The oldest that have none of this model, after the first `skip` of them."""
        select = f"""{_SELECT} WHERE NOT EXISTS
            (SELECT 1 FROM vectors v WHERE v.owner = n.owner AND v.id = n.id AND v.model = ?)
            ORDER BY n.rowid LIMIT ? OFFSET ?"""  # noqa: S608
        return await self._db.read(lambda db: [_to_note(row) for row in db.execute(select, (model, count, skip))])

    async def num_vectors(self, model: str | None) -> int:
        """Notes that have a vector of this model; None: of any."""
        count = "SELECT count(*) FROM vectors WHERE ?1 IS NULL OR model = ?1"
        return await self._db.read(lambda db: int(db.execute(count, (model,)).fetchone()[0]))

    # --- writing

    async def add(
        self, owner: str, text: Text, *, enriched: bool, links: Sequence[str] = (), vector: Vector | None = None
    ) -> Note:
        """Raises LimitHit: the owner has used up its space, or the disk is full."""
        now = self._clock.now()

        def write(db: sqlite3.Connection) -> Note:
            db.execute("INSERT OR IGNORE INTO owners (name) VALUES (?)", (owner,))
            db.execute("UPDATE owners SET last_id = last_id + 1 WHERE name = ?", (owner,))
            number, id = db.execute("SELECT number, last_id FROM owners WHERE name = ?", (owner,)).fetchone()
            if id == 1:
                words.create(db, number)
            row = (number, id, *text.columns, enriched, now, now)
            db.execute("INSERT INTO notes VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            words.put(db, number, id, text.indexed)
            _link(db, number, id, links)
            self._count(db, owner, 1, text.size + _put_vector(db, number, id, vector))
            return _note(db, owner, str(id))

        return await self._db.write(write)

    async def update(
        self,
        owner: str,
        id: str,
        change: Callable[[Text], Text],
        *,
        enriched: bool = False,
        links: Sequence[str] | None = None,
        vector: Vector | None = None,
    ) -> Note:
        """Change what a note says; what it said is kept as a version, the oldest of MAX_VERSIONS goes.

        Args:
            change: makes the new text of the present one; the same means that nothing is done.
            enriched: the model has had its part in it.
            links: in place of the present ones; None: those stay.
            vector: of the new content and context; None: that of the present ones stays, where these stay.

        Raises:
            NoSuchNote, LimitHit.
        """
        now = self._clock.now()

        def write(db: sqlite3.Connection) -> Note:
            note = _note(db, owner, id)
            number, before = _owner(db, owner), text_of(note)
            after = change(before)
            if after == before:
                return note
            assert number is not None
            key = (number, int(note.id))
            db.execute(
                "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*key, note.version, *before.columns, now)
            )
            db.execute(
                "UPDATE notes SET version = version + 1, content = ?, context = ?, keywords = ?, tags = ?, "
                "metadata = ?, enriched = ?, updated_at = ? WHERE owner = ? AND id = ?",
                (*after.columns, enriched or note.enriched, now, *key),
            )
            words.take_out(db, *key, before.indexed)
            words.put(db, *key, after.indexed)
            if links is not None:
                db.execute("DELETE FROM links WHERE owner = ? AND (a = ? OR b = ?)", (*key, key[1]))
                _link(db, *key, links)
            added = after.size - _forget_versions(db, *key)
            if (before.content, before.context) != (after.content, after.context):
                added += _put_vector(db, *key, vector)
            self._count(db, owner, 0, added)
            return _note(db, owner, id)

        return await self._db.write(write)

    async def put_vector(self, note: Note, vector: Vector) -> None:
        """Give a note a vector, unless it has gone or changed since it was read."""

        def write(db: sqlite3.Connection) -> None:
            row = _row(db, note.owner, note.id)
            if row is not None and row["version"] == note.version:
                self._count(db, note.owner, 0, _put_vector(db, row["owner"], row["id"], vector))

        await self._db.write(write)

    async def remove(self, owner: str, id: str) -> None:
        """Raises NoSuchNote."""

        def write(db: sqlite3.Connection) -> None:
            note = _note(db, owner, id)
            number = _owner(db, owner)
            assert number is not None
            key = (number, int(note.id))
            sizes = [text_of(note).size, _put_vector(db, *key, None)]
            sizes += [_text_of_row(row).size for row in db.execute(_VERSIONS, key)]
            words.take_out(db, *key, text_of(note).indexed)
            db.execute("DELETE FROM notes WHERE owner = ? AND id = ?", key)
            self._count(db, owner, -1, -sizes[0] + sizes[1] - sum(sizes[2:]))

        await self._db.write(write)

    def _count(self, db: sqlite3.Connection, owner: str, notes: int, size: int) -> None:
        """Raises LimitHit when that is more than the owner may have; less is always fine."""
        db.execute("UPDATE owners SET notes = notes + ?, bytes = bytes + ? WHERE name = ?", (notes, size, owner))
        (total,) = db.execute("SELECT bytes FROM owners WHERE name = ?", (owner,)).fetchone()
        if size > 0 and total > self._agent_bytes:
            message = f"the notes of {owner} would take {total} bytes: at most {self._agent_bytes} are allowed"
            raise LimitHit(message, limit=self._agent_bytes)


_VERSIONS: Final = "SELECT * FROM versions WHERE owner = ? AND id = ? ORDER BY version"


def _number(id: str) -> int:
    """Raises NoSuchNote for what cannot be an id."""
    if not re.fullmatch(r"[1-9][0-9]{0,17}", id):
        raise _no_note(id)
    return int(id)


def _no_note(id: str) -> NoSuchNote:
    return NoSuchNote(f"no note {id!r}", id=id)


def _owner(db: sqlite3.Connection, name: str) -> int | None:
    row = db.execute("SELECT number FROM owners WHERE name = ?", (name,)).fetchone()
    return None if row is None else int(row[0])


def _row(db: sqlite3.Connection, owner: str, id: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = db.execute(f"{_SELECT} WHERE o.name = ? AND n.id = ?", (owner, _number(id))).fetchone()
    return row


def _note(db: sqlite3.Connection, owner: str, id: str) -> Note:
    row = _row(db, owner, id)
    if row is None:
        raise _no_note(id)
    return _to_note(row)


def _texts(row: sqlite3.Row) -> tuple[str, str, list[str], list[str], dict[str, Any]]:
    decode = msgspec.json.decode
    return row["content"], row["context"], decode(row["keywords"]), decode(row["tags"]), decode(row["metadata"])


def _text_of_row(row: sqlite3.Row) -> Text:
    return Text(*_texts(row))


def _to_note(row: sqlite3.Row) -> Note:
    return Note(
        str(row["id"]),
        row["name"],
        *_texts(row),
        links=[str(id) for id in msgspec.json.decode(row["linked"])],
        enriched=bool(row["enriched"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        version=row["version"],
    )


def _link(db: sqlite3.Connection, number: int, id: int, others: Iterable[str]) -> None:
    """Both ways, with those that are still there."""
    for other in {_number(other) for other in others} - {id}:
        if db.execute("SELECT 1 FROM notes WHERE owner = ? AND id = ?", (number, other)).fetchone():
            rows = [(number, id, other), (number, other, id)]
            db.executemany("INSERT OR IGNORE INTO links VALUES (?, ?, ?)", rows)


def _put_vector(db: sqlite3.Connection, number: int, id: int, vector: Vector | None) -> int:
    """Replace the vector; None removes it. Returns by how many bytes it has grown."""
    row = db.execute("SELECT length(vector) FROM vectors WHERE owner = ? AND id = ?", (number, id)).fetchone()
    before = int(row[0]) if row is not None else 0
    if vector is None:
        db.execute("DELETE FROM vectors WHERE owner = ? AND id = ?", (number, id))
        return -before
    db.execute("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", (number, id, vector.model, vector.data))
    return len(vector.data) - before


def _forget_versions(db: sqlite3.Connection, number: int, id: int) -> int:
    """Remove those beyond MAX_VERSIONS. Returns their bytes."""
    rows = db.execute(_VERSIONS, (number, id)).fetchall()[:-MAX_VERSIONS]
    db.executemany(
        "DELETE FROM versions WHERE owner = ? AND id = ? AND version = ?", [(number, id, r["version"]) for r in rows]
    )
    return sum(_text_of_row(row).size for row in rows)

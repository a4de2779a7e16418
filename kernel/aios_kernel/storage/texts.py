"""What searches find: the words of one agent's texts (SQLite's FTS5, ranked by BM25), and passages by their meaning.

All of it blocks, on the connection of the agent's index.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_INDEXED: Final = 256 << 10  # bytes of a text that are indexed, from its beginning
MAX_WORDS: Final = 32  # of a query
PASSAGE_CHARS: Final = 1_000  # about 250 tokens: what small embedding models take whole
MAX_PASSAGES: Final = 8  # of one text
MAX_VECTORS: Final = 32_768  # of one agent: 50 MB at 384 dimensions; texts beyond are found by their words alone
SHOWN_CHARS: Final = 160  # of the place that a hit is about
ENDING_CHARS: Final = 3  # at the end of a longer word that may differ where a line is chosen: "deleted", "deletes"

Stamp = tuple[int, int]  # size, mtime_ns
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Passage:
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Unembedded:
    """A text whose passages have no vectors yet."""

    id: int
    passages: list[Passage]


class Texts:
    """The texts of one agent. Writes belong into the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._matrix: tuple[list[tuple[int, int]], Vectors] | None = None  # (text, line) of each row

    # --- keeping up with the files

    def put(self, path: str, stamp: Stamp, data: bytes) -> None:
        """Index a file by its name, and by its words where it is text."""
        self.drop(path)
        text = text_of(data)
        row = self._db.execute("INSERT INTO texts VALUES (NULL, ?, ?, ?, ?)", (path, *stamp, int(not text)))
        self._db.execute("INSERT INTO words (rowid, path, text) VALUES (?, ?, ?)", (row.lastrowid, path, text))

    def drop(self, path: str) -> None:
        if self._db.execute("DELETE FROM texts WHERE path = ?", (path,)).rowcount:
            self._matrix = None

    def rename(self, path: str, to: str) -> None:
        self.drop(to)
        rows = self._db.execute("UPDATE texts SET path = ? WHERE path = ? RETURNING id", (to, path)).fetchall()
        for (id,) in rows:
            self._db.execute("UPDATE words SET path = ? WHERE rowid = ?", (to, id))

    def stamps(self) -> dict[str, Stamp]:
        """Of each text, what its file was when it was read."""
        return {path: (size, mtime) for path, size, mtime in self._db.execute("SELECT path, size, mtime_ns FROM texts")}

    # --- words

    def by_words(self, query: str, limit: int, below: str = "") -> list[tuple[int, Passage]]:
        """The best texts in a folder, first those with all words, then those with some; each with the line to show."""
        words = list(dict.fromkeys(re.findall(r"\w+", query.lower())))[:MAX_WORDS]
        if not words:
            return []
        ids: list[int] = []
        for joint in (" AND ", " OR ") if len(words) > 1 else (" AND ",):
            ids += [id for id in self._match(joint.join(f'"{word}"' for word in words), limit, below) if id not in ids]
            if len(ids) >= limit:
                break
        return [(id, _best_line(self._text(id), words)) for id in ids[:limit]]

    def _match(self, expression: str, limit: int, below: str) -> list[int]:
        folder = " AND rowid IN (SELECT id FROM texts WHERE path > ? AND path < ?)" if below else ""
        ranked = "AND rank MATCH 'bm25(3.0, 1.0)' ORDER BY rank"  # a word in the name counts as three in the text
        rows = self._db.execute(
            f"SELECT rowid FROM words WHERE words MATCH ?{folder} {ranked} LIMIT ?",  # noqa: S608 - our own words
            (expression, *(_range(below) if below else ()), limit),
        )
        return [id for (id,) in rows]

    def path(self, id: int) -> str:
        (path,) = self._db.execute("SELECT path FROM texts WHERE id = ?", (id,)).fetchone()
        return str(path)

    def _text(self, id: int) -> str:
        (text,) = self._db.execute("SELECT text FROM words WHERE rowid = ?", (id,)).fetchone()
        return str(text)

    # --- meaning

    def num_unembedded(self) -> int:
        (count,) = self._db.execute("SELECT count(*) FROM texts WHERE embedded = 0").fetchone()
        return int(count)

    def unembedded(self, limit: int) -> list[Unembedded]:
        """Some texts to embed, the newest first."""
        rows = self._db.execute("SELECT id FROM texts WHERE embedded = 0 ORDER BY id DESC LIMIT ?", (limit,))
        return [Unembedded(id, list(passages_of(self._text(id)))) for (id,) in rows.fetchall()]

    def add_vectors(self, text: Unembedded, vectors: Sequence[Sequence[float]]) -> None:
        """Keep the vectors of a text's passages, unless the text has gone meanwhile or there are too many already."""
        found = self._db.execute("UPDATE texts SET embedded = 1 WHERE id = ?", (text.id,)).rowcount
        (count,) = self._db.execute("SELECT count(*) FROM passages").fetchone()
        if not found or count + len(vectors) > MAX_VECTORS:
            return
        rows = [
            (text.id, passage.line, _normal(vector).tobytes())
            for passage, vector in zip(text.passages, vectors, strict=True)
        ]
        self._db.executemany("INSERT INTO passages VALUES (?, ?, ?)", rows)
        self._matrix = None

    def forget_vectors(self) -> None:
        """They are another model's."""
        self._db.execute("DELETE FROM passages")
        self._db.execute("UPDATE texts SET embedded = 0 WHERE id IN (SELECT rowid FROM words WHERE text != '')")
        self._matrix = None

    def probe(self) -> list[float] | None:
        """What the model of the vectors made of the text that tells models apart."""
        row = self._db.execute("SELECT value FROM facts WHERE name = 'probe'").fetchone()
        return np.frombuffer(row[0], dtype=np.float32).tolist() if row else None

    def set_probe(self, vector: Sequence[float]) -> None:
        value = np.asarray(vector, dtype=np.float32).tobytes()
        self._db.execute("INSERT OR REPLACE INTO facts VALUES ('probe', ?)", (value,))

    def by_meaning(self, query: Sequence[float], limit: int, below: str = "") -> list[tuple[int, Passage]]:
        """The texts in a folder with the nearest passages, by cosine, each with its best one."""
        rows, matrix = self._vectors()
        vector = _normal(query)
        inside = self._ids(below) if below else None
        if not rows or matrix.shape[1] != vector.size:
            return []
        cosines = np.einsum("ij,j->i", matrix, vector)  # not `@`: BLAS would wake threads that spin beside the engine's
        order = np.argsort(-cosines, kind="stable")
        best: dict[int, int] = {}
        for index in order:
            text, line = rows[int(index)]
            if inside is not None and text not in inside:
                continue
            best.setdefault(text, line)
            if len(best) == limit:
                break
        return [(text, Passage(line, _shown(self._line(text, line)))) for text, line in best.items()]

    def _vectors(self) -> tuple[list[tuple[int, int]], Vectors]:
        if self._matrix is None:
            rows = self._db.execute("SELECT text, line, vector FROM passages").fetchall()
            flat = np.frombuffer(b"".join(row[2] for row in rows), dtype=np.float32)
            matrix = flat.reshape(len(rows), -1) if rows else flat.reshape(0, 0)
            self._matrix = [(row[0], row[1]) for row in rows], matrix
        return self._matrix

    def _ids(self, below: str) -> set[int]:
        return {id for (id,) in self._db.execute("SELECT id FROM texts WHERE path > ? AND path < ?", _range(below))}

    def _line(self, id: int, line: int) -> str:
        return self._text(id).split("\n")[line - 1]


def text_of(data: bytes) -> str:
    """What is indexed of a file: the beginning of a UTF-8 text; nothing of anything else."""
    head = data[:MAX_INDEXED]
    if b"\0" in head:
        return ""
    # The cut may fall into a character; anything else that is no UTF-8 says that this is no text.
    text = head.decode(errors="ignore")
    return text if len(head) - len(text.encode()) < (4 if len(data) > len(head) else 1) else ""


def passages_of(text: str) -> Iterator[Passage]:
    """The first passages of a text, cut between lines where these are not too long themselves."""
    lines: list[str] = []
    start, count, size = 1, 0, 0
    for number, line in enumerate(text.split("\n"), 1):
        if lines and (size + len(line) > PASSAGE_CHARS or (not line.strip() and size > PASSAGE_CHARS // 2)):
            yield Passage(start, "\n".join(lines)[:PASSAGE_CHARS])
            count, lines, size = count + 1, [], 0
            if count == MAX_PASSAGES:
                return
        if line.strip():
            start = number if not lines else start
            lines.append(line)
            size += len(line) + 1
    if lines:
        yield Passage(start, "\n".join(lines)[:PASSAGE_CHARS])


def _range(folder: str) -> tuple[str, str]:
    """Bounds of the paths in a folder: `0` is the character after `/`."""
    return folder + "/", folder + "0"


def _best_line(text: str, words: list[str]) -> Passage:
    """The line with the most of the words, the first of several."""
    stems = [word[: max(ENDING_CHARS + 1, len(word) - ENDING_CHARS)] for word in words]
    best, most = Passage(1, ""), -1
    for number, line in enumerate(text.split("\n"), 1):
        lowered = line.lower()
        count = sum(stem in lowered for stem in stems)
        if count > most:
            best, most = Passage(number, line), count
        if most == len(words):
            break
    return Passage(best.line, _shown(best.text, stems))


def _shown(line: str, words: Sequence[str] = ()) -> str:
    """A line cut to what is worth showing, around the first of the words."""
    line = " ".join(line.split())
    if len(line) <= SHOWN_CHARS:
        return line
    places = [place for word in words if (place := line.lower().find(word)) >= 0]
    start = max(0, min(places, default=0) - SHOWN_CHARS // 4)
    cut = line[start : start + SHOWN_CHARS]
    return ("…" if start else "") + cut + ("…" if start + SHOWN_CHARS < len(line) else "")


def _normal(vector: Sequence[float]) -> Vectors:
    array = np.asarray(vector, dtype=np.float32)
    length = float(np.linalg.norm(array))
    return array / length if length else array

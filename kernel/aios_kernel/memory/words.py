"""The index of an owner's words: an FTS5 table of its own.

It holds no texts, so what is taken out has to be said again (sqlite.org/fts5.html, 4.4.3).
"""

from __future__ import annotations

import re
import sqlite3
from typing import Final

Texts = tuple[str, str, str, str]  # content, context, keywords, tags

MAX_WORDS: Final = 16  # of a search, the first ones

_COLUMNS: Final = "content, context, keywords, tags"
_WEIGHTS: Final = "1.0, 0.5, 2.0, 2.0"  # of a word found in these


def create(db: sqlite3.Connection, owner: int) -> None:
    options = "content='', tokenize='porter unicode61'"
    db.execute(f"CREATE VIRTUAL TABLE {_table(owner)} USING fts5({_COLUMNS}, {options})")


def put(db: sqlite3.Connection, owner: int, id: int, texts: Texts) -> None:
    db.execute(f"INSERT INTO {_table(owner)} (rowid, {_COLUMNS}) VALUES (?, ?, ?, ?, ?)", (id, *texts))  # noqa: S608 - its name is a number


def take_out(db: sqlite3.Connection, owner: int, id: int, texts: Texts) -> None:
    """texts: as they were put."""
    table = _table(owner)
    insert = f"INSERT INTO {table} ({table}, rowid, {_COLUMNS}) VALUES ('delete', ?, ?, ?, ?, ?)"  # noqa: S608
    db.execute(insert, (id, *texts))


def search(db: sqlite3.Connection, owner: int, query: str, count: int) -> list[int]:
    """Ids of what has any of the query's words, the best first (BM25)."""
    match, table = match_any(query), _table(owner)
    if not match:
        return []
    order = f"bm25({table}, {_WEIGHTS}), rowid"
    select = f"SELECT rowid FROM {table} WHERE {table} MATCH ? ORDER BY {order} LIMIT ?"  # noqa: S608
    return [row[0] for row in db.execute(select, (match, count))]


def match_any(query: str) -> str:
    """An FTS5 expression for any of the query's words; "" when it has none."""
    words = dict.fromkeys(re.findall(r"\w+", query.casefold()))
    return " OR ".join(f'"{word}"' for word in list(words)[:MAX_WORDS])


def _table(owner: int) -> str:
    return f"words_{owner:d}"

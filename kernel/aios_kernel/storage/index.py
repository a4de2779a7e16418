"""What one agent keeps, in SQLite: its files, their versions, its bin, and how much all that is.

Counts are kept by triggers, so no change of a row can forget them; `check_invariants` counts anew. One connection,
which one thread at a time uses. All of it blocks and raises sqlite3.Error.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aios_kernel.errors import InternalError
from aios_kernel.protocol import VersionInfo
from aios_kernel.sqlite import connect, sqlite_error
from aios_kernel.storage.contents import Contents
from aios_kernel.storage.jail import Found

_SCHEMA: Final = """
CREATE TABLE files (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL,
    version INTEGER NOT NULL,      -- the newest
    size INTEGER NOT NULL,         -- and the time of what the kernel last saw there
    mtime_ns INTEGER NOT NULL,
    deleted_at REAL                -- it is in the bin since
);
CREATE UNIQUE INDEX live ON files (path) WHERE deleted_at IS NULL;
CREATE INDEX bin ON files (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE TABLE versions (
    file INTEGER NOT NULL REFERENCES files ON DELETE CASCADE,
    version INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    at REAL NOT NULL,
    pid INTEGER NOT NULL,
    what TEXT NOT NULL,
    PRIMARY KEY (file, version)
) WITHOUT ROWID;
CREATE TABLE contents (sha256 TEXT PRIMARY KEY, size INTEGER NOT NULL, refs INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX unused ON contents (refs) WHERE refs = 0;
CREATE TABLE usage (files INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO usage VALUES (0, 0);

CREATE TRIGGER version_comes AFTER INSERT ON versions BEGIN
    UPDATE contents SET refs = refs + 1 WHERE sha256 = new.sha256;
END;
CREATE TRIGGER version_goes AFTER DELETE ON versions BEGIN
    UPDATE contents SET refs = refs - 1 WHERE sha256 = old.sha256;
END;
CREATE TRIGGER content_comes AFTER INSERT ON contents BEGIN
    UPDATE usage SET bytes = bytes + new.size;
END;
CREATE TRIGGER content_goes AFTER DELETE ON contents BEGIN
    UPDATE usage SET bytes = bytes - old.size;
END;
CREATE TRIGGER file_comes AFTER INSERT ON files BEGIN UPDATE usage SET files = files + 1; END;
CREATE TRIGGER file_goes AFTER DELETE ON files BEGIN UPDATE usage SET files = files - 1; END;

-- what searches find: the texts, with the stamp of the file that each was read from
CREATE TABLE texts (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    embedded INTEGER NOT NULL DEFAULT 0);
CREATE INDEX unembedded ON texts (id) WHERE embedded = 0;
CREATE VIRTUAL TABLE words USING fts5 (path, text, tokenize = 'porter unicode61 remove_diacritics 2');
CREATE TABLE passages (text INTEGER NOT NULL, line INTEGER NOT NULL, vector BLOB NOT NULL);
CREATE INDEX passages_of ON passages (text);
CREATE TRIGGER text_goes AFTER DELETE ON texts BEGIN
    DELETE FROM words WHERE rowid = old.id;
    DELETE FROM passages WHERE text = old.id;
END;
CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
"""
_VERSION: Final = 1  # of the schema, in user_version
BUSY_S: Final = 10.0  # for another program that has the file open


@dataclass(frozen=True, slots=True)
class File:
    """A row of `files`. deleted_at: None: it is there."""

    id: int
    path: str
    version: int
    size: int
    mtime_ns: int
    deleted_at: float | None = None

    def is_of(self, found: Found | None) -> bool:
        """Whether nobody else has changed what is there."""
        return found is not None and found.stamp == (self.size, self.mtime_ns)


class Index:
    """One agent's database."""

    def __init__(self, path: Path) -> None:
        """Opens it, made when there is none. Raises LimitHit (the disk is full), InternalError."""
        try:
            self.db = connect(path, busy_s=BUSY_S, auto_vacuum=True)
            (version,) = self.db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                self.db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        except sqlite3.Error as error:
            raise sqlite_error(str(path), error) from error
        if version not in (0, _VERSION):
            raise InternalError(f"{path} is of another version of the kernel", path=str(path))
        self.contents: Final = Contents(self.db)

    def close(self) -> None:
        self.db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block's changes, durable when it ends, or none."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.contents.forget_unused()
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise

    # --- files

    def file(self, path: str) -> File | None:
        """The live one of this path."""
        return self._file("SELECT * FROM files WHERE path = ? AND deleted_at IS NULL", path)

    def below(self, path: str) -> list[File]:
        """The live ones in a folder and all folders in it; "" is the root."""
        where, arguments = _below(path)
        return self._files(f"SELECT * FROM files WHERE deleted_at IS NULL AND {where} ORDER BY path", *arguments)  # noqa: S608 - our own words

    def in_folder(self, path: str) -> dict[str, int]:
        """Newest versions of a folder's own files, by path."""
        where, arguments = _below(path)
        rows = self.db.execute(
            f"SELECT path, version FROM files WHERE deleted_at IS NULL AND {where}"  # noqa: S608 - our own words
            " AND instr(substr(path, ?), '/') = 0",
            (*arguments, len(path) + 2 if path else 1),
        )
        return dict(rows.fetchall())

    def add(self, path: str) -> File:
        """A file without versions yet."""
        row = self.db.execute("INSERT INTO files VALUES (NULL, ?, 0, 0, 0, NULL)", (path,))
        assert row.lastrowid is not None
        return File(row.lastrowid, path, 0, 0, 0)

    def saw(self, file: File, found: Found) -> None:
        """Note what the file is now."""
        self.db.execute("UPDATE files SET size = ?, mtime_ns = ? WHERE id = ?", (*found.stamp, file.id))

    def rename(self, file: File, path: str) -> None:
        self.db.execute("UPDATE files SET path = ? WHERE id = ?", (path, file.id))

    # --- versions

    def add_version(self, file: File, sha256: str, size: int, at: float, pid: int, what: str) -> int:
        """Returns its number."""
        version = file.version + 1
        self.db.execute("INSERT INTO versions VALUES (?,?,?,?,?,?,?)", (file.id, version, sha256, size, at, pid, what))
        self.db.execute("UPDATE files SET version = ? WHERE id = ?", (version, file.id))
        return version

    def version(self, file: File, version: int) -> VersionInfo | None:
        rows = self.db.execute(f"{_VERSIONS} WHERE file = ? AND version = ?", (file.id, version)).fetchall()
        return VersionInfo(*rows[0]) if rows else None

    def versions(self, file: File) -> list[VersionInfo]:
        """The newest first."""
        rows = self.db.execute(f"{_VERSIONS} WHERE file = ? ORDER BY version DESC", (file.id,))
        return [VersionInfo(*row) for row in rows]

    def prune(self, file: File, keep: int) -> None:
        """Let the oldest versions go."""
        self.db.execute("DELETE FROM versions WHERE file = ? AND version <= ?", (file.id, file.version + 1 - keep))
        self.contents.forget_unused()

    def usage(self) -> tuple[int, int]:
        """Files, those in the bin too, and bytes."""
        files, size = self.db.execute("SELECT files, bytes FROM usage").fetchone()
        return files, size

    # --- facts

    def fact(self, name: str) -> bytes | None:
        row = self.db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def set_fact(self, name: str, value: bytes) -> None:
        self.db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def drop_fact(self, name: str) -> None:
        self.db.execute("DELETE FROM facts WHERE name = ?", (name,))

    # --- the bin

    def discard(self, file: File, at: float) -> None:
        self.db.execute("UPDATE files SET deleted_at = ? WHERE id = ?", (at, file.id))

    def revive(self, file: File, path: str) -> None:
        self.db.execute("UPDATE files SET deleted_at = NULL, path = ? WHERE id = ?", (path, file.id))

    def deleted(self, id: int) -> File | None:
        return self._file("SELECT * FROM files WHERE id = ? AND deleted_at IS NOT NULL", id)

    def newest_deleted(self, path: str) -> File | None:
        return self._file(
            "SELECT * FROM files WHERE path = ? AND deleted_at IS NOT NULL ORDER BY deleted_at DESC, id DESC LIMIT 1",
            path,
        )

    def bin(self) -> list[tuple[File, int, int]]:
        """What has been deleted, the newest first, each with its size and number of versions."""
        rows = self.db.execute(
            "SELECT f.*, v.size, (SELECT count(*) FROM versions WHERE file = f.id) FROM files f"
            " JOIN versions v ON v.file = f.id AND v.version = f.version"
            " WHERE deleted_at IS NOT NULL ORDER BY deleted_at DESC, f.id DESC"
        )
        return [(File(*row[:-2]), row[-2], row[-1]) for row in rows]

    def purge(self, before: float) -> int:
        """Let go of what was deleted by then. Returns how many."""
        return self.db.execute("DELETE FROM files WHERE deleted_at <= ?", (before,)).rowcount

    def shrink(self) -> None:
        """Give what was let go of back to the disk."""
        self.db.executescript("PRAGMA incremental_vacuum")  # `execute` would end it after a page

    def _file(self, query: str, *arguments: Any) -> File | None:
        files = self._files(query, *arguments)
        return files[0] if files else None

    def _files(self, query: str, *arguments: Any) -> list[File]:
        return [File(*row) for row in self.db.execute(query, arguments)]

    def check_invariants(self) -> None:
        """Re-count everything. Raises AssertionError."""

        def one(query: str) -> tuple[Any, ...]:
            row: tuple[Any, ...] = self.db.execute(query).fetchone()
            return row

        assert one("PRAGMA integrity_check") == ("ok",), "the database is damaged"
        counted = one("SELECT (SELECT count(*) FROM files), (SELECT coalesce(sum(size), 0) FROM contents)")
        assert self.usage() == counted, f"usage says {self.usage()}, there are {counted}"
        refs = self.db.execute("SELECT sha256, size, count(*) FROM versions GROUP BY 1, 2 ORDER BY 1").fetchall()
        kept = self.db.execute("SELECT sha256, size, refs FROM contents ORDER BY 1").fetchall()
        assert refs == kept, f"versions have {refs}, contents {kept}"
        heads = one(
            "SELECT count(*) FROM files f WHERE version IS NOT (SELECT max(version) FROM versions WHERE file = f.id)"
        )
        assert heads == (0,), f"{heads} files whose newest version is another"


_VERSIONS: Final = "SELECT version, size, sha256, at, pid, what FROM versions"


def _below(path: str) -> tuple[str, tuple[str, ...]]:
    """A condition on paths. `0` is the character after `/`."""
    return ("path > ? AND path < ?", (path + "/", path + "0")) if path else ("1", ())

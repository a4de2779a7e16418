"""Contents by their SHA-256, compressed, each kept once: rows of one agent's index, written and forgotten with others.

In the database rather than in files: what a change writes is durable with one commit, and nothing half done is left.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from typing import Final

from aios_kernel.errors import InternalError

LEVEL: Final = 1  # of zlib: 8.4 MB of text in 0.11 s to 3.2 MB; level 6 takes 0.30 s for 2.5 MB


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Contents:
    """Blocks, and raises sqlite3.Error."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def put(self, data: bytes) -> str:
        """Keep `data` until the end of the transaction, and for as long as a version names it. Returns its digest."""
        sha256 = digest(data)
        if self._db.execute("SELECT 1 FROM contents WHERE sha256 = ?", (sha256,)).fetchone() is None:
            row = (sha256, len(data), zlib.compress(data, LEVEL))
            self._db.execute("INSERT INTO contents VALUES (?, ?, 0, ?)", row)
        return sha256

    def get(self, sha256: str, size: int) -> bytes:
        """The content of this digest and size. Raises InternalError when it is not that any more."""
        (packed,) = self._db.execute("SELECT data FROM contents WHERE sha256 = ?", (sha256,)).fetchone()
        try:
            data = zlib.decompressobj().decompress(packed, size + 1)  # a bound: damage may unpack to anything
        except zlib.error as error:
            raise InternalError(f"a kept version is damaged: {error}", sha256=sha256) from error
        if len(data) != size or digest(data) != sha256:
            raise InternalError("a kept version is damaged", sha256=sha256)
        return data

    def forget_unused(self) -> None:
        """Let go of those that no version names."""
        self._db.execute("DELETE FROM contents WHERE refs = 0")

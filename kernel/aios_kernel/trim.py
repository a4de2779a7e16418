"""What keeps the journal below its bound: events and syscalls of processes that ended go, the lowest pids first.

They go a piece at a time, each a transaction of up to 0.2 s, so that new rows are committed between them. The file does
not shrink: DuckDB writes new rows where old ones were, once a checkpoint has found whole row groups deleted, which is
why `duck` makes small ones.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any, Final

import duckdb

from aios_kernel.clock import Clock
from aios_kernel.duck import DuckFile

log = logging.getLogger(__name__)

_LEFT: Final = 0.75  # of the bound, after a round
_NUM_PIECES: Final = 32  # of all that could go, at least
_PIECE_ROWS: Final = 20_000  # of a piece, at most, unless one process has more
# Tables and the bytes of one of their rows. Those of starts and ends stay: they are small, and tell who there was.
_BULK: Final = {"events": "octet_length(data)", "calls": "strlen(concat(args, result, error))"}
_ROWS: Final = """
SELECT pid, count(*) FROM (SELECT pid FROM events UNION ALL SELECT pid FROM calls)
WHERE pid IN (SELECT pid FROM ends) GROUP BY pid ORDER BY pid
"""
_OF: Final = "WHERE pid BETWEEN ? AND ? AND list_contains(?, pid)"  # between: only their row groups are looked at


class Trimmer:
    """One round after another; writer's thread only.

    Attributes:
        active: a round goes on: `step` is to be called.
    """

    def __init__(self, db: DuckFile[Any], max_bytes: float, clock: Clock) -> None:
        self.active = False
        self._db = db
        self._max_bytes = max_bytes
        self._clock = clock
        self._pieces: Iterator[list[int]] = iter(())
        self._gone: list[int] = []
        self._before = 0  # bytes, when the round began
        self._left = 0.0  # bytes, as far as it has come

    def check(self) -> None:
        """Begin a round where the journal is too large; to be called after a checkpoint. Never raises."""
        if self.active:
            return
        with self._excused():
            self._before = self._db.used_bytes()
            if self._before > self._max_bytes:
                rows = self._db.connection.execute(_ROWS).fetchall()
                self._pieces, self._gone, self._left = _pieces(rows), [], self._before
                self.active = bool(rows)

    def step(self) -> None:
        """Let a piece go. Never raises: what fails is tried again after a later checkpoint."""
        with self._excused():
            piece = next(self._pieces, None) if self._left > self._max_bytes * _LEFT else None
            if piece is not None:
                self._left -= self._drop(piece)
                self._gone += piece
                return
            self.active = False
            self._db.checkpoint()
            log.warning(
                "the journal had %d MiB: events and syscalls of %d processes, %d to %d, are no longer kept; it has %d",
                self._before >> 20,
                len(self._gone),
                self._gone[0],
                self._gone[-1],
                self._db.used_bytes() >> 20,
            )

    def _drop(self, pids: list[int]) -> int:
        """Returns how many bytes have gone. Raises duckdb.Error."""
        connection, of, num_bytes = self._db.connection, [pids[0], pids[-1], pids], 0
        connection.begin()
        try:
            for table, row_bytes in _BULK.items():
                found = connection.execute(f"SELECT sum({row_bytes}) FROM {table} {_OF}", of).fetchone()  # noqa: S608 - ours
                num_bytes += int(found[0] or 0) if found else 0
                connection.execute(f"DELETE FROM {table} {_OF}", of)  # noqa: S608 - ours
            connection.execute("INSERT INTO trims SELECT unnest(?::BIGINT[]), ?", [pids, self._clock.now()])
            connection.commit()
        except duckdb.Error:
            with contextlib.suppress(duckdb.Error):  # a failed commit has rolled back already
                connection.rollback()
            raise
        return num_bytes

    @contextlib.contextmanager
    def _excused(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            self.active = False
            log.error("the journal could not be made smaller: %s", error)
            self._db.revive(error)


def _pieces(rows: list[tuple[int, int]]) -> Iterator[list[int]]:
    """Pids of processes that go together. rows: a pid, and how many rows it has."""
    most = min(_PIECE_ROWS, sum(num for _, num in rows) // _NUM_PIECES)
    piece: list[int] = []
    num_rows = 0
    for pid, num in rows:
        if piece and num_rows + num > most:
            yield piece
            piece, num_rows = [], 0
        piece.append(pid)
        num_rows += num
    if piece:
        yield piece

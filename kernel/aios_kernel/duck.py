"""One DuckDB file that one thread writes, and that a full disk does not end.

A checkpoint that the disk has no room for invalidates the whole database (seen in 2.0.0): it is not made before there
is room, and where that breaks off all the same the file is opened again, with every row that was committed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import duckdb

log = logging.getLogger(__name__)

T = TypeVar("T")

CHECKPOINT_BYTES: Final = 16 << 20  # of the write-ahead log when it is moved into the file; DuckDB's own default
# Working memory: the rows are small and read in pages. Threads: the cores are the model's. Checkpoints: see `tend`.
_SETTINGS: Final[dict[str, str | bool | int | float | list[str]]] = {
    "memory_limit": "256MB",
    "threads": 1,
    "checkpoint_threshold": "1TB",
}
_NUM_READERS: Final = 2


class DuckFile(Generic[T]):
    """The open file. One thread opens it, another writes, `read` is the event loop's.

    Args:
        prepare: makes what the writer needs from a connection, whenever the file is opened.

    Attributes:
        connection, prepared: the writer's.
    """

    def __init__(self, path: Path, prepare: Callable[[duckdb.DuckDBPyConnection], T]) -> None:
        """Raises duckdb.Error."""
        self._path = path
        self._wal = path.with_name(path.name + ".wal")
        self._prepare = prepare
        self._checkpoint_at = CHECKPOINT_BYTES
        self._open()
        self._readers = ThreadPoolExecutor(_NUM_READERS, thread_name_prefix="journal-read")

    async def read(self, sql: str, *params: object) -> list[dict[str, Any]]:
        """Rows of one query, as dicts, over everything committed. Raises duckdb.Error."""

        def query() -> list[dict[str, Any]]:
            with self._cursors.cursor() as cursor:
                cursor.execute(sql, params)
                names = [column[0] for column in cursor.description or ()]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

        return await asyncio.get_running_loop().run_in_executor(self._readers, query)

    def close(self) -> None:
        """Checkpoint and close. Blocks; the writer's thread has ended."""
        self._readers.shutdown()
        self._cursors.close()
        try:
            self.connection.close()  # checkpoints
        except duckdb.Error as error:  # the rows are in the write-ahead log; the next open applies it
            log.error("the journal was not checkpointed: %s", error)

    # --- writer thread

    def tend(self) -> None:
        """Move the write-ahead log into the file when it is long and the disk has room for both. Never raises."""
        try:
            wal_bytes = self._wal.stat().st_size
            disk = os.statvfs(self._path)
        except OSError:  # there is no log just after a checkpoint
            return
        if wal_bytes < self._checkpoint_at or disk.f_bavail * disk.f_frsize < wal_bytes + CHECKPOINT_BYTES:
            return
        try:
            self.connection.execute("CHECKPOINT")
            self._checkpoint_at = CHECKPOINT_BYTES
        except duckdb.Error as error:
            self._checkpoint_at = wal_bytes + CHECKPOINT_BYTES
            log.error("the journal was not checkpointed: %s", error)
            self.revive(error)

    def revive(self, error: Exception) -> None:
        """Open the file again where `error` has ended the database. Where that fails the next error tries it again."""
        if not isinstance(error, (duckdb.FatalException, duckdb.ConnectionException)):
            return
        # An instance lasts as long as a connection to it: the readers wait outside meanwhile.
        parked, opened = threading.Barrier(_NUM_READERS + 1), threading.Event()
        for _ in range(_NUM_READERS):
            self._readers.submit(lambda: (parked.wait(), opened.wait()))
        parked.wait()
        try:
            self._cursors.close()
            self.connection.close()
            self._open()
        except duckdb.Error as cause:
            log.error("the journal cannot be opened again: %s", cause)
        finally:
            opened.set()

    def _open(self) -> None:
        connection = duckdb.connect(str(self._path), config=_SETTINGS)
        try:
            self.prepared = self._prepare(connection)
            self._cursors = connection.cursor()  # the readers' own: never in the writer's transaction
        except BaseException:
            connection.close()
            raise
        self.connection = connection

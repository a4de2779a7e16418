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

# Rows that are written, and whose space is freed, together. DuckDB's own 122,880 can be 8 GB of events: a checkpoint
# writes the newest group again, and one of which a single row is left frees nothing.
ROW_GROUP: Final = 2_048
CHECKPOINT_BYTES: Final = 16 << 20  # of the write-ahead log when it is moved into the file; DuckDB's own default
# Working memory: the rows are small and read in pages. Threads: the cores are the model's. Checkpoints: see `tend`.
_SETTINGS: Final[dict[str, str | bool | int | float | list[str]]] = {
    "memory_limit": "256MB",
    "threads": 1,
    "checkpoint_threshold": "1TB",
}
_NUM_READERS: Final = 2
_USE: Final = "USE journal"


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
                cursor.execute(_USE)
                cursor.execute(sql, params)
                names = [column[0] for column in cursor.description or ()]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

        return await asyncio.get_running_loop().run_in_executor(self._readers, query)

    def close(self) -> None:
        """Checkpoint and close. Blocks; the writer's thread has ended."""
        self._readers.shutdown()
        self._cursors.close()
        try:
            self.connection.close()  # checkpoints, as it is the last one
        except duckdb.Error as error:  # the rows are in the write-ahead log; the next open applies it
            log.error("the journal was not checkpointed: %s", error)

    # --- writer thread

    def tend(self) -> bool:
        """Checkpoint when the write-ahead log is long. Returns whether that was done. Never raises."""
        try:
            wal_bytes = self._wal.stat().st_size
        except OSError:  # there is no log just after a checkpoint
            return False
        return wal_bytes >= self._checkpoint_at and self.checkpoint()

    def checkpoint(self) -> bool:
        """Move the write-ahead log into the file if the disk has room for both. Returns whether. Never raises."""
        try:
            wal_bytes = self._wal.stat().st_size
            disk = os.statvfs(self._path)
        except OSError:
            return False
        if disk.f_bavail * disk.f_frsize < wal_bytes + CHECKPOINT_BYTES:
            return False
        try:
            self.connection.execute("CHECKPOINT")
            self._checkpoint_at = CHECKPOINT_BYTES
        except duckdb.Error as error:
            self._checkpoint_at = wal_bytes + CHECKPOINT_BYTES
            log.error("the journal was not checkpointed: %s", error)
            self.revive(error)
            return False
        return True

    def used_bytes(self) -> int:
        """Of the file, without what a checkpoint has freed. Raises duckdb.Error."""
        sql = "SELECT used_blocks * block_size FROM pragma_database_size() WHERE database_name = 'journal'"
        found = self.connection.execute(sql).fetchone()
        assert found is not None
        return int(found[0])

    def revive(self, error: Exception) -> None:
        """Open the file again where `error` has ended the database. Where that fails the next error tries it again."""
        fatal = isinstance(error, (duckdb.FatalException, duckdb.ConnectionException))
        if not fatal and "has been invalidated" not in str(error):  # which is an IOException like others
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
        # In memory, with the file attached, as only so its row groups can be chosen.
        connection = duckdb.connect(config=_SETTINGS | {"temp_directory": f"{self._path}.tmp"})
        try:
            path = str(self._path).replace("'", "''")
            connection.execute(f"ATTACH '{path}' AS journal (ROW_GROUP_SIZE {ROW_GROUP})")
            connection.execute(_USE)
            self.prepared = self._prepare(connection)
            self._cursors = connection.cursor()  # the readers' own: never in the writer's transaction
        except BaseException:
            connection.close()
            raise
        self.connection = connection

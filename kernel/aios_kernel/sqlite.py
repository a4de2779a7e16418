"""SQLite behind the event loop: one thread writes, in groups that share a commit; others read what is committed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, Self, TypeVar

from aios_kernel.durable import disk_error, retrieve
from aios_kernel.errors import InternalError, KernelError, LimitHit

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

NUM_READERS: Final = 2
BUSY_S: Final = 5.0  # a reader meets a lock only where the log of changes is moved into the file
MAX_BATCH: Final = 500  # writes of one transaction: bounds how long the first waits for the last


@dataclass(slots=True, eq=False)
class _Write(Generic[T]):
    work: Work[T]
    done: asyncio.Future[T]
    result: T | None = None
    error: KernelError | None = None


class Database:
    """One open file. `open` it on one thread, use it from one event loop, `close` it last."""

    def __init__(self, path: Path, writer: sqlite3.Connection, *, durable: bool) -> None:
        self._path = path
        self._durable = durable
        self._writer = writer
        self._queue: queue.SimpleQueue[_Write[Any] | None] = queue.SimpleQueue()
        self._own = threading.local()  # each reader's connection
        self._connections: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(NUM_READERS, thread_name_prefix=f"{path.stem}-read")
        self._closed = False
        self._thread = threading.Thread(target=self._write_loop, name=path.stem, daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, path: Path, schema: str, *, durable: bool = True) -> Self:
        """Open or create a file.

        Args:
            schema: statements that create what is missing.
            durable: False: the file is worth nothing later; it begins empty, is removed at the end, and never synced.

        Raises:
            LimitHit: the disk is full.
            InternalError: another program holds it, it is damaged, or this SQLite has no FTS5; one line says which.
        """
        try:
            if not durable:
                _remove(path)
            connection = connect(path, durable=durable)
            try:
                connection.row_factory = sqlite3.Row
                connection.executescript(schema)
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise sqlite_error(f"{path} cannot be used", error) from error
        except OSError as error:
            raise disk_error(path, error) from error
        return cls(path, connection, durable=durable)

    async def write(self, work: Work[T]) -> T:
        """What `work` returns once all that it changed is durable; where it raises, nothing of it is done.

        A caller that is cancelled leaves it to its end.

        Raises:
            LimitHit: the disk is full; InternalError; and what `work` raises.
        """
        return await asyncio.shield(self.post(work))

    def post(self, work: Work[T]) -> asyncio.Future[T]:
        """The same, as a future that nobody has to wait for. Writes take effect in the order of these calls."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        done.add_done_callback(retrieve)
        if self._closed:
            done.set_exception(InternalError(f"{self._path.name} is closed"))
        else:
            self._queue.put(_Write(work, done))
        return done

    async def read(self, work: Work[T]) -> T:
        """What `work` returns, over one state of what is committed. Raises InternalError, and what `work` raises."""
        if self._closed:
            raise InternalError(f"{self._path.name} is closed")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def close(self) -> None:
        """Finish what is queued and close the file. Blocks; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        self._readers.shutdown()
        for connection in (*self._connections, self._writer):  # the last one moves the changes into the file
            with contextlib.suppress(sqlite3.Error):
                connection.close()
        if not self._durable:
            _remove(self._path)

    def _read(self, work: Work[T]) -> T:
        try:
            if not hasattr(self._own, "connection"):
                self._own.connection = connect(self._path, durable=self._durable)
                self._own.connection.row_factory = sqlite3.Row
                self._own.connection.execute("PRAGMA query_only = ON")
                self._connections.append(self._own.connection)
            connection: sqlite3.Connection = self._own.connection
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise self._failure(error) from error

    # --- writer thread

    def _write_loop(self) -> None:
        while batch := self._gather():
            self._commit(batch)
            loop = batch[0].done.get_loop()
            try:
                loop.call_soon_threadsafe(_resolve, batch)
            except RuntimeError:  # the loop has ended: nobody waits any more
                log.debug("%s: written after the event loop's end", self._path.name)

    def _gather(self) -> list[_Write[Any]]:
        """All that has queued up, at least one; empty at the end."""
        batch: list[_Write[Any]] = []
        with contextlib.suppress(queue.Empty):
            entry = self._queue.get()
            while entry is not None:
                batch.append(entry)
                if len(batch) == MAX_BATCH:
                    return batch
                entry = self._queue.get_nowait()
            if batch:
                self._queue.put(None)  # the end is for the next time
        return batch

    def _commit(self, batch: list[_Write[Any]]) -> None:
        """Do all of it in one transaction. One that fails is undone alone."""
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for write in batch:
                self._do(write)
            self._writer.execute("COMMIT")
        except Exception as error:  # whatever it is, the next writes need this thread
            failure = self._failure(error)
            for write in batch:
                write.error = write.error or failure
            with contextlib.suppress(sqlite3.Error):  # it may have been rolled back already
                self._writer.execute("ROLLBACK")

    def _do(self, write: _Write[Any]) -> None:
        self._writer.execute("SAVEPOINT one")
        try:
            write.result = write.work(self._writer)
        except Exception as error:
            if not self._writer.in_transaction:  # a full disk has ended all of it
                raise
            self._writer.execute("ROLLBACK TO one")
            write.error = self._failure(error)
        self._writer.execute("RELEASE one")

    def _failure(self, error: Exception) -> KernelError:
        if isinstance(error, KernelError):
            return error
        name = self._path.name
        if isinstance(error, sqlite3.Error):
            failure = sqlite_error(name, error)
        else:
            failure = InternalError(f"{name}: {type(error).__name__}: {error}")
        if isinstance(failure, InternalError):
            log.error("%s", name, exc_info=error)
        return failure


def sqlite_error(what: str, error: sqlite3.Error) -> KernelError:
    """What a failure of SQLite is called here: LimitHit when the disk is full, else InternalError."""
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return LimitHit(f"{what}: the disk is full")
    return InternalError(f"{what}: {error}")


def connect(
    path: Path, *, durable: bool = True, busy_s: float = BUSY_S, auto_vacuum: bool = False
) -> sqlite3.Connection:
    """The one way in which the kernel opens a file: what is committed survives a power cut, and readers never wait.

    Args:
        durable: False: nothing is synced.
        busy_s: how long to wait for another program that has the file open.
        auto_vacuum: a new file can give back what it has no use for (`PRAGMA incremental_vacuum`).

    Raises:
        sqlite3.Error; InternalError where this SQLite cannot search words.
    """
    connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
    try:
        if "ENABLE_FTS5" not in {row[0] for row in connection.execute("PRAGMA compile_options")}:
            raise InternalError(f"this Python's SQLite {sqlite3.sqlite_version} was built without FTS5")
        if auto_vacuum:  # before anything is in the file: its header has it
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _resolve(batch: list[_Write[Any]]) -> None:
    for write in batch:
        if write.done.done():
            continue
        if write.error is not None:
            write.done.set_exception(write.error)
        else:
            write.done.set_result(write.result)

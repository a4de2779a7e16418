"""The journal: what happened, in rows that are only ever added, in one DuckDB file that one kernel opens.

Each table is a dataclass below, a column a field. One writer thread commits whatever has queued up as one transaction
(group commit: a commit costs about 1 ms, with one row or hundreds) and then resolves what `append` returned. Rows that
no reply waits for are gathered a little longer, as every commit takes its millisecond from the model. Reads run in
worker threads on cursors, so neither ever holds the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import logging
import math
import queue
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import duckdb
import msgspec

from aios_kernel.clock import Clock
from aios_kernel.duck import DuckFile
from aios_kernel.durable import acknowledge, disk_error, retrieve
from aios_kernel.errors import InternalError, KernelError
from aios_kernel.trim import Trimmer

log = logging.getLogger(__name__)

LINGER_S: Final = 0.05  # between commits of rows that are not urgent: what a person sees of a stream lags this much
_MAX_BATCH: Final = 2_000  # rows of one transaction: bounds how long the first waits for the last
KEPT_BYTES: Final = 16 << 10  # of a syscall's arguments or result: files and notes are kept, and counted, elsewhere
KEPT_CHAT_BYTES: Final = 1 << 20  # of a conversation's: tests are made of recorded ones; more than most windows hold
_HEAD_BYTES: Final = 1_024  # of what is longer


@dataclass(frozen=True, slots=True)
class Boot:
    boot: int
    kernel_pid: int
    version: str
    started_at: float


@dataclass(frozen=True, slots=True)
class Start:
    """A process began. `request` is the RunRequest as JSON."""

    pid: int
    boot: int
    ppid: int
    agent: str
    task: str
    nice: int
    group: str
    model: str
    request: str
    started_at: float


@dataclass(frozen=True, slots=True)
class End:
    pid: int
    exit_code: int
    reason: str
    nice: int
    tokens_in: int
    tokens_out: int
    ctx_used: int
    ctx_max: int
    wait_ms: float
    exact: bool
    ended_at: float


@dataclass(frozen=True, slots=True)
class Call:
    """A syscall. `num` counts from 0 per process; `args`, `result` and `error` are JSON, long ones as `Cut`.

    One with effects has two rows: the intent, durable before it runs, and the same with how it ended. One without
    has the second alone.
    """

    pid: int
    num: int
    name: str
    args: str
    started_at: float
    result: str | None = None
    error: str | None = None
    finished_at: float | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """What is kept of JSON that is too long for a row."""

    cut: int  # its bytes
    sha256: str
    head: str  # its beginning


def kept_json(data: bytes, most: int) -> str:
    """JSON as a row has it: whole up to `most` bytes, else a Cut."""
    if len(data) <= most:
        return data.decode()
    head = data[:_HEAD_BYTES].decode(errors="ignore")
    return msgspec.json.encode(Cut(len(data), hashlib.sha256(data).hexdigest(), head)).decode()


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event of a process's life; `data` is what the agent wrote, or UTF-8 text."""

    pid: int
    seq: int
    kind: str
    data: bytes
    created_at: float


@dataclass(frozen=True, slots=True)
class Trim:
    """The events and syscalls of a process that ended went, to keep the journal below its bound."""

    pid: int
    trimmed_at: float


Record = Boot | Start | End | Call | EventRow | Trim


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    record: Record
    durable: asyncio.Future[None]
    urgent: bool

    @property
    def is_event(self) -> bool:
        """Events are one stream, for people to read; all other rows are the other, to start again from."""
        return isinstance(self.record, EventRow)


_TABLES: Final[dict[type[Record], str]] = {
    Boot: "boots",
    Start: "starts",
    End: "ends",
    Call: "calls",
    EventRow: "events",
    Trim: "trims",
}
_SQL_TYPES: Final = {"int": "BIGINT", "float": "DOUBLE", "str": "VARCHAR", "bytes": "BLOB", "bool": "BOOLEAN"}
_VIEWS: Final = """
CREATE OR REPLACE VIEW syscalls AS
    SELECT * FROM calls QUALIFY row_number() OVER (PARTITION BY pid, num ORDER BY finished_at NULLS LAST) = 1;
CREATE OR REPLACE VIEW procs AS
    SELECT s.* EXCLUDE (nice), coalesce(e.nice, s.nice) AS nice, e.* EXCLUDE (pid, nice)
    FROM starts s LEFT JOIN ends e ON e.pid = s.pid;
"""
# Processes of a kernel that died: they died with it. 137 = 128 + SIGKILL, as their host did it. One whose end got into
# one of the two streams and not into the other ended as that says.
_CLOSE_UNFINISHED: Final = """
BEGIN;
INSERT INTO ends
    SELECT pid, coalesce(code, 137), coalesce('exit ' || code, 'kernel died'), nice, 0, 0, 0, 0, 0, false, $now
    FROM starts LEFT JOIN (SELECT pid, decode(data)::BIGINT AS code FROM events WHERE kind = 'exit') USING (pid)
    WHERE pid NOT IN (SELECT pid FROM ends);
INSERT INTO events
    SELECT d.pid, coalesce(max(e.seq) + 1, 0), 'exit', encode(max(d.exit_code)::VARCHAR), $now
    FROM ends d LEFT JOIN events e ON e.pid = d.pid
    WHERE d.pid NOT IN (SELECT pid FROM events WHERE kind = 'exit')
        AND d.pid NOT IN (SELECT pid FROM trims) GROUP BY d.pid;
COMMIT;
"""


def _columns(kind: type[Record]) -> dict[str, str]:
    return {f.name: _SQL_TYPES[str(f.type).removesuffix(" | None")] for f in dataclasses.fields(kind)}


class _Insert:
    """The insertion of one kind of record. Statements are parsed once: parsing is a third of a one-row insert."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, kind: type[Record]) -> None:
        columns = _columns(kind)
        self._connection = connection
        self._names = list(columns)
        marks = ", ".join("?" for _ in columns)
        lists = ", ".join(f"unnest(?::{sql_type}[])" for sql_type in columns.values())
        into = f"INSERT INTO {_TABLES[kind]} "
        self._one = connection.extract_statements(into + f"VALUES ({marks})")[0]
        self._many = connection.extract_statements(into + f"SELECT {lists}")[0]

    def __call__(self, rows: list[Record]) -> None:
        """One row as it is: 0.6 ms; several as lists: 0.9 ms for two, 2 ms for a hundred."""
        if len(rows) == 1:
            self._connection.execute(self._one, [getattr(rows[0], name) for name in self._names])
        else:
            self._connection.execute(self._many, [[getattr(row, name) for row in rows] for name in self._names])


_Inserts = dict[type[Record], _Insert]


def _inserts(connection: duckdb.DuckDBPyConnection) -> _Inserts:
    return {kind: _Insert(connection, kind) for kind in _TABLES}


class Journal:
    """The open journal. `open` it on one thread, use it from one event loop, `close` it last.

    Attributes:
        boot: number of this kernel's run, from 1.
        last_pid: the highest pid ever given out.
    """

    def __init__(self, db: DuckFile[_Inserts], boot: int, last_pid: int, clock: Clock, max_bytes: float) -> None:
        self.boot = boot
        self.last_pid = last_pid
        self._clock = clock
        self._emptied_at = clock.monotonic()  # when nothing was left pending last
        self._db = db
        self._trimmer = Trimmer(db, max_bytes, clock)
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_loop, name="journal", daemon=True)
        self._closed = False
        self._writer.start()

    @classmethod
    def open(cls, path: Path, *, kernel_pid: int, version: str, clock: Clock, max_bytes: float = math.inf) -> Self:
        """Open or create the journal, and close the rows of processes whose kernel died.

        Args:
            max_bytes: beyond that events and syscalls of processes that ended go, see `trim`.

        Raises:
            LimitHit: the disk is full.
            InternalError: another program holds the file, or it is damaged; one line says which.
        """
        try:
            db = DuckFile(path, _inserts)
            try:
                return cls(db, *_prepare(db.connection, kernel_pid, version, clock.now()), clock, max_bytes)
            except BaseException:
                db.close()
                raise
        except (duckdb.Error, OSError) as error:
            raise disk_error(f"the journal {path} cannot be used", error) from error

    def append(self, record: Record, *, urgent: bool = True) -> asyncio.Future[None]:
        """Queue a row; the future resolves when it is durable, which is at once for an urgent one.

        Rows of one stream (events, and all others) become durable in the order of these calls. The future raises
        LimitHit when the disk is full, InternalError when it fails otherwise; one that nobody awaits is no complaint,
        the journal logs the failure itself.
        """
        future = asyncio.get_running_loop().create_future()
        future.add_done_callback(retrieve)
        if self._closed:
            future.set_exception(InternalError("the journal is closed"))
        else:
            self._queue.put(_Entry(record, future, urgent))
        return future

    async def read(self, sql: str, *params: object) -> list[dict[str, Any]]:
        """Rows of one query, as dicts, over everything durable. Raises InternalError."""
        try:
            return await self._db.read(sql, *params)
        except duckdb.Error as error:
            raise InternalError(f"the journal cannot be read: {str(error).splitlines()[0]}") from error

    def close(self) -> None:
        """Write what is queued, checkpoint and close the file. Blocks; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._writer.join()
        self._db.close()

    # --- writer thread

    def _write_loop(self) -> None:
        pending: list[_Entry] = []  # in the order of `append`
        ended = False
        self._trimmer.check()
        while not ended or pending:
            ended = self._gather(pending) or ended
            batch, pending = (pending, []) if ended else self._due(pending)
            if batch:
                self._commit(batch)
            if batch and not pending:
                self._emptied_at = self._clock.monotonic()
            if self._trimmer.active and not ended:
                self._trimmer.step()

    def _gather(self, pending: list[_Entry]) -> bool:
        """Wait for an entry, while something is pending until that is due, and take all that has queued up.

        Returns: True when the journal is being closed.
        """
        left = max(0.0, self._emptied_at + LINGER_S - self._clock.monotonic()) if pending else None
        if self._trimmer.active:  # which goes on between the rows
            left = 0.0
        try:
            entry = self._queue.get(timeout=left)
            while entry is not None:
                pending.append(entry)
                if len(pending) >= _MAX_BATCH:
                    return False
                entry = self._queue.get_nowait()
        except queue.Empty:
            return False
        return True

    def _due(self, pending: list[_Entry]) -> tuple[list[_Entry], list[_Entry]]:
        """What to commit now, and the rest: all of it LINGER_S after the last time that nothing was left, before that
        the streams with something urgent. A statement costs as much as a commit, so the other stream waits."""
        if self._clock.monotonic() - self._emptied_at >= LINGER_S or len(pending) >= _MAX_BATCH:
            return pending, []
        streams = {entry.is_event for entry in pending if entry.urgent}
        due = [entry for entry in pending if entry.is_event in streams]
        return due, [entry for entry in pending if entry.is_event not in streams]

    def _commit(self, batch: list[_Entry]) -> None:
        """Make rows durable and say so. Where that fails each is tried alone: a bad row costs no other its place."""
        error: KernelError | None = None
        try:
            self._insert([entry.record for entry in batch])
        except Exception as cause:  # whatever it is, the next rows need this thread
            self._db.revive(cause)
            if len(batch) > 1:
                for entry in batch:
                    self._commit([entry])
                return
            error = disk_error("the journal cannot be written", cause)
            log.error("%s (a row of %s is lost)", error, _TABLES[type(batch[0].record)])
        acknowledge([entry.durable for entry in batch], error)
        if self._db.tend():
            self._trimmer.check()

    def _insert(self, records: list[Record]) -> None:
        if len(records) == 1:  # a transaction by itself, without the statements around it
            self._db.prepared[type(records[0])](records)
            return
        by_kind: dict[type[Record], list[Record]] = {}
        for record in records:
            by_kind.setdefault(type(record), []).append(record)
        self._db.connection.begin()
        try:
            for kind, rows in by_kind.items():
                self._db.prepared[kind](rows)
            self._db.connection.commit()
        except Exception:
            with contextlib.suppress(duckdb.Error):  # a failed commit has rolled back already
                self._db.connection.rollback()
            raise


def _prepare(connection: duckdb.DuckDBPyConnection, kernel_pid: int, version: str, now: float) -> tuple[int, int]:
    """Create what is missing, close what a dead kernel left open, note this boot. Returns boot number and last pid."""
    for kind, table in _TABLES.items():
        columns = ", ".join(f'"{name}" {sql_type}' for name, sql_type in _columns(kind).items())
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
    connection.execute(_VIEWS)
    for statement in _CLOSE_UNFINISHED.strip().split(";")[:-1]:
        connection.execute(statement, {"now": now} if "$now" in statement else None)
    found = connection.execute(
        "SELECT (SELECT coalesce(max(boot), 0) + 1 FROM boots), (SELECT coalesce(max(pid), 0) FROM starts)"
    ).fetchone()
    assert found is not None
    boot, last_pid = int(found[0]), int(found[1])
    connection.execute("INSERT INTO boots VALUES (?, ?, ?, ?)", [boot, kernel_pid, version, now])
    return boot, last_pid

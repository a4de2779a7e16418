"""The audit log: every decision and effect in rows that vouch for each other; `client.chain` says how, and checks them.

A writer thread appends what has queued up and makes it durable at once (group commit), so a row costs the event loop a
few microseconds. Rows that nobody waits for are gathered a little longer. What the disk does not take is refused to
whoever waits for it, and leaves no trace: an act whose decision cannot be written is not done.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import msgspec

from aios_kernel.client.chain import GENESIS, head_bytes, link, parse_head, parse_row, segment_path, segments
from aios_kernel.clock import Clock
from aios_kernel.durable import acknowledge, disk_error, retrieve
from aios_kernel.errors import BadRequest, InternalError, KernelError
from aios_kernel.protocol import AuditHead, AuditRow

log = logging.getLogger(__name__)

SEGMENT_BYTES: Final = 4 << 20  # of a file: what is read at a start, and dropped at once when the log is too long
LINGER_S: Final = 0.05  # how long rows that nobody waits for are gathered
MAX_TEXT: Final = 512  # characters of a name or path: agents choose them
MAX_ROWS: Final = 10_000  # of one answer
_MAX_BATCH: Final = 1_000


@dataclass(frozen=True, slots=True)
class Entry:
    """What a row tells; the fields are those of protocol.AuditRow."""

    what: str
    pid: int = 0
    agent: str = ""
    group: str = ""
    call: int | None = None
    action: str = ""
    resource: str = ""
    owner: str = ""
    outcome: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    """A row on its way. body: its JSON but for `seq`; b"": none, only the place in the queue matters."""

    body: bytes
    urgent: bool
    durable: asyncio.Future[None]


class AuditLog:
    """The open log. Append from one event loop; `close` it last.

    Attributes:
        head: the newest durable row.
    """

    def __init__(self, files: _Files, clock: Clock) -> None:
        self._files = files
        self._clock = clock
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._closed = False
        self._writer = threading.Thread(target=self._write_loop, name="audit", daemon=True)
        self._writer.start()

    @classmethod
    def open(cls, folder: Path, clock: Clock, *, version: str, max_bytes: int) -> Self:
        """Open or create the log in `folder` and note this start in it.

        Args:
            max_bytes: beyond that the oldest rows are dropped, which a row tells.

        Raises:
            LimitHit: the disk is full; InternalError: the files cannot be read or written.
        """
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            files = _Files(folder, max_bytes, clock)
            outcome, why = files.recover()
            files.write([_body(Entry("boot", action=version, outcome=outcome, why=why), clock.now())])
        except OSError as error:
            raise disk_error(f"the audit log {folder} cannot be used", error) from error
        return cls(files, clock)

    @property
    def head(self) -> AuditHead:
        return self._files.head

    def append(self, entry: Entry, *, urgent: bool = True) -> asyncio.Future[None]:
        """Queue a row; the future resolves when it is durable. Rows become durable in the order of these calls.

        Args:
            urgent: somebody waits for it.

        The future raises LimitHit when the disk is full, InternalError when it fails otherwise.
        """
        return self._put(_body(entry, self._clock.now()), urgent=urgent)

    async def read(self, *, pid: int | None = None, since: float | None = None, limit: int = 1_000) -> list[AuditRow]:
        """The newest rows, oldest first: those of a process and its answers, or all. Raises BadRequest, InternalError.

        Args:
            since: Unix seconds; older rows are left out.
        """
        if not 0 < limit <= MAX_ROWS:
            raise BadRequest(f"limit = {limit}: must be 1 to {MAX_ROWS}", key="limit")
        if not self._closed:
            await self._put(b"", urgent=True)  # what was appended before this is durable now
        try:
            return await asyncio.to_thread(self._files.newest, pid, since, limit)
        except OSError as error:
            raise InternalError(f"the audit log cannot be read: {error}") from error

    def close(self) -> None:
        """Write what is queued and close the file. Blocks; safe to call twice."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._writer.join()
            self._files.close()

    def _put(self, body: bytes, *, urgent: bool) -> asyncio.Future[None]:
        future = asyncio.get_running_loop().create_future()
        future.add_done_callback(retrieve)
        if self._closed:
            future.set_exception(InternalError("the audit log is closed"))
        else:
            self._queue.put(_Pending(body, urgent, future))
        return future

    # --- writer thread

    def _write_loop(self) -> None:
        ended = False
        while not ended:
            batch, ended = self._gather()
            if batch:
                self._commit(batch)

    def _gather(self) -> tuple[list[_Pending], bool]:
        """The next rows to write, and whether they are the last: at once when one is urgent, else after LINGER_S."""
        batch: list[_Pending] = []
        due: float | None = None
        with contextlib.suppress(queue.Empty):
            while len(batch) < _MAX_BATCH:
                left = None if due is None else due - self._clock.monotonic()
                entry = self._queue.get(timeout=left) if left is None or left > 0 else self._queue.get_nowait()
                if entry is None:
                    return batch, True
                batch.append(entry)
                if entry.urgent:
                    due = 0.0
                elif due is None:
                    due = self._clock.monotonic() + LINGER_S
        return batch, False

    def _commit(self, batch: list[_Pending]) -> None:
        error: KernelError | None = None
        try:
            self._files.write([entry.body for entry in batch if entry.body])
        except Exception as cause:  # whatever it is, the next rows need this thread
            error = disk_error("the audit log cannot be written", cause)
            log.error("%s (%d rows are refused)", error, len(batch))
        acknowledge([entry.durable for entry in batch], error)


class _Files:
    """The segments and the head. One thread writes; any may read what is durable."""

    def __init__(self, folder: Path, max_bytes: int, clock: Clock) -> None:
        self.head = GENESIS
        self._clock = clock
        self._folder = folder
        self._max_bytes = max_bytes
        self._number = 1
        self._size = 0  # of the segment that is written
        self._fd = -1
        self._head_fd = -1

    def recover(self) -> tuple[str, str]:
        """Find where to go on. Returns outcome and reason for this start's row. Raises OSError.

        Rows after the head, and a piece of one, are those of a kernel that died before it acknowledged them. A log
        that ends before its head, or has none, was altered by others: it is left as it is, and a new segment goes on
        from the head, which `verify` tells for ever.
        """
        found = segments(self._folder)
        told = self._told_head()
        self._head_fd = os.open(self._folder / "head", os.O_WRONLY | os.O_CREAT, 0o600)
        last, torn = _last_row([path for path in found if path.stat().st_size][-1:])
        self._number = int(found[-1].stem) if found else 1
        outcome, why = "ok", ""
        if told is None and last != GENESIS:
            outcome, why = "head missing", "the head was missing, so rows may have been taken away before it"
        if told is not None and (last.seq < told.seq or (last.seq == told.seq and last.hash != told.hash)):
            last, torn = told, 0
            self._number += 1
        self.head = last
        self._write_head(last)
        self._open()
        if torn:
            self._size -= torn
            os.ftruncate(self._fd, self._size)
            why = why or f"cut off {torn} bytes of an unfinished row"
        return outcome, why

    def write(self, bodies: list[bytes]) -> None:
        """Append rows and make them durable: all, or none. Raises OSError."""
        if self._size >= SEGMENT_BYTES:
            self._roll()
        self._append(bodies)

    def newest(self, pid: int | None, since: float | None, limit: int) -> list[AuditRow]:
        """See AuditLog.read. Raises OSError."""
        rows: list[AuditRow] = []
        for row in self._backwards():
            if len(rows) == limit or (since is not None and row.at < since):
                break
            if pid is None or row.pid == pid:
                rows.append(row)
        return rows[::-1]

    def close(self) -> None:
        for fd in (self._fd, self._head_fd):
            os.close(fd)

    def _told_head(self) -> AuditHead | None:
        try:
            return parse_head((self._folder / "head").read_bytes())
        except FileNotFoundError:
            return None

    def _open(self) -> None:
        path = segment_path(self._folder, self._number)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size = fd, os.fstat(fd).st_size
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)  # the file's name is durable before its rows
        finally:
            os.close(folder)

    def _append(self, bodies: list[bytes]) -> None:
        head, lines = self.head, []
        for body in bodies:
            numbered = b'{"seq":%d,' % (head.seq + 1) + body[1:]
            head = AuditHead(head.seq + 1, link(head.hash, numbered))
            lines.append(head.hash.encode() + b" " + numbered + b"\n")
        data = b"".join(lines)
        try:
            _write_all(self._fd, data)
            os.fdatasync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)
        self.head = head
        self._write_head(head)  # the rows are durable: one that a power cut takes back names an older row

    def _write_head(self, head: AuditHead) -> None:
        data = head_bytes(head)
        os.pwrite(self._head_fd, data, 0)
        os.ftruncate(self._head_fd, len(data))

    def _roll(self) -> None:
        """Begin a new segment, and drop the oldest ones when all together are too large."""
        self._number += 1
        self._open()
        found = segments(self._folder)[:-1]
        total = sum(path.stat().st_size for path in found)
        while found and total > self._max_bytes:
            oldest = found.pop(0)
            last, _ = _last_row([oldest])
            total -= oldest.stat().st_size
            entry = Entry("trim", resource=oldest.name, outcome="ok", why=f"{last.seq} {last.hash}")
            self._append([_body(entry, self._clock.now())])
            oldest.unlink()

    def _backwards(self) -> Iterator[AuditRow]:
        for path in reversed(segments(self._folder)):
            try:
                lines = path.read_bytes().splitlines(keepends=True)
            except FileNotFoundError:  # dropped just now, and all before it
                return
            for line in reversed(lines):
                parsed = parse_row(line)
                if parsed is None or parsed[2].seq > self.head.seq:
                    continue
                with contextlib.suppress(msgspec.MsgspecError):  # altered: `verify` tells
                    yield dataclasses.replace(msgspec.json.decode(parsed[1], type=AuditRow), hash=parsed[0])


def _last_row(paths: list[Path]) -> tuple[AuditHead, int]:
    """The last row of a segment, GENESIS where there is none, and the bytes after it. Raises OSError."""
    data = paths[0].read_bytes() if paths else b""
    whole = data[: data.rfind(b"\n") + 1]
    row = parse_row(whole[whole.rfind(b"\n", 0, -1) + 1 :])
    return (AuditHead(row[2].seq, row[0]) if row else GENESIS), len(data) - len(whole)


def _body(entry: Entry, at: float) -> bytes:
    """An entry as JSON, with the time."""
    facts: dict[str, object] = {"at": at, "what": entry.what, "pid": entry.pid}
    if entry.call is not None:
        facts["call"] = entry.call
    for name in ("agent", "group", "action", "resource", "owner", "outcome", "why"):
        if text := getattr(entry, name):
            facts[name] = text if len(text) <= MAX_TEXT and text.isascii() else _text(text)
    return msgspec.json.encode(facts)


def _text(text: str) -> str:
    """Cut, and without what is no UTF-8."""
    cut = text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text)} characters)"
    return cut.encode(errors="replace").decode()


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]

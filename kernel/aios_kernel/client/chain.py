"""The audit log's files, and how they are checked: without a kernel, by whoever can read them.

A segment, NNNNNN.log, has a row a line: the row's hash, a space, the row as JSON. The hash is SHA-256 over the hash of
the row before and the row's bytes, so each vouches for all before it. `head` tells the newest acknowledged row: what
is missing at the end is missing there too. A head kept elsewhere finds even a log that was forged as a whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from aios_kernel.protocol import AuditHead

GENESIS: Final = AuditHead(0, sha256(b"aios audit log").hexdigest())  # what the first row follows
MAX_PROBLEMS: Final = 20

_SEGMENT: Final = re.compile(r"[0-9]{6,9}\.log")
_HEAD: Final = re.compile(rb"([0-9a-f]{64}) ([0-9]{16})\n")
_ROW: Final = re.compile(rb"([0-9a-f]{64}) (\{.*\})\n", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Link:
    """A row's facts that the chain is made of."""

    seq: int
    what: str = ""
    outcome: str = ""
    why: str = ""


@dataclass(slots=True)
class Report:
    """What `verify` found. problems: empty for a whole log, at most MAX_PROBLEMS, a line each."""

    rows: int = 0
    head: AuditHead = GENESIS
    problems: list[str] = field(default_factory=list)

    def add(self, problem: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


def link(before: str, body: bytes) -> str:
    """Hash of the row `body` that follows one with the hash `before`."""
    return sha256(before.encode() + body).hexdigest()


def head_bytes(head: AuditHead) -> bytes:
    return f"{head.hash} {head.seq:016d}\n".encode()


def parse_head(data: bytes) -> AuditHead | None:
    """The head that a file's bytes tell; None: they tell none."""
    match = _HEAD.fullmatch(data)
    return AuditHead(int(match[2]), match[1].decode()) if match else None


def parse_row(line: bytes) -> tuple[str, bytes, Link] | None:
    """Hash, body and facts of a line, whether they fit each other or not; None: this is no row."""
    match = _ROW.fullmatch(line)
    if match is None:
        return None
    try:
        return match[1].decode(), match[2], msgspec.json.decode(match[2], type=Link)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def segments(folder: Path) -> list[Path]:
    """The log's files, oldest first."""
    return sorted((path for path in folder.glob("*.log") if _SEGMENT.fullmatch(path.name)), key=_number)


def segment_path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.log"


def _number(path: Path) -> int:
    return int(path.stem)


def verify(folder: Path, expected: AuditHead | None = None, *, live: bool = False) -> Report:
    """Check every byte of an audit log.

    Args:
        expected: a head that was kept elsewhere: its row must be there as it was.
        live: a kernel is writing, so there may be an unfinished row after the head.

    Raises:
        OSError: a file cannot be read.
    """
    report = Report()
    if not folder.is_dir():
        report.add("there is no audit log")
        return report
    heads = [expected] if expected is not None else []
    try:
        told = parse_head((folder / "head").read_bytes())  # before the rows: those that come meanwhile are after it
    except FileNotFoundError:
        told = None
    if told is None:
        report.add("head: missing or not readable, so rows may be missing at the end")
    else:
        heads.append(told)
    for path in folder.iterdir():
        if path.name != "head" and not _SEGMENT.fullmatch(path.name):
            report.add(f"{path.name}: no file of an audit log")
    _Walk(report, heads, live=live and told is not None).over(folder)
    return report


class _Walk:
    """One pass over all rows."""

    def __init__(self, report: Report, heads: list[AuditHead], *, live: bool) -> None:
        self._report = report
        self._heads = heads
        self._live = live
        self._last = GENESIS
        self._began: tuple[int, bytes, str] | None = None  # the oldest row, where it is not the log's first
        self._dropped: list[str] = []  # "SEQ HASH" of rows up to which the log was dropped, as later rows tell

    def over(self, folder: Path) -> None:
        paths = segments(folder)
        for path, following in zip(paths, [*paths[1:], None], strict=True):
            if following is not None and _number(following) != _number(path) + 1:
                self._report.add(f"{following.name}: the file before it is missing")
            with path.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    self._row(f"{path.name}:{number}", line, last_file=following is None)
        self._report.head = self._last
        self._end()

    def _row(self, where: str, line: bytes, *, last_file: bool) -> None:
        row = parse_row(line)
        if row is None:
            if line.endswith(b"\n") or not last_file:
                self._report.add(f"{where}: altered: this is no row, after row {self._last.seq}")
            elif not self._live:
                self._report.add(f"{where}: an unfinished row after row {self._last.seq}")
            return
        hash, body, facts = row
        self._report.rows += 1
        if self._report.rows == 1 and facts.seq > 1:
            self._began = (facts.seq, body, hash)
        elif facts.seq != self._last.seq + 1:
            self._report.add(f"{where}: {_gap(facts.seq, self._last.seq)}")
        elif link(self._last.hash, body) != hash:
            self._report.add(f"{where}: row {facts.seq} has been altered, or the hash of the one before it")
        self._note(where, facts)
        self._last = AuditHead(facts.seq, hash)
        if any(head.seq == facts.seq and head.hash != hash for head in self._heads):
            self._report.add(f"{where}: row {facts.seq} is not the one that its head was kept of")

    def _note(self, where: str, facts: Link) -> None:
        if facts.what == "trim":
            self._dropped.append(facts.why)
        elif facts.what == "boot" and facts.outcome != "ok":
            self._report.add(f"{where}: at this start of the kernel {facts.why}")

    def _end(self) -> None:
        if self._began is not None:
            seq, body, hash = self._began
            before = (told.partition(" ") for told in self._dropped)
            if not any(number == str(seq - 1) and link(known, body) == hash for number, _, known in before):
                self._report.add(f"the rows before row {seq} are missing")
        last = max((head.seq for head in self._heads), default=0)
        if last > self._last.seq:
            self._report.add(f"rows {self._last.seq + 1} to {last} are missing: the log ends before them")


def _gap(seq: int, after: int) -> str:
    if seq <= after:
        return f"row {seq} stands after row {after}: moved or repeated"
    missing = f"row {after + 1} is" if seq == after + 2 else f"rows {after + 1} to {seq - 1} are"
    return f"{missing} missing before row {seq}"

"""audit ls, verify, head. The last two need no kernel: they look at its files."""

from __future__ import annotations

import datetime
import re
import time
from typing import Final

from aios_kernel.client import chain, paths
from aios_kernel.client.access import AccessClient
from aios_kernel.client.launch import is_running
from aios_kernel.errors import BadRequest, InvalidState
from aios_kernel.protocol import AuditHead, AuditRow
from aios_shell import render
from aios_shell.io import Io

_SPAN: Final = re.compile(r"(\d+)([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_HEAD: Final = re.compile(r"(\d+):([0-9a-f]{64})")


def ls(io: Io, pid: int | None, since: str | None, limit: int, json: bool) -> None:
    after = _moment(since, time.time()) if since is not None else None
    rows = AccessClient(io.session.connect(io.note)).audit(pid=pid, since=after, limit=limit)
    if json:
        render.json(io, rows)
        return
    columns = ("SEQ", "TIME", "WHAT", "PID", "AGENT", "ACTION", "OUTCOME", "RESOURCE", "WHY")
    right, spare = frozenset({"SEQ", "PID"}), ("SEQ", "AGENT", "TIME", "WHAT")
    render.table(io, columns, [_cells(row) for row in rows], right=right, spare=spare)


def verify(io: Io, head: str | None, json: bool) -> int:
    where = paths()
    report = chain.verify(where.audit, _parse_head(head) if head is not None else None, live=is_running(where))
    if json:
        render.json(io, report)
    elif report.problems:
        io.write("".join(f"{problem}\n" for problem in report.problems))
        io.note(f"the audit log has been altered, or parts of it are missing ({report.rows} rows read)")
    else:
        io.line(f"{report.rows} rows, nothing altered, nothing missing; head {report.head.seq}:{report.head.hash}")
    return 1 if report.problems else 0


def head(io: Io, json: bool) -> None:
    path = paths().audit / "head"
    told = chain.parse_head(path.read_bytes())
    if told is None:
        raise InvalidState(f"{path}: this is no head of an audit log; see `aios audit verify`")
    if json:
        render.json(io, told)
    else:
        io.line(f"{told.seq}:{told.hash}")


def _cells(row: AuditRow) -> tuple[object, ...]:
    at = datetime.datetime.fromtimestamp(row.at).strftime("%m-%d %H:%M:%S")
    resource = f"{row.resource} of {row.owner}" if row.owner and row.owner != row.agent else row.resource
    return (row.seq, at, row.what, row.pid or "", row.agent, row.action, row.outcome, resource, row.why)


def _moment(text: str, now: float) -> float:
    """ "10m" ago, "12:30" today, or an ISO date with or without a time, as Unix seconds. Raises BadRequest."""
    if match := _SPAN.fullmatch(text):
        return now - int(match[1]) * _SECONDS[match[2]]
    today = datetime.datetime.fromtimestamp(now)
    try:
        if ":" in text and "-" not in text:
            return datetime.datetime.combine(today, datetime.time.fromisoformat(text)).timestamp()
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise BadRequest(f"--since {text}: 10m, 2h, 1d, 12:30 or 2025-01-31 are understood") from None


def _parse_head(text: str) -> AuditHead:
    """Raises BadRequest."""
    match = _HEAD.fullmatch(text.strip())
    if match is None:
        raise BadRequest("--head: this is no head; `aios audit head` prints one, SEQ:HASH")
    return AuditHead(int(match[1]), match[2])

"""Denials in the audit log: the first ones a row each, those of who goes on by their number, a row a second.

100 requests a second with a wrong token would otherwise fill the log's 512 MiB in hours, and what matters is dropped.
"""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from typing import Final

from aios_kernel.audit import AuditLog, Entry

FIRST: Final = 8  # that are told one by one
EVERY_S: Final = 1.0  # how often the number of those after them is; who was denied nothing meanwhile begins anew

_Key = tuple[int, str]  # who, and why: resources do not tell denials apart, as who asks can make them up


@dataclass(slots=True, eq=False)
class _Run:
    timer: asyncio.TimerHandle
    told: int = 0
    counted: int = 0
    last: Entry | None = None  # of those counted


class Denials:
    """Event loop only."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit
        self._runs: dict[_Key, _Run] = {}

    def append(self, entry: Entry, *, urgent: bool = True) -> asyncio.Future[None]:
        """As AuditLog.append; the future of a denial that is only counted is done."""
        loop, key = asyncio.get_running_loop(), (entry.pid, entry.why)
        run = self._runs.get(key)
        if run is None:
            run = self._runs[key] = _Run(loop.call_later(EVERY_S, self._tell, key))
        if run.told < FIRST:
            run.told += 1
            return self._audit.append(entry, urgent=urgent)
        run.counted, run.last = run.counted + 1, entry
        done = loop.create_future()
        done.set_result(None)
        return done

    def close(self) -> None:
        """Tell of all that have been counted."""
        for key, run in list(self._runs.items()):
            run.timer.cancel()
            self._count(run)
            del self._runs[key]

    def _tell(self, key: _Key) -> None:
        run = self._runs[key]
        if self._count(run):
            run.timer = asyncio.get_running_loop().call_later(EVERY_S, self._tell, key)
        else:
            del self._runs[key]

    def _count(self, run: _Run) -> bool:
        """Append one row for those counted: the last of them. Returns whether there are any."""
        if run.last is None:
            return False
        others = f" (and {run.counted - 1} more)" if run.counted > 1 else ""
        self._audit.append(dataclasses.replace(run.last, why=run.last.why + others), urgent=False)
        run.counted, run.last = 0, None
        return True

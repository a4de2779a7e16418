"""Denials in the audit log: a row each, and of who goes on without end their number, a row a second.

100 requests a second with a wrong token would otherwise fill the log's 512 MiB in hours, and what matters is dropped.
Processes of one agent count together: it can start as many as it likes.
"""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from typing import Final

from aios_kernel.audit import AuditLog, Entry
from aios_kernel.client.bucket import DENIALS, DENIALS_PER_S, TokenBucket

EVERY_S: Final = 1.0  # how often the number of those beyond the pace is told


@dataclass(slots=True, eq=False)
class _Source:
    """Whoever is denied something. last: of those that are only counted."""

    bucket: TokenBucket
    counted: int = 0
    last: Entry | None = None
    timer: asyncio.TimerHandle | None = None


class Denials:
    """Event loop only."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit
        self._sources: dict[str, _Source] = {}  # by agent; "": nobody vouches for them

    def append(self, entry: Entry, *, urgent: bool = True) -> asyncio.Future[None]:
        """As AuditLog.append; the future of a denial that is only counted is done."""
        loop = asyncio.get_running_loop()
        source = self._sources.get(entry.agent)
        if source is None:
            source = self._sources[entry.agent] = _Source(TokenBucket(DENIALS, DENIALS_PER_S, loop.time()))
        if source.timer is None and not source.bucket.take(loop.time()):
            return self._audit.append(entry, urgent=urgent)
        source.counted, source.last = source.counted + 1, entry
        if source.timer is None:
            source.timer = loop.call_later(EVERY_S, self._tell, source)
        done = loop.create_future()
        done.set_result(None)
        return done

    def close(self) -> None:
        """Tell of all that have been counted."""
        for source in self._sources.values():
            if source.timer is not None:
                source.timer.cancel()
                self._tell(source)

    def _tell(self, source: _Source) -> None:
        """Append one row for those counted: the last of them."""
        assert source.last is not None
        others = f" (and {source.counted - 1} more)" if source.counted > 1 else ""
        self._audit.append(dataclasses.replace(source.last, why=source.last.why + others), urgent=False)
        source.counted, source.last, source.timer = 0, None, None

"""What an agent may keep, and what may be done to a folder at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from aios_kernel.clock import Clock
from aios_kernel.errors import InvalidState, LimitHit
from aios_kernel.protocol import FileKind, OwnerInfo
from aios_kernel.storage.jail import Found, Jail

_RECOUNT_S: Final = 1.0  # between two walks over all folders


def check_quota(usage: OwnerInfo) -> None:
    """Raises LimitHit."""
    for count, limit, what in ((usage.files, usage.max_files, "files"), (usage.bytes, usage.max_bytes, "bytes")):
        if count > limit:
            message = f"{usage.owner} keeps at most {limit} {what}, former versions and its bin too: empty the bin"
            raise LimitHit(message, limit=limit)


class FolderCount:
    """Folders cost a disk its inodes, and every walk its time. Those above a file are counted with the file."""

    def __init__(self, limit: int, jail: Jail, clock: Clock) -> None:
        self._limit, self._jail, self._clock = limit, jail, clock
        self._most: float = math.inf  # folders, at most: not counted yet
        self._counted_at = -math.inf

    def add(self, num: int, owner: str) -> None:
        """So many may be made now, and no others meanwhile. Raises LimitHit."""
        self._most += num
        now = self._clock.monotonic()
        if self._most > self._limit and now - self._counted_at >= _RECOUNT_S:
            self._counted_at = now
            self._most = num + sum(found.kind is FileKind.FOLDER for found in self._jail.walk(()))
        if self._most > self._limit:
            raise LimitHit(f"{owner} keeps at most {self._limit} folders: delete some", limit=self._limit)


def check_keepable(entry: Found, max_bytes: int) -> None:
    """Raises LimitHit for a file too large for the bin: another program has made it."""
    if entry.kind is FileKind.FILE and entry.size > max_bytes:
        path = "/".join(entry.parts)
        raise LimitHit(f"{path} is larger than {max_bytes} bytes: the bin cannot keep it", path=path, limit=max_bytes)


def check_only(path: str, below: Sequence[Found], only: frozenset[str] | None) -> None:
    """Raises InvalidState where a folder has something in it that is not in `only`; None: anything may be."""
    if only is None:
        return
    other = next((found for found in below if "/".join(found.parts) not in only), None)
    if other is not None:
        name = "/".join(other.parts)
        raise InvalidState(f"{path} is not empty: {name} is in it ({len(below)} in all)", path=path)

"""Shares: a file or folder that another agent may read, or a link to a copy of a file, until it expires."""

from __future__ import annotations

import hmac
import os
import secrets
import shutil
from pathlib import Path
from typing import Final

from aios_kernel.clock import Clock
from aios_kernel.durable import disk_error, sync_folder
from aios_kernel.errors import BadRequest, KernelError, LimitHit, NoSuchFile
from aios_kernel.protocol import ShareInfo
from aios_kernel.storage.kept import Kept
from aios_kernel.storage.paths import Address

MAX_SHARES: Final = 256  # of one agent at once
MAX_EXPIRES_S: Final = 366 * 86_400
TOKEN_BYTES: Final = 16  # of a link, which opens it: nobody guesses 128 bits


class Shares:
    """All shares. Those that have expired are as good as gone, and `expire` removes them.

    Args:
        file: where the list is kept.
        folder: for the copies that links lead to, `folder/TOKEN/NAME`.
    """

    def __init__(self, file: Path, folder: Path, clock: Clock) -> None:
        """Raises InternalError."""
        self._kept = Kept(file, ShareInfo)
        self._folder = folder
        self._clock = clock
        for left in {path.name for path in folder.glob("*")} - {share.id for share in self._kept}:
            shutil.rmtree(folder / left, ignore_errors=True)  # of a kernel that was killed before the link was kept

    def open(self) -> list[ShareInfo]:
        """Those that have not expired, the oldest first."""
        now = self._clock.now()
        return [share for share in self._kept if share.until > now]

    def next_end(self) -> float | None:
        """When the next one expires, as Unix time."""
        return min((share.until for share in self._kept), default=None)

    def covers(self, reader: str, address: Address) -> bool:
        """Whether a file, or a folder that it is in, is shared with an agent."""
        path = address.path
        return any(
            share.to == reader
            and share.owner == address.owner
            and (path == share.path or not share.path or path.startswith(share.path + "/"))
            for share in self.open()
        )

    def link(self, token: str) -> ShareInfo:
        """The link of this token. Raises NoSuchFile."""
        for share in self.open():
            if not share.to and hmac.compare_digest(share.id.encode(), token.encode(errors="replace")):
                return share
        raise NoSuchFile("there is no such link, or it has expired")

    def check(self, owner: str, expires_s: float) -> None:
        """Raises BadRequest, LimitHit when an agent may not share one more for so long."""
        if not 0 < expires_s <= MAX_EXPIRES_S:  # NaN is neither
            raise BadRequest(
                f"expires_s = {expires_s:g}: must be more than 0, at most {MAX_EXPIRES_S}", key="expires_s"
            )
        if sum(share.owner == owner for share in self.open()) >= MAX_SHARES:
            raise LimitHit(f"{owner} has {MAX_SHARES} shares: take some back", limit=MAX_SHARES)

    def new_id(self) -> str:
        """Of a share; it opens it where that is a link."""
        return secrets.token_hex(TOKEN_BYTES)

    def copy(self, id: str, name: str, data: bytes) -> str:
        """The copy that a link leads to, durable, and where it is. Blocks. Raises LimitHit, InternalError."""
        path = self._folder / id / name
        try:
            path.parent.mkdir(mode=0o700, parents=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(path.parent)
            sync_folder(self._folder)
        except OSError as error:
            shutil.rmtree(path.parent, ignore_errors=True)
            raise disk_error(path, error) from error
        return str(path)

    def add(self, id: str, address: Address, to: str, expires_s: float, copy: str) -> ShareInfo:
        """Share with `to`, or with whoever has the id of a link. Raises LimitHit (the disk is full), InternalError."""
        now = self._clock.now()
        share = ShareInfo(id, address.owner, address.path, to, now, now + expires_s, copy)
        try:
            self._kept.set((*self._kept, share))
        except KernelError:
            shutil.rmtree(self._folder / id, ignore_errors=True)
            raise
        return share

    def remove(self, share: ShareInfo) -> None:
        self._forget({share.id})

    def find(self, id: str, owner: str | None = None) -> ShareInfo:
        """By its id, or the beginning of it where no other of the owner's (None: of all) begins so. NoSuchFile."""
        mine = (share for share in self.open() if owner is None or share.owner == owner)
        found = [share for share in mine if id and share.id.startswith(id)]
        if len(found) != 1:
            raise NoSuchFile(f"{'no share' if not found else 'more than one share'} begins with {id!r}")
        return found[0]

    def expire(self) -> None:
        """Remove those whose time is over, copies too."""
        now = self._clock.now()
        over = {share.id for share in self._kept if share.until <= now}
        if over:
            self._forget(over)

    def _forget(self, ids: set[str]) -> None:
        self._kept.set(tuple(share for share in self._kept if share.id not in ids))
        for id in ids:
            shutil.rmtree(self._folder / id, ignore_errors=True)

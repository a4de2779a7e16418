"""Contents by their SHA-256: written once, whole or not at all, checked whenever they are read. All of it blocks."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import zlib
from pathlib import Path
from typing import Final

from aios_kernel.errors import InternalError

LEVEL: Final = 1  # of zlib: 8 MB of English in 0.1 s to 3.2 MB; level 6 takes 0.5 s for 2.6 MB


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Objects:
    """A folder of contents. Every method raises OSError too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes) -> str:
        """Keep `data`, durably. Returns its digest."""
        sha256 = digest(data)
        path = self._path(sha256)
        if path.exists():
            return sha256
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync(self._folder)
        fresh = path.with_name(f"{secrets.token_hex(8)}.new")
        try:
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(zlib.compress(data, LEVEL))
                file.flush()
                os.fsync(fd)
            fresh.rename(path)
        except OSError:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise
        _sync(path.parent)
        return sha256

    def get(self, sha256: str, size: int) -> bytes:
        """The content of this digest and size. Raises InternalError when it is not there any more, or altered."""
        try:
            # A bound: a file that somebody has put there could otherwise unpack to anything.
            data = zlib.decompressobj().decompress(self._path(sha256).read_bytes(), size + 1)
        except (FileNotFoundError, zlib.error) as error:
            raise InternalError(f"a kept version is lost: {self._path(sha256)}: {error}", sha256=sha256) from error
        if len(data) != size or digest(data) != sha256:
            raise InternalError(f"a kept version is damaged: {self._path(sha256)}", sha256=sha256)
        return data

    def drop(self, sha256: str) -> None:
        """Forget a content; one that is not there is fine."""
        self._path(sha256).unlink(missing_ok=True)

    def digests(self) -> set[str]:
        """All that are kept."""
        return {path.parent.name + path.name for path in self._folder.glob("??/*") if path.suffix != ".new"}

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256[2:]


def _sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

"""What stores share: files replaced whole, what a failing disk is called, and how writer threads tell of their rows."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from aios_kernel.errors import InternalError, KernelError, LimitHit

log = logging.getLogger(__name__)

_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def disk_error(what: object, error: Exception) -> KernelError:
    """What a failure of the disk is called here: LimitHit when it is full, else InternalError.

    what: a path, or what failed.
    """
    if isinstance(error, OSError):
        full, why = error.errno in _DISK_FULL, error.strerror or str(error)
    else:  # DuckDB has the system's words alone
        why = str(error).partition("\n")[0]
        full = any(os.strerror(number) in why for number in _DISK_FULL)
    kind = LimitHit if full else InternalError
    data = {"path": str(what)} if isinstance(what, Path) else {}
    return kind(f"{what}: {why}", **data)


def replace_file(path: Path, parts: Sequence[bytes | memoryview]) -> int:
    """Make a file of mode 0600 all that `parts` are, durable when this returns; never half. Blocks.

    One at a time for each path. What a kernel that is killed leaves the next write takes, or `drop_unfinished`.

    Returns: the file's bytes. Raises OSError; then the file is what it was, and nothing is left behind.
    """
    fresh = _unfinished(path)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(fresh, flags, 0o600), "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return size


def drop_unfinished(path: Path) -> None:
    """Remove what a kernel that was killed has left of writing `path`. Raises OSError."""
    _unfinished(path).unlink(missing_ok=True)


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def sync_folder(folder: Path) -> None:
    """Make the names in it durable."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


# --- writer threads: they resolve futures of the event loop from outside it


def retrieve(future: asyncio.Future[Any]) -> None:
    """A done callback: a failure that nobody awaits is no complaint, the writer logs it itself."""
    if not future.cancelled():
        future.exception()


def acknowledge(futures: list[asyncio.Future[None]], error: KernelError | None) -> None:
    """Resolve the futures of one loop, from the writer's thread: the rows are durable, or could not be written."""
    try:
        futures[0].get_loop().call_soon_threadsafe(_resolve, futures, error)
    except RuntimeError:  # the loop has ended: nobody waits any more
        log.debug("rows written after the event loop's end")


def _resolve(futures: list[asyncio.Future[None]], error: KernelError | None) -> None:
    for future in futures:
        if future.done():  # its waiter was cancelled
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

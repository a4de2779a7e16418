"""How much of the machine a confined process takes where the system itself keeps no limit, and the end of its folder.

The folder is the process's to shape: it may be deep, wide, without permissions, and change while it is looked at.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MAX_FILES: Final = 10_000  # of one scratch folder: beyond, counting itself would be the attack


def disk_bytes(folder: Path, os_pid: int | None, limit: int) -> int:
    """Bytes on disk of all in `folder`, and of what the process has deleted there but still holds open.

    It counts no further than `limit`, or MAX_FILES files; for those, and for what cannot be looked into, it returns
    more than `limit`.
    """
    total = num = 0
    try:
        for info in (*_deleted(os_pid), *_below(str(folder))):
            total += info.st_blocks * 512
            num += 1
            if total > limit or num > MAX_FILES:
                return max(total, limit + 1)
    except OSError:  # no permission, or a path longer than there may be
        return limit + 1
    return total


def _below(folder: str) -> Iterator[os.stat_result]:
    folders = [folder]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    yield entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):
            continue  # gone meanwhile


def _deleted(os_pid: int | None) -> Iterator[os.stat_result]:
    try:
        fds = list(Path(f"/proc/{os_pid}/fd").iterdir()) if os_pid is not None else []
    except OSError:  # it has ended
        return
    for fd in fds:
        try:
            info = fd.stat()
        except OSError:  # closed meanwhile
            continue
        if stat.S_ISREG(info.st_mode) and info.st_nlink == 0:
            yield info


def num_threads(os_pid: int) -> int:
    """0 when the process has ended."""
    try:
        return Path(f"/proc/{os_pid}/task").stat().st_nlink - 2
    except OSError:
        return 0


def remove(folder: Path) -> None:
    """Remove a folder that nobody uses any more, however deep. Raises OSError; one that is not there is removed.

    What is in a folder's folders is moved up, so that no path grows long.
    """
    num = 0
    while folder.is_dir():
        for inner in _emptied(folder):
            for below in _emptied(inner):
                num += 1
                below.rename(folder / f"{num}.up-{os.getpid()}")
            inner.rmdir()
        if not any(folder.iterdir()):
            folder.rmdir()


def _emptied(folder: Path) -> list[Path]:
    """The folders in a folder, of which all else is deleted."""
    folder.chmod(0o700)
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)  # noqa: PTH108  # an entry has no such method, a Path would cost more
    return [Path(entry.path) for entry in found if entry.is_dir(follow_symlinks=False)]

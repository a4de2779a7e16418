"""A folder that nothing done through it can leave.

Every path is walked component by component with the descriptor of the folder before it (openat(2)) and O_NOFOLLOW, so a
symbolic link is refused wherever it is, also one that is put there while the walk goes on; `..` has been refused by
`paths.clean`. What has been opened is looked at by its descriptor, never again by its name. All of it blocks.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aios_kernel.errors import InvalidState, LimitHit, NoSuchFile, NotPermitted
from aios_kernel.protocol import FileKind
from aios_kernel.storage.paths import RESERVED, Parts

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a pipe must not wait for who writes to it. It means nothing to a file.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Found:
    """What stands at a path."""

    parts: Parts
    kind: FileKind
    size: int
    mtime_ns: int

    @property
    def stamp(self) -> tuple[int, int]:
        """Changes whenever the file does, but for tampering."""
        return self.size, self.mtime_ns


class Jail:
    """The files below one folder. Every method raises OSError too, NotPermitted where a link stands in the way."""

    def __init__(self, root: Path) -> None:
        self.root: Final = root

    def find(self, parts: Parts) -> Found | None:
        """What is there; None: nothing."""
        if not parts:
            with self._opened(parts) as fd:
                return _found(parts, os.fstat(fd))
        try:
            with self._opened(parts[:-1]) as folder:
                return _found(parts, os.stat(parts[-1], dir_fd=folder, follow_symlinks=False))
        except (FileNotFoundError, NoSuchFile, InvalidState):
            return None

    def read(self, parts: Parts, max_bytes: int, *, cut: bool = False) -> tuple[bytes, Found]:
        """A file's content, with `cut` the beginning of it. Raises NoSuchFile, InvalidState for a folder, LimitHit."""
        with self._parent(parts) as folder:
            try:
                fd = os.open(parts[-1], _READ, dir_fd=folder)
            except OSError as error:
                raise _refused(parts, error) from error
        try:
            found = _plain(parts, os.fstat(fd))
            with os.fdopen(fd, "rb", closefd=False) as file:
                data = file.read(max_bytes + (not cut))
        finally:
            os.close(fd)
        if len(data) > max_bytes:
            raise LimitHit(f"{_name(parts)} is larger than {max_bytes} bytes", path=_name(parts), limit=max_bytes)
        return data, found

    def replace(self, parts: Parts, data: bytes, *, exclusive: bool = False) -> Found:
        """Make a file's content `data`, durably and all at once; its folders are made too.

        Raises:
            InvalidState: a folder is there, or with `exclusive` anything at all.
        """
        with self._parent(parts, make=True) as folder:
            name, fresh = parts[-1], RESERVED + secrets.token_hex(8)
            mode = self._mode(parts, folder, exclusive=exclusive)
            fd = os.open(fresh, _CREATE, mode, dir_fd=folder)
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(fd)
                    found = _found(parts, os.fstat(fd))
                if exclusive:  # link(2) never replaces
                    os.link(fresh, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
                    os.unlink(fresh, dir_fd=folder)
                else:
                    os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError as error:
                with contextlib.suppress(OSError):
                    os.unlink(fresh, dir_fd=folder)
                raise _refused(parts, error) from error
            os.fsync(folder)
            return found

    def make_folder(self, parts: Parts) -> None:
        """And those above it. One that is there already is fine. Raises InvalidState where a file is."""
        with self._opened(parts, make=True):
            pass

    def remove(self, parts: Parts) -> None:
        """A file, or an empty folder. A symbolic link goes itself, never what it names. Raises NoSuchFile."""
        with self._parent(parts) as folder:
            try:
                if stat.S_ISDIR(os.stat(parts[-1], dir_fd=folder, follow_symlinks=False).st_mode):
                    os.rmdir(parts[-1], dir_fd=folder)
                else:
                    os.unlink(parts[-1], dir_fd=folder)
            except OSError as error:
                raise _refused(parts, error) from error
            os.fsync(folder)

    def rename(self, parts: Parts, to: Parts) -> None:
        """Move a file or folder; the folders above the new place are made. What is there must have been removed."""
        with self._parent(parts) as source, self._parent(to, make=True) as target:
            try:
                os.stat(to[-1], dir_fd=target, follow_symlinks=False)
            except FileNotFoundError:
                pass
            else:
                raise InvalidState(f"{_name(to)} is there already", path=_name(to))
            try:
                os.rename(parts[-1], to[-1], src_dir_fd=source, dst_dir_fd=target)
            except OSError as error:
                raise _refused(parts, error) from error
            os.fsync(source)
            os.fsync(target)

    def entries(self, parts: Parts) -> list[Found]:
        """What a folder holds, by name. Raises NoSuchFile, InvalidState where it is a file."""
        with self._opened(parts) as fd:
            return sorted(_scan(parts, fd), key=lambda found: found.parts)

    def walk(self, parts: Parts) -> Iterator[Found]:
        """Everything below a folder, each folder before what it holds. One that goes away meanwhile is left out."""
        pending = [parts]
        while pending:
            folder = pending.pop()
            try:
                with self._opened(folder) as fd:
                    entries = list(_scan(folder, fd))
            except (NoSuchFile, InvalidState, NotPermitted):
                if folder == parts:
                    raise
                continue
            for found in entries:
                yield found
                if found.kind is FileKind.FOLDER:
                    pending.append(found.parts)

    def sweep(self) -> None:
        """Remove what a kernel that was killed was writing."""
        folders = [(), *(found.parts for found in self.walk(()) if found.kind is FileKind.FOLDER)]
        for folder in folders:
            with self._opened(folder) as fd:
                for name in os.listdir(fd):  # noqa: PTH208 - by its descriptor
                    if name.startswith(RESERVED):
                        os.unlink(name, dir_fd=fd)

    def _mode(self, parts: Parts, folder: int, *, exclusive: bool) -> int:
        """Permissions for what comes in place of a file: the same, 0600 where there is none."""
        try:
            before = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return 0o600
        if exclusive:
            raise InvalidState(f"{_name(parts)} is there already", path=_name(parts))
        _plain(parts, before)
        return stat.S_IMODE(before.st_mode) & 0o777

    @contextlib.contextmanager
    def _parent(self, parts: Parts, *, make: bool = False) -> Iterator[int]:
        if not parts:
            raise InvalidState("that is the root of the agent's files", path="")
        with self._opened(parts[:-1], make=make) as fd:
            yield fd

    @contextlib.contextmanager
    def _opened(self, parts: Parts, *, make: bool = False) -> Iterator[int]:
        """The descriptor of a folder. Raises NoSuchFile, NotPermitted for a link, InvalidState for a file."""
        try:
            fd = os.open(self.root, _FOLDER)
        except OSError as error:
            raise _refused(parts, error) from error
        try:
            for depth, name in enumerate(parts, 1):
                fd = _step(fd, name, parts[:depth], make=make)
            yield fd
        finally:
            os.close(fd)


def _step(fd: int, name: str, parts: Parts, *, make: bool) -> int:
    """The descriptor of a folder in the one of `fd`, which is closed where that succeeds."""
    if make:
        try:
            os.mkdir(name, 0o700, dir_fd=fd)
            os.fsync(fd)
        except FileExistsError:
            pass
    try:
        below = os.open(name, _FOLDER, dir_fd=fd)
    except OSError as error:
        # Linux says ENOTDIR of a link too where O_DIRECTORY is asked for.
        raise (_link(parts) if _is_link(name, fd) else _refused(parts, error)) from error
    os.close(fd)
    return below


def _is_link(name: str, fd: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _scan(folder: Parts, fd: int) -> Iterator[Found]:
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.name.isprintable() and not entry.name.startswith(RESERVED):  # as `clean` has it
                with contextlib.suppress(FileNotFoundError):  # gone meanwhile
                    yield _found((*folder, entry.name), entry.stat(follow_symlinks=False))


def _found(parts: Parts, status: os.stat_result) -> Found:
    if stat.S_ISREG(status.st_mode):
        kind = FileKind.FILE
    else:
        kind = FileKind.FOLDER if stat.S_ISDIR(status.st_mode) else FileKind.OTHER
    return Found(parts, kind, status.st_size if kind is FileKind.FILE else 0, status.st_mtime_ns)


def _plain(parts: Parts, status: os.stat_result) -> Found:
    """Raises InvalidState for a folder, NotPermitted for what is neither file nor folder."""
    found = _found(parts, status)
    if found.kind is FileKind.FOLDER:
        raise InvalidState(f"{_name(parts)} is a folder", path=_name(parts))
    if found.kind is FileKind.OTHER:
        raise NotPermitted(f"{_name(parts)} is no plain file", path=_name(parts))
    return found


def _name(parts: Parts) -> str:
    return "/".join(parts) or "."


def _link(parts: Parts) -> NotPermitted:
    return NotPermitted(f"{_name(parts)} is a symbolic link: it could lead anywhere", path=_name(parts))


def _refused(parts: Parts, error: OSError) -> Exception:
    """What an OSError means for the caller; itself where it is not about the path."""
    name = _name(parts)
    match error.errno:
        case errno.ENOENT:
            return NoSuchFile(f"there is no {name}", path=name)
        case errno.ELOOP | errno.EMLINK:  # O_NOFOLLOW met a link
            return _link(parts)
        case errno.ENOTDIR:
            return InvalidState(f"{name} is not a folder", path=name)
        case errno.EISDIR:
            return InvalidState(f"{name} is a folder", path=name)
        case errno.ENOTEMPTY:
            return InvalidState(f"{name} is not empty", path=name)
        case errno.EEXIST:
            return InvalidState(f"{name} is there already", path=name)
        case errno.EXDEV:
            return InvalidState(f"{name} is on another file system: copy it instead", path=name)
        case errno.EROFS | errno.EACCES | errno.EPERM:
            return NotPermitted(f"{name}: {error.strerror}", path=name)
        case errno.ENXIO:
            return NotPermitted(f"{name} is no plain file", path=name)
        case _:
            return error

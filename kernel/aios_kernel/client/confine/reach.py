"""What a confined process's held call would reach, and whether that is refused; for who listens to its filter.

Landlock decides by itself, and says nothing. So calls by names of files are looked at before they come to it: what is
outside is refused here, where it can be told, and all else goes on to Landlock, which has the last word. A name that
leads nowhere is no refusal: the call fails by itself, with the error that programs expect.
"""

# Names as the system has them: what Path makes of them, such as of an empty one, would not be the same.
# ruff: noqa: PTH112, PTH115, PTH118, PTH120

from __future__ import annotations

import errno
import os
import socket
import stat
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aios_kernel.client.confine import Confinement
from aios_kernel.client.confine.notices import Call


class _Use(StrEnum):
    """What becomes of the file that is named; the value is the word for it in what is told."""

    OPEN = "open"  # to read or write, by the flags that follow the name
    WRITE = "write"
    RUN = "exec"
    NEW = "create"  # what exists already makes the call fail by itself
    PUT = "rename"
    TAKE = "remove"


_CWD: Final = None
_NAMES: Final[dict[str, tuple[tuple[int | None, int, _Use], ...]]] = {
    # Where a call's arguments hold the descriptor of a folder (or it is the working folder), a name, and its use.
    "open": ((_CWD, 0, _Use.OPEN),),
    "openat": ((0, 1, _Use.OPEN),),
    "creat": ((_CWD, 0, _Use.WRITE),),
    "unlink": ((_CWD, 0, _Use.TAKE),),
    "unlinkat": ((0, 1, _Use.TAKE),),
    "rmdir": ((_CWD, 0, _Use.TAKE),),
    "mkdir": ((_CWD, 0, _Use.NEW),),
    "mkdirat": ((0, 1, _Use.NEW),),
    "mknod": ((_CWD, 0, _Use.NEW),),
    "mknodat": ((0, 1, _Use.NEW),),
    "symlink": ((_CWD, 1, _Use.NEW),),
    "symlinkat": ((1, 2, _Use.NEW),),
    "link": ((_CWD, 0, _Use.TAKE), (_CWD, 1, _Use.NEW)),
    "linkat": ((0, 1, _Use.TAKE), (2, 3, _Use.NEW)),
    "rename": ((_CWD, 0, _Use.TAKE), (_CWD, 1, _Use.PUT)),
    "renameat": ((0, 1, _Use.TAKE), (2, 3, _Use.PUT)),
    "renameat2": ((0, 1, _Use.TAKE), (2, 3, _Use.PUT)),
    "execve": ((_CWD, 0, _Use.RUN),),
    "execveat": ((0, 1, _Use.RUN),),
}
_AT_FDCWD: Final = -100
_STREAMS: Final = {"/dev/stdin": "0", "/dev/stdout": "1", "/dev/stderr": "2"}
_FOLLOWING: Final = (_Use.OPEN, _Use.WRITE, _Use.RUN)  # links to what they lead to
_DEVICES: Final = (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call is refused. `what` is the caller's choice of words in part: it names files."""

    error: int
    action: str
    what: str


class Reach:
    """One confined process's: what its calls come to."""

    def __init__(self, os_pid: int, confinement: Confinement) -> None:
        self._os_pid = os_pid
        self._write = tuple(map(os.path.realpath, confinement.write))
        self._read = tuple(map(os.path.realpath, confinement.read))

    def refusal(self, call: Call) -> Refusal | None:
        """Why the call is refused; None: it goes on. Raises OSError where its caller has gone."""
        if call.name not in _NAMES:
            return Refusal(errno.EPERM, call.name, _others(call))
        for folder, index, use in _NAMES[call.name]:
            name = call.text(index)
            if name is None:  # the call fails by itself
                continue
            opened = use in _FOLLOWING and _stream(name)
            path = self._opened(opened) if opened else self._path(call, folder, name)
            if path is not None and (refusal := self._of(call, path, use, index)):
                return refusal
        return None

    def _path(self, call: Call, folder: int | None, name: str) -> str | None:
        """Where a name begins: absolute, as its caller sees it. None: at a descriptor that is no file's."""
        if name.startswith(("/proc/self/", "/proc/thread-self/")):
            return f"/proc/{self._os_pid}/{name.split('/', 3)[3]}"
        if name.startswith("/"):
            return name
        base = _AT_FDCWD if folder is None else call.number(folder)
        start = os.readlink(f"/proc/{call.thread}/cwd") if base == _AT_FDCWD else self._opened(str(base))
        return start and os.path.join(start, name)

    def _opened(self, fd: str) -> str | None:
        try:
            path = os.readlink(f"/proc/{self._os_pid}/fd/{fd}")
        except OSError:
            return None
        return path if path.startswith("/") else None  # else a pipe, a socket

    def _of(self, call: Call, path: str, use: _Use, index: int) -> Refusal | None:
        if use is _Use.OPEN:
            return self._open(path, call.number(index + 1))
        if use is _Use.RUN:
            real = _found(path)
            return _unless(real is None or _within(real, self._read), use, real)
        if use is _Use.WRITE:
            return self._open(path, os.O_WRONLY | os.O_CREAT)
        parent, name = os.path.split(path.rstrip("/"))
        path = os.path.join(os.path.realpath(parent), name)
        if use is _Use.NEW and call.name in ("mknod", "mknodat") and stat.S_IFMT(call.number(index + 1)) in _DEVICES:
            return Refusal(errno.EACCES, use, path)
        there = os.path.lexists(path)
        fails = not there if use is _Use.TAKE else not _has_folder(path) or (use is _Use.NEW and there)
        return _unless(fails or _within(os.path.dirname(path), self._write), use, path)

    def _open(self, path: str, flags: int) -> Refusal | None:
        if flags & os.O_PATH:  # nothing can be read or written by it
            return None
        real = _found(path)
        if flags & (os.O_TRUNC | os.O_ACCMODE) == os.O_TRUNC | os.O_RDONLY:  # Landlock knows of it from version 3 on
            return Refusal(errno.EPERM, "truncate", real or path)
        if real is not None and flags & os.O_ACCMODE == os.O_RDONLY:
            return _unless(_within(real, self._read) or _within(real, self._write), "read", real)
        if real is None and flags & os.O_CREAT:
            real = os.path.realpath(path)
            if not _has_folder(real):
                return None
        return _unless(real is None or _within(real, self._write), "write", real)


def _found(path: str) -> str | None:
    """The one name of what a name leads to; None: to nothing, or to what has no name, such as a pipe."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)  # the system follows links faster than we do, and as far as ever
    except OSError:
        return None
    try:
        name = os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
    return name if name.startswith("/") else None


def _stream(name: str) -> str:
    """The caller's descriptor that a name stands for; "": none."""
    return _STREAMS.get(name) or (name.removeprefix("/dev/fd/") if name.startswith("/dev/fd/") else "")


def _has_folder(path: str) -> bool:
    return os.path.isdir(os.path.dirname(path))


def _within(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _unless(fine: bool, action: str, path: str | None) -> Refusal | None:
    """Refused as Landlock would: EACCES."""
    return None if fine else Refusal(errno.EACCES, action, path or "")


def _others(call: Call) -> str:
    """What of a refused call's arguments tells whom it was meant for."""
    match call.name:
        case "socket":
            with_name = {family.value: family.name for family in socket.AddressFamily}
            return with_name.get(call.number(0), str(call.number(0)))
        case "kill" | "tkill":
            return f"process {call.number(0)}, signal {call.number(1)}"
        case "tgkill":
            return f"process {call.number(0)}, thread {call.number(1)}, signal {call.number(2)}"
        case "ptrace":
            return f"process {call.number(1)}"
        case "pidfd_open" | "process_vm_readv" | "process_vm_writev" | "prlimit64":
            return f"process {call.number(0)}"
        case "chmod" | "chown" | "lchown" | "setxattr" | "lsetxattr" | "removexattr" | "lremovexattr" | "truncate":
            return call.text(0) or ""
        case "fchmodat" | "fchmodat2" | "fchownat" | "utimensat" | "inotify_add_watch":
            return call.text(1) or ""
        case _:
            return ""

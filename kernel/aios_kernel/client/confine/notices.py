"""The listener's end of a seccomp filter: calls of a confined process that are held until they are answered.

Source: seccomp_unotify(2); structures and numbers from linux/seccomp.h and asm-generic/ioctl.h.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import select
import struct
from dataclasses import dataclass
from functools import cache
from typing import Final

from aios_kernel.client.confine import seccomp
from aios_kernel.client.confine.libc import LIBC

_SHORT: Final = 256
MAX_PATH: Final = 4_096  # PATH_MAX: bytes of a name, the closing NUL included
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

_NOTIFICATION: Final = struct.Struct("QIIiIQ6Q")  # id, thread, flags, call's number, architecture, address, arguments
_ANSWER: Final = struct.Struct("QqiI")  # id, value, minus an errno, flags
_ID: Final = struct.Struct("Q")
_RECEIVE: Final = 0xC0502100
_SEND: Final = 0xC0182101
_IS_VALID: Final = 0x40082102
_CONTINUE: Final = 1

_BUFFER: Final = ctypes.create_string_buffer(MAX_PATH)


class _Piece(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("address", ctypes.c_void_p), ("length", ctypes.c_size_t))


@cache
def _names() -> dict[int, str]:
    return seccomp.names(platform.machine())


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that is held."""

    id: int
    thread: int  # of the caller
    name: str
    arguments: tuple[int, ...]  # six, 64 bits each, unsigned

    def number(self, index: int) -> int:
        """An argument that is a C int."""
        return ctypes.c_int(self.arguments[index]).value

    def text(self, index: int) -> str | None:
        """The C string that an argument points to; None: there is none, or it is too long.

        Another thread of the caller may change it at any time: whoever relies on it looks at what was read here.
        """
        for length in (_SHORT, MAX_PATH):  # most are short, and to copy less takes less
            text, end, _ = _read(self.thread, self.arguments[index], length).partition(b"\0")
            if end:
                return os.fsdecode(text)
        return None


class Listener:
    """Close it last: calls that are held then fail with ENOSYS, as do all that follow."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)

    def receive(self) -> Call | None:
        """The next call that is held; None: there is none now.

        Raises:
            EOFError: no thread is filtered any more.
        """
        # A descriptor without threads is ready for ever, and to receive from it would block.
        events = dict(self._poll.poll(0)).get(self._fd, 0)
        if not events & select.POLLIN:
            if events:
                raise EOFError
            return None
        data = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(self._fd, _RECEIVE, data)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):  # its caller has been killed just now
                return None
            raise
        id, thread, _, number, _, _, *arguments = _NOTIFICATION.unpack(data)
        return Call(id, thread, _names().get(number, str(number)), tuple(arguments))

    def is_held(self, call: Call) -> bool:
        """True when the call is still held: what was read of its caller just now was its caller's."""
        try:
            fcntl.ioctl(self._fd, _IS_VALID, _ID.pack(call.id))
        except OSError:
            return False
        return True

    def answer(self, call: Call, error: int) -> None:
        """Let the call fail with `error`; 0: let it go on, to whatever else decides about it."""
        reply = _ANSWER.pack(call.id, 0, -error, 0 if error else _CONTINUE)
        try:
            fcntl.ioctl(self._fd, _SEND, reply)
        except OSError as gone:
            if gone.errno != errno.ENOENT:  # its caller has been killed
                raise


def _read(thread: int, address: int, length: int) -> bytes:
    """Bytes of a process's memory, as many as there are up to `length`. One thread."""
    here = _Piece(ctypes.addressof(_BUFFER), length)
    first = min(length, _PAGE - address % _PAGE)
    there = (_Piece * 2)(_Piece(address, first), _Piece(address + first, length - first))  # the second may be missing
    size = LIBC.process_vm_readv(thread, ctypes.byref(here), ctypes.c_ulong(1), there, ctypes.c_ulong(2), 0)
    return ctypes.string_at(_BUFFER, max(0, size))

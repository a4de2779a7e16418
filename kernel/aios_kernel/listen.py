"""The sockets that the kernel listens on: the person's own, and one on TCP for foreign clients."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Final

from aios_kernel.client.address import Address
from aios_kernel.errors import InternalError, KernelUnreachable

BACKLOG: Final = 1_024


def unix_socket(path: Path) -> socket.socket:
    """A Unix socket bound to `path`, mode 0600; a stale one is replaced, so hold the lock.

    Raises:
        InternalError: the folder is not this user's alone, or the path cannot be bound.
    """
    try:
        folder = path.parent.stat()
        if folder.st_uid != os.getuid() or folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise InternalError(f"others may write to {path.parent}: a socket there is not safe", path=str(path))
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        path.chmod(0o600)
    except OSError as error:
        raise InternalError(f"cannot make the socket {path}: {error}", path=str(path)) from error
    return listener


def tcp_socket(address: Address) -> tuple[socket.socket, str]:
    """A TCP socket that listens, and its URL, with the port that it got. Raises KernelUnreachable, in one line."""
    listener = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a former kernel may linger
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)  # at once: two may bind a port, but one listens
    except OSError as error:
        listener.close()
        raise KernelUnreachable(f"cannot listen on {address}: {error.strerror}", listen=str(address)) from error
    return listener, Address(address.host, listener.getsockname()[1]).url

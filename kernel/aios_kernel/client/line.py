"""An agent's line to its kernel: a socket that it inherits, by which it is told its token and asks for connections.

So an agent needs no right to open a socket of any kind, which on most machines would be the right to speak to every
other service of the person's; and its token is in nobody's memory but the kernel's and its own.

The kernel writes the token and a newline; then the agent writes one byte for each connection that it wants, and gets
one byte with the connection's descriptor, or end of file.
"""

from __future__ import annotations

import socket
from typing import Final

DIAL_S: Final = 30.0  # one that dials more often than the kernel likes waits here
MAX_TOKEN_BYTES: Final = 256


class Line:
    """The agent's end. Not for several threads at once."""

    def __init__(self, fd: int) -> None:
        """fd: becomes this object's. Raises OSError when nobody is at the other end."""
        self._socket = socket.socket(fileno=fd)
        self._socket.settimeout(DIAL_S)
        token = b""
        while not token.endswith(b"\n"):
            byte = self._socket.recv(1)  # no more: descriptors would be lost with what follows
            if not byte or len(token) > MAX_TOKEN_BYTES:
                raise ConnectionResetError("the kernel does not say who this process is")
            token += byte
        self.token = token.decode().rstrip("\n")

    def dial(self) -> socket.socket:
        """A new connection to the kernel. Raises OSError."""
        self._socket.send(b"c")
        data, fds, _, _ = socket.recv_fds(self._socket, 1, 1)
        if not data or not fds:
            raise ConnectionResetError("the kernel went away")
        return socket.socket(fileno=fds[0])

    def close(self) -> None:
        self._socket.close()

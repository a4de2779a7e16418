"""Standard input and output of an agent, without ever blocking its event loop on input."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator

# Longest line of input; a longer one is an error rather than a loop that buffers without end.
MAX_LINE_BYTES = 4 * 1024 * 1024


class Stdin:
    """The agent's standard input, as UTF-8 text (bytes that are none become U+FFFD)."""

    def __init__(self, fd: int = 0) -> None:
        self._fd = fd
        self._reader: asyncio.StreamReader | None = None

    async def read(self) -> str:
        """Everything until the end of input."""
        return (await (await self._open()).read()).decode(errors="replace")

    async def readline(self) -> str:
        """The next line with its newline; "" at the end. Raises ValueError for one over MAX_LINE_BYTES."""
        return (await (await self._open()).readline()).decode(errors="replace")

    async def __aiter__(self) -> AsyncIterator[str]:
        """Lines without their newlines."""
        while line := await self.readline():
            yield line.rstrip("\r\n")

    async def _open(self) -> asyncio.StreamReader:
        if self._reader is None:
            self._reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
            mode = os.fstat(self._fd).st_mode
            if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
                protocol = asyncio.StreamReaderProtocol(self._reader)
                pipe = os.fdopen(self._fd, "rb", buffering=0, closefd=False)
                await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
            else:  # a file or /dev/null: epoll refuses them, and reading them does not block
                with os.fdopen(self._fd, "rb", closefd=False) as file:
                    self._reader.feed_data(file.read())
                self._reader.feed_eof()
        return self._reader


def write(text: str) -> None:
    """Write to standard output and flush, so that tokens stream. Raises BrokenPipeError when nobody reads it."""
    sys.stdout.write(text)
    sys.stdout.flush()


def note(text: str) -> None:
    """Write one line to standard error, where narration goes."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()

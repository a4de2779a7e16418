"""The kernel's ends of an agent's standard streams."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Final, Self

from aios_kernel.errors import InvalidState

READ_BYTES: Final = 65_536  # a Linux pipe's size: one read empties it


class OutputPipe:
    """The reading end of an agent's stdout or stderr.

    It is read only when the last piece has been taken, so an agent that writes faster than its output can be made
    durable blocks in write(), as on any full pipe.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        os.set_blocking(fd, False)

    async def pump(self, take: Callable[[bytes], Awaitable[None]]) -> None:
        """Hand over everything until the last writer closes. The pipe is closed afterwards, cancelled or not."""
        try:
            while True:
                try:
                    data = os.read(self._fd, READ_BYTES)
                except BlockingIOError:
                    await until_ready(self._fd, writing=False)
                    continue
                if not data:
                    return
                await take(data)
        finally:
            self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class InputPipe:
    """The writing end of an agent's stdin. Feeders take turns; each returns when its bytes are in the pipe."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._turn = asyncio.Lock()
        self._writing: asyncio.Task[None] | None = None
        os.set_blocking(fd, False)

    async def feed(self, data: bytes) -> None:
        """Write all of `data`, waiting while the pipe is full.

        Raises:
            InvalidState: the agent has closed its standard input, or eof was sent, or it ended meanwhile.
        """
        async with self._turn:
            self._writing = asyncio.create_task(self._write(memoryview(data)))
            try:
                await self._writing
            except (BrokenPipeError, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and self._fd >= 0:  # the feeder was cancelled, not we
                    self._writing.cancel()
                    raise
                raise InvalidState("the agent's standard input is closed") from error

    async def _write(self, data: memoryview) -> None:
        while data:
            if self._fd < 0:
                raise BrokenPipeError
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                await until_ready(self._fd, writing=True)

    async def end(self) -> None:
        """Close after what is being fed: the agent reads end of file."""
        async with self._turn:
            self.close()

    def close(self) -> None:
        """Close now; a feeder that waits gets InvalidState."""
        fd, self._fd = self._fd, -1
        if self._writing is not None and not self._writing.done():
            self._writing.cancel()
        if fd >= 0:
            asyncio.get_running_loop().remove_writer(fd)
            os.close(fd)


class StdPipes:
    """The three pipes of an agent to be started: `agent_fds` go to the host, the other ends stay here."""

    def __init__(self, *, stdin: bool) -> None:
        opened: list[int] = []
        try:
            in_r, in_w = _pipe(opened) if stdin else (_null(opened), -1)
            out_r, out_w = _pipe(opened)
            err_r, err_w = _pipe(opened)
        except OSError:
            for fd in opened:
                os.close(fd)
            raise
        self._agent_fds = [in_r, out_w, err_w]
        self.stdin = InputPipe(in_w) if stdin else None
        self.stdout = OutputPipe(out_r)
        self.stderr = OutputPipe(err_r)

    @property
    def agent_fds(self) -> list[int]:
        """Standard input, output and error of the agent."""
        return self._agent_fds

    def close_agent_ends(self) -> None:
        """Once the agent has its own: else end of file never shows."""
        for fd in self._agent_fds:
            os.close(fd)
        self._agent_fds = []

    def close(self) -> None:
        self.close_agent_ends()
        self.stdout.close()
        self.stderr.close()
        if self.stdin is not None:
            self.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_agent_ends()


def _pipe(opened: list[int]) -> tuple[int, int]:
    ends = os.pipe()
    opened.extend(ends)
    return ends


def _null(opened: list[int]) -> int:
    fd = os.open(os.devnull, os.O_RDONLY)
    opened.append(fd)
    return fd


async def until_ready(fd: int, *, writing: bool) -> None:
    """Wait until a non-blocking file or socket can be read or written."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    add(fd, _wake, future)
    try:
        await future
    finally:
        remove(fd)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

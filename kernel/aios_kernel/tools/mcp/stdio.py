"""An MCP server that is a program: started by us, spoken with on its standard streams, ended with us.

What it writes is taken a line at a time, within bounds: the transport of the `mcp` package would keep a line of any
length in memory, and pass on any number of messages that nobody asked for.
Source: modelcontextprotocol.io, specification, "Transports" and "Lifecycle" (shutdown).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aios_kernel.errors import ToolFailed
from aios_kernel.sandbox.environment import harmless
from aios_kernel.tools.mcp.config import ServerConfig
from aios_kernel.tools.tool import short

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

log = logging.getLogger(__name__)

MAX_LINE_BYTES: Final = 4 << 20  # some times the longest result that a tool may have
MAX_UNASKED: Final = 10_000  # messages since the last that we sent; a slow call may tell its progress
LOG_LINES_PER_MIN: Final = 120  # of its standard error
LAST_WORDS_S: Final = 0.5  # for its standard error, once it has ended: that says why
END_S: Final = 1.5  # for each of: ending by itself once its input ends, and upon TERM
_BLOCK_BYTES: Final = 64 << 10

# Becomes the server once that is sure to die with the kernel, however the kernel ends. 1: PR_SET_PDEATHSIG of prctl(2).
_LEASH: Final = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""


@contextlib.asynccontextmanager
async def stdio(
    config: ServerConfig, environment: Mapping[str, str], on_end: Callable[[str], None]
) -> AsyncIterator[TransportStreams]:
    """Run the server's program for as long as the block; yields the streams that the `mcp` package's Client takes.

    Args:
        environment: the kernel's own, of which the program gets what is no secret.
        on_end: hears why nothing comes any more, when that is not our doing.

    Raises:
        ToolFailed: it cannot be started.
    """
    import anyio
    from mcp.shared.message import SessionMessage

    process = await _start(config, environment)
    to_session, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_server, from_session = anyio.create_memory_object_stream[SessionMessage](0)
    pumps = _Pumps(config.name, process, on_end)
    tasks = [
        asyncio.create_task(pumps.read(to_session)),
        asyncio.create_task(pumps.write(from_session)),
        asyncio.create_task(pumps.log()),
    ]
    try:
        yield from_server, to_server
    finally:
        pumps.ours = True
        try:
            await _end(process)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for stream in (to_session, from_server, to_server, from_session):
                stream.close()


async def _start(config: ServerConfig, environment: Mapping[str, str]) -> Process:
    variables = {**harmless(environment), **config.env}
    # Programs that came with us are found too where our environment is not on the PATH.
    folders = os.pathsep.join((variables.get("PATH", os.defpath), str(Path(sys.executable).parent)))
    program = shutil.which(config.command[0], path=folders)
    if program is None:
        raise ToolFailed(f"MCP server {config.name}: there is no program {config.command[0]!r}", server=config.name)
    argv = [program, *config.command[1:]]
    if sys.platform == "linux":
        argv = [sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid()), *argv]
    try:
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=variables,
            cwd=config.cwd or Path.home(),
            start_new_session=True,
            limit=MAX_LINE_BYTES,
        )
    except OSError as error:
        raise ToolFailed(f"MCP server {config.name}: {error.strerror}: {config.where}", server=config.name) from error


class _Pumps:
    """Carry messages between a server's streams and the session.

    Attributes:
        ours: its end is our doing.
    """

    def __init__(self, name: str, process: Process, on_end: Callable[[str], None]) -> None:
        self._name = name
        self._process = process
        self._on_end = on_end
        self._unasked = 0
        self._last_words = ""
        self._silent = asyncio.Event()  # its standard error has ended
        self.ours = False

    async def read(self, session: Any) -> None:
        """Its standard output, a message a line. Closes `session` at the end, so that whoever waits hears of it."""
        import mcp_types
        from mcp.shared.message import SessionMessage

        assert self._process.stdout is not None
        why = "it has ended"
        try:
            while line := await self._process.stdout.readline():
                self._unasked += 1
                if self._unasked > MAX_UNASKED:
                    why = f"it sent {MAX_UNASKED} messages that nobody asked for"
                    break
                try:
                    message = mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValueError:
                    log.warning("MCP server %s: what it wrote is no message: %s", self._name, _shown(line))
                    continue
                await session.send(SessionMessage(message))
        except ValueError:  # what readline makes of a line beyond the limit
            why = f"it sent a line of more than {MAX_LINE_BYTES >> 20} MiB"
        except (OSError, EOFError) as error:
            why = f"it cannot be read: {error}"
        if not self.ours:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await self._silent.wait()
            self._on_end(f"{why}: {self._last_words}" if self._last_words else why)
        session.close()

    async def write(self, session: Any) -> None:
        """To its standard input, a message a line."""
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(OSError):  # it has closed it: `read` tells the end
            async for item in session:
                self._unasked = 0
                stdin.write(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                await stdin.drain()

    async def log(self) -> None:
        """Its standard error, into the kernel's log: so many lines a minute."""
        assert self._process.stderr is not None
        loop = asyncio.get_running_loop()
        minute, count, rest = loop.time(), 0, b""
        while block := await self._process.stderr.read(_BLOCK_BYTES):
            *lines, rest = (rest + block).split(b"\n")
            rest = rest[-_BLOCK_BYTES:]
            if loop.time() - minute >= 60:
                minute, count = loop.time(), 0
            for line in lines[: max(0, LOG_LINES_PER_MIN - count)]:
                log.info("MCP server %s: %s", self._name, _shown(line))
            self._last_words = next((_shown(line) for line in reversed(lines) if line.strip()), self._last_words)
            if count < LOG_LINES_PER_MIN <= count + len(lines):
                log.warning("MCP server %s says too much: the rest of this minute is left out", self._name)
            count += len(lines)
        self._silent.set()


async def _end(process: Process) -> None:
    """Close its input, then TERM, then KILL, to all of its process group."""
    assert process.stdin is not None
    process.stdin.close()
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await process.wait()
                return
    log.error("the MCP server with OS process %d does not end", process.pid)


def _shown(line: bytes) -> str:
    """Another's bytes for the log: printable, one line."""
    text = short(line.decode(errors="replace"), 500)
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)

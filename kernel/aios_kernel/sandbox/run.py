"""Programs and code of tools, run in a sandbox: no network, no home, a folder of its own, and limits on everything."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from aios_kernel import errors
from aios_kernel.client import confine, protection
from aios_kernel.client.protection import Engine
from aios_kernel.errors import NotPermitted, ToolFailed
from aios_kernel.sandbox import usage
from aios_kernel.sandbox.config import SandboxConfig
from aios_kernel.sandbox.environment import harmless
from aios_kernel.sandbox.launch import KILLED_EXIT, Launch

log = logging.getLogger(__name__)

OPEN_FILES: Final = 256
LOOK_S: Final = 0.25  # between two looks at how much a program has written
END_S: Final = 3.0  # for a launcher that was told to end; then it is killed
READ_BYTES: Final = 65_536
MAX_ORDER_BYTES: Final = 60_000  # of command line and folders: an empty pipe takes that at once
_KILLED: Final = "killed, by a signal or for too much memory or processor time"
_MODULE: Final = "aios_kernel.sandbox.launch"
_PACKAGE: Final = Path(errors.__file__).parent


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one run, all its processes together but where it says otherwise."""

    wall_s: float = 30.0
    cpu_s: int = 30  # of each process
    memory_bytes: int = 512 << 20
    disk_bytes: int = 64 << 20  # in its folder
    processes: int = 32
    output_bytes: int = 256 << 10  # of stdout and of stderr each; what is beyond is dropped


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended. Its output is hostile text."""

    exit_code: int  # 137: killed
    stdout: bytes
    stderr: bytes
    truncated: bool  # there was more output
    why: str = ""  # it was killed; for a limit of `Limits`, this is which


class ToolSandbox:
    """Runs tools. Event loop only."""

    def __init__(self, folder: Path, config: SandboxConfig) -> None:
        """folder: runs have their own folders in it."""
        self._folder = folder
        self._unprotected = config.unprotected

    async def python(self, code: str, *, cwd: Path | None = None, limits: Limits | None = None) -> Result:
        """Run Python code as a script in the interpreter that is ours, the standard library alone. As `run`."""
        argv = [sys.executable, "-I", "-S", "-c", _SCRIPT]
        return await self.run(argv, cwd=cwd, stdin=code.encode(), limits=limits)

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        read: Sequence[Path] = (),
        stdin: bytes = b"",
        limits: Limits | None = None,
    ) -> Result:
        """Run a program to its end, or to a limit. Cancelling it ends the program.

        Args:
            cwd: the folder that it works in and may write to, a real path; None: a new one, which goes with it.
            read: what it may read beyond the system's programs and libraries.

        Raises:
            NotPermitted: nothing on this machine keeps it apart.
            ToolFailed: it cannot be started.
        """
        engine, found = await asyncio.to_thread(protection.tools)
        if engine is Engine.NONE and not self._unprotected:
            raise NotPermitted(
                f"nothing on this machine keeps programs apart ({found}): "
                "[sandbox] unprotected = true runs them with all your rights"
            )
        limits = limits or Limits()
        async with self._own(cwd) as folder:
            launch = Launch(
                engine=engine,
                argv=list(argv),
                cwd=str(folder),
                read=[*confine.SYSTEM, sys.prefix, sys.base_prefix, str(_PACKAGE), *map(str, read)],
                memory_bytes=limits.memory_bytes,
                file_bytes=limits.disk_bytes,
                cpu_s=limits.cpu_s,
                processes=limits.processes,
                open_files=OPEN_FILES,
            )
            try:
                program = await _Program.start(launch)
            except OSError as error:
                raise ToolFailed(f"the program cannot be started: {error}") from error
            try:
                return await program.finish(stdin, limits)
            finally:
                await asyncio.shield(program.end())

    @contextlib.asynccontextmanager
    async def _own(self, cwd: Path | None) -> AsyncIterator[Path]:
        if cwd is not None:
            yield cwd
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="tool-", dir=self._folder))
        try:
            yield folder
        finally:
            try:
                await asyncio.shield(asyncio.to_thread(usage.remove, folder))
            except OSError as error:
                log.error("the scratch folder %s cannot be removed: %s", folder, error)


# A script that comes by standard input, which it then cannot read itself; its traceback shows its lines.
_SCRIPT: Final = """
import linecache, sys, traceback
code = sys.stdin.buffer.read().decode()
linecache.cache["<code>"] = (len(code), None, code.splitlines(True), "<code>")
try:
    exec(compile(code, "<code>", "exec"), {"__name__": "__main__"})
except Exception as error:
    traceback.print_exception(error.with_traceback(error.__traceback__.tb_next))
    sys.exit(1)
"""


class _Program:
    """A program that runs; `end` it, and it is gone with all that came of it."""

    def __init__(self, process: asyncio.subprocess.Process, control: int, launch: Launch) -> None:
        self._process = process
        self._control = control
        self._launch = launch
        self._truncated = False

    @classmethod
    async def start(cls, launch: Launch) -> Self:
        """Raises OSError, ToolFailed."""
        order = json.dumps(asdict(launch)).encode() + b"\n"
        if len(order) > MAX_ORDER_BYTES:
            raise ToolFailed(f"the command is too long: at most {MAX_ORDER_BYTES} bytes")
        theirs, ours = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", _MODULE, str(theirs)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=[theirs],
                env=harmless(os.environ) | {"HOME": launch.cwd, "TMPDIR": launch.cwd},
                start_new_session=True,
            )
            os.write(ours, order)
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        return cls(process, ours, launch)

    async def finish(self, stdin: bytes, limits: Limits) -> Result:
        """See it to its end, or end it for its limits."""
        streams = [asyncio.create_task(self._take(pipe, limits.output_bytes)) for pipe in self._pipes()]
        work = {asyncio.create_task(self._process.wait()), asyncio.create_task(self._grown(limits.disk_bytes))}
        feeding = asyncio.create_task(self._feed(stdin))
        try:
            await asyncio.wait(work, timeout=limits.wall_s, return_when=asyncio.FIRST_COMPLETED)
            why = ""
            if self._process.returncode is None:
                grown = any(task.done() for task in work)
                why = (
                    f"more than {limits.disk_bytes >> 20} MiB written" if grown else f"longer than {limits.wall_s:g} s"
                )
            await self.end()
            await asyncio.wait(streams, timeout=END_S)  # longer only what escaped an absent sandbox holds them open
            stdout, stderr = (stream.result() if stream.done() else b"" for stream in streams)
        finally:
            for task in (*streams, *work, feeding):
                task.cancel()
            await asyncio.gather(*streams, *work, feeding, return_exceptions=True)
        code = KILLED_EXIT if why or (self._process.returncode or 0) < 0 else self._process.returncode or 0
        return Result(code, stdout, stderr, self._truncated, why or (_KILLED if code == KILLED_EXIT else ""))

    def _pipes(self) -> tuple[asyncio.StreamReader, asyncio.StreamReader]:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        return self._process.stdout, self._process.stderr

    async def _take(self, pipe: asyncio.StreamReader, limit: int) -> bytes:
        kept = bytearray()
        while data := await pipe.read(READ_BYTES):
            self._truncated = self._truncated or len(kept) + len(data) > limit
            kept += data[: limit - len(kept)]
        return bytes(kept)

    async def _feed(self, data: bytes) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it does not read all of it
            pipe.write(data)
            await pipe.drain()
        pipe.close()

    async def _grown(self, limit: int) -> None:
        """Return when there is more in its folder than there may be."""
        folder = Path(self._launch.cwd)
        while await asyncio.to_thread(usage.disk_bytes, folder, None, limit) <= limit:  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(LOOK_S)

    async def end(self) -> None:
        """Twice is fine."""
        if self._control < 0:
            return
        os.close(self._control)  # with sandlock the launcher sees that, and ends; others have no launcher any more
        self._control = -1
        try:
            async with asyncio.timeout(END_S if self._launch.engine == Engine.SANDLOCK else 0):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()

"""Functions that cannot be trusted to end, or to mind their business: each run is a process of its own, confined."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import msgspec

from aios_kernel.errors import BadRequest, ToolFailed
from aios_kernel.sandbox import usage
from aios_kernel.sandbox.run import Limits, Result, ToolSandbox
from aios_kernel.tools.tool import Caller, short

MAX_FILES: Final = 16  # of one run
MAX_ANSWER_BYTES: Final = 1 << 20
_HERE: Final = Path(__file__).parent / "sandboxed"
_COMMAND: Final = (sys.executable, "-I", "-B", str(_HERE / "worker.py"))


def own(module: str) -> str:
    """How the worker is told of a function `run` of ours."""
    return f"{_HERE / module}.py:run"


@dataclass(frozen=True, slots=True)
class Workers:
    """Runs functions.

    Args:
        sandbox: what confines them.
        folder: for the files that a run is given.
    """

    sandbox: ToolSandbox
    folder: Path
    timeout_s: float
    memory_bytes: int

    @property
    def limits(self) -> Limits:
        return Limits(
            wall_s=self.timeout_s,
            cpu_s=max(1, int(self.timeout_s)),
            memory_bytes=self.memory_bytes,
            output_bytes=MAX_ANSWER_BYTES,
        )

    async def call(self, function: str, arguments: dict[str, Any], *, cwd: Path | None = None) -> Any:
        """Raises ToolFailed: it raised, was ended for a limit, or answered nothing that can be read."""
        return await self._ask({"call": function, "arguments": arguments}, cwd)

    async def describe(self, functions: dict[str, str]) -> dict[str, dict[str, Any]]:
        """For each name {"description", "parameters"}, or {"error"}. Raises ToolFailed."""
        try:
            return msgspec.convert(await self._ask({"describe": functions}, None), dict[str, dict[str, Any]])
        except msgspec.ValidationError as error:
            raise ToolFailed(f"what it tells of itself is odd: {error}") from error

    async def _ask(self, order: dict[str, Any], cwd: Path | None) -> Any:
        # Packages of a development checkout lie outside the interpreter's own folders.
        read = [_HERE, *map(Path, filter(None, sys.path))]
        stdin = msgspec.json.encode(order)
        ended = await self.sandbox.run(_COMMAND, cwd=cwd, read=read, stdin=stdin, limits=self.limits)
        if ended.truncated:
            raise ToolFailed(f"it gave more than {MAX_ANSWER_BYTES >> 20} MiB")
        try:
            answer = msgspec.json.decode(ended.stdout, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ToolFailed(f"it gave no answer: {last_words(ended)}") from error
        if "result" not in answer:
            raise ToolFailed(short(str(answer.get("error", "it gave no answer")), 1_000))
        return answer["result"]

    @contextlib.asynccontextmanager
    async def place(self, files: Sequence[str], caller: Caller) -> AsyncIterator[Path]:
        """A folder with copies of the caller's files, under their own last names; gone afterwards.

        Raises BadRequest for too many or two of one name, and what reading them raises.
        """
        names = [PurePosixPath(file).name for file in files]
        if len(files) > MAX_FILES or len(set(names)) < len(names):
            raise BadRequest(f"files: at most {MAX_FILES}, and no two of one name", key="files")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="files-", dir=self.folder))
        try:
            for file, name in zip(files, names, strict=True):
                await asyncio.to_thread((folder / name).write_bytes, await read_file(file, caller))
            yield folder
        finally:
            await asyncio.shield(asyncio.to_thread(usage.remove, folder))


async def read_file(path: str, caller: Caller) -> bytes:
    """One of the caller's files, decided and read as by a syscall of its own."""
    content = await caller.syscall("sto.read", {"path": path})
    text = content.get("text")
    return base64.b64decode(content["base64"]) if text is None else text.encode()


def last_words(ended: Result) -> str:
    """Why a program ended badly, in one line."""
    lines = ended.stderr.decode(errors="replace").strip().splitlines()
    return ended.why or (short(lines[-1]) if lines else f"exit code {ended.exit_code}")

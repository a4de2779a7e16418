"""Snapshots: contexts kept under names, in files of their own."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from aios_kernel import saved as files
from aios_kernel.clock import Clock
from aios_kernel.context.file import MAGIC, MAX_HEADER_BYTES
from aios_kernel.core import ModelSpec
from aios_kernel.durable import disk_error
from aios_kernel.errors import BadRequest, InvalidState, KernelError, LimitHit, NoSuchSnapshot, SnapshotBroken
from aios_kernel.llm import Llm
from aios_kernel.process import Process
from aios_kernel.protocol import SnapshotDetail, SnapshotInfo, Tier
from aios_kernel.saved import SUFFIX, Saved, usable

NUM_BUSY: Final = 2  # files read or written at once: each holds a whole KV state in memory
BLOCK_BYTES: Final = 1 << 20  # of an upload written at once

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")  # never a pid, never a path


class Snapshots:
    """The named ones. Event loop only; files are read and written in threads, so that nobody waits for a disk."""

    def __init__(self, folder: Path, llm: Llm, clock: Clock) -> None:
        """Makes the folder, and empties it of what a kernel that was killed left half written.

        Raises LimitHit (the disk is full), InternalError.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in folder.glob(".*"):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        except OSError as error:
            raise disk_error(folder, error) from error
        self._folder = folder
        self._llm = llm
        self._clock = clock
        self._claimed: set[str] = set()  # names whose files are being written
        self._busy = asyncio.Semaphore(NUM_BUSY)

    # --- contexts of living processes

    async def capture(self, process: Process) -> Saved:
        """The process's context and conversation as they are now; what it generates goes on.

        Raises: NoSuchSnapshot (it has none yet), NoSuchModel, ModelBroken, KernelStopping.
        """
        image, conversation = await self._llm.capture(process.pid)
        request = process.request
        return Saved(
            "", image, conversation, process.pid, request.agent, request.task, process.model, self._clock.now()
        )

    async def save(self, process: Process, name: str | None = None, *, force: bool = False) -> SnapshotInfo:
        """Keep the process's context as it is now, by default under its agent and pid; durable when this returns.

        Raises, beside what `capture` does:
            BadRequest: not a name.
            InvalidState: the name is taken, and not to be replaced (`force`).
            LimitHit: the disk is full.
        """
        async with self._busy:
            return await self._keep(await self.capture(process), name, force=force)

    async def detail(self, id: str, living: Process | None) -> SnapshotDetail:
        """All of a process's context as it is now; of a saved one, without a process. Raises as `capture` or `load`.

        Waits for a model that still loads: it knows what the tokens say.
        """
        try:
            spec = await self._llm.ready()
        except KernelError:  # there is no model: the conversation is text all the same
            spec = None
        saved = await (self.load(id) if living is None else self.capture(living))
        same_model = spec is not None and spec.model_hash == saved.image.model_hash
        return files.detail(
            id,
            saved,
            tier=self._llm.usage(living.pid).tier if living is not None else Tier.DISK,
            num_bytes=self._need(id).stat().st_size if living is None else None,
            pieces=self._llm.pieces(saved.image.tokens) if same_model else [],
            build_key=spec.build_key if spec is not None else None,
        )

    async def open_living(self, process: Process) -> BinaryIO:
        """What `save` would write, as a file without a name. Raises what `capture` does, LimitHit."""
        async with self._scratch() as path:
            try:
                async with self._busy:
                    await asyncio.to_thread(files.write, path, await self.capture(process))
            except LimitHit as error:
                raise LimitHit(f"{self._folder}: there is no room for the file on its way") from error
            return await asyncio.to_thread(path.open, "rb")

    # --- files

    async def infos(self) -> list[SnapshotInfo]:
        """What there is, the oldest first; reads headers only."""
        infos = await asyncio.to_thread(lambda: [files.info_of(path) for path in self._folder.glob(f"[!.]*{SUFFIX}")])
        return sorted((info for info in infos if info is not None), key=lambda info: (info.created_at, info.id))

    async def load(self, name: str) -> Saved:
        """Raises NoSuchSnapshot, SnapshotBroken."""
        path = self._need(name)
        async with self._busy:
            return await asyncio.to_thread(files.read, path, self._llm.spec)

    async def load_usable(self, name: str) -> Saved:
        """One that the present model can go on from. Raises, beside what `load` does, InvalidState, PromptTooLong."""
        spec = await self._llm.ready()
        return usable(await self.load(name), spec)

    def open(self, name: str) -> BinaryIO:
        """The file, which stays readable when the name goes. Raises NoSuchSnapshot."""
        return self._need(name).open("rb")

    async def remove(self, name: str) -> None:
        """Raises NoSuchSnapshot."""
        await asyncio.to_thread(self._need(name).unlink, missing_ok=True)

    async def receive(self, body: AsyncIterator[bytes], name: str | None, *, force: bool = False) -> SnapshotInfo:
        """Keep a file that comes from elsewhere, by default under the name that it had there.

        Raises:
            SnapshotBroken: it is cut off, altered, of a newer version, or no snapshot.
            InvalidState: of another model, or the name is taken.
            PromptTooLong, BadRequest, LimitHit, NoSuchModel, ModelBroken
        """
        spec = await self._llm.ready()
        async with self._scratch() as path:
            try:
                await _store(body, path, _max_bytes(spec))
                async with self._busy:
                    saved = usable(await asyncio.to_thread(files.read, path, spec), spec)
                    return await self._keep(files.without_foreign_kv(saved, spec), name, force=force)
            except SnapshotBroken as error:
                raise SnapshotBroken(error.message.removeprefix(f"{path.name}: ")) from error

    async def _keep(self, saved: Saved, name: str | None, *, force: bool) -> SnapshotInfo:
        with self._claim(name, saved.name or f"{saved.agent}-{saved.pid}", force=force) as free:
            path = self._path(free)
            await asyncio.to_thread(files.write, path, dataclasses.replace(saved, name=free))
            info = await asyncio.to_thread(files.info_of, path)
        if info is None:
            raise NoSuchSnapshot(f"snapshot {free} was removed as soon as it was saved", id=free)
        return info

    @contextlib.asynccontextmanager
    async def _scratch(self) -> AsyncIterator[Path]:
        """A path for a file on its way; whatever is there at the end goes, off the event loop as it may be large."""
        folder = await asyncio.to_thread(tempfile.mkdtemp, prefix=".", dir=self._folder)
        try:
            yield Path(folder, "file")
        finally:
            await asyncio.to_thread(shutil.rmtree, folder)

    # --- names

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{SUFFIX}"

    def _need(self, name: str) -> Path:
        path = self._path(name)
        if not _NAME.fullmatch(name) or not path.is_file():
            raise NoSuchSnapshot(f"no snapshot is called {name!r}; `aios snap ls` lists them", id=name)
        return path

    @contextlib.contextmanager
    def _claim(self, name: str | None, default: str, *, force: bool) -> Iterator[str]:
        """A name that nobody else writes meanwhile. Raises BadRequest, InvalidState."""
        if name is None:
            name = next(free for free in _numbered(default) if not self._taken(free))
        elif not _NAME.fullmatch(name):
            raise BadRequest(
                f"{name!r} is not a name: letters, digits, dots, - and _ after a letter, at most 64", key="name"
            )
        elif name in self._claimed or (self._taken(name) and not force):
            raise InvalidState(f"there is a snapshot {name} already; --force replaces it", id=name)
        self._claimed.add(name)
        try:
            yield name
        finally:
            self._claimed.discard(name)

    def _taken(self, name: str) -> bool:
        return name in self._claimed or self._path(name).exists()


def _numbered(name: str) -> Iterator[str]:
    """The name, then with -2, -3, ..."""
    name = name[:60] if _NAME.fullmatch(name[:60]) else "context"  # a file from elsewhere may call itself anything
    yield name
    yield from (f"{name}-{number}" for number in itertools.count(2))


async def _store(body: AsyncIterator[bytes], path: Path, max_bytes: int) -> None:
    """Write what comes to a new file. Raises SnapshotBroken (at once, if it can be seen at once), LimitHit."""
    block, size = bytearray(), 0
    try:
        with path.open("wb") as file:
            async for data in body:
                block += data
                size += len(data)
                if size == len(block) and not block.startswith(MAGIC[: len(block)]):
                    raise SnapshotBroken("not a snapshot")
                if size > max_bytes:
                    raise SnapshotBroken(f"longer than any snapshot of this model ({max_bytes} bytes)")
                if len(block) >= BLOCK_BYTES:
                    await asyncio.to_thread(file.write, bytes(block))
                    block.clear()
            await asyncio.to_thread(file.write, bytes(block))
    except OSError as error:
        raise disk_error(path.parent.parent, error) from error


def _max_bytes(spec: ModelSpec) -> int:
    """What no file of this model is longer than. Twice the KV of a full window: runtimes differ."""
    return MAX_HEADER_BYTES + 2 * spec.window * (spec.kv_bytes_per_token + 8)

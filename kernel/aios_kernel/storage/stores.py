"""Who works on which agent's files: one thread at a time on each, a few in all, never the event loop."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from aios_kernel.clock import Clock
from aios_kernel.durable import disk_error
from aios_kernel.errors import InternalError, KernelError, NoSuchFile
from aios_kernel.protocol import MountInfo
from aios_kernel.sqlite import sqlite_error
from aios_kernel.storage.config import StorageConfig
from aios_kernel.storage.paths import check_owner
from aios_kernel.storage.store import Store

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_OPEN: Final = 64  # stores, each with a database open
NUM_THREADS: Final = 4


class Stores:
    """The stores of all agents. Event loop only, but for what it runs.

    Args:
        data: `data/files/OWNER` is an agent's jail, `data/storage/OWNER` what is kept of it.
        mounts_of: what an agent has mounted.
    """

    def __init__(
        self, data: Path, config: StorageConfig, clock: Clock, mounts_of: Callable[[str], list[MountInfo]]
    ) -> None:
        self._data = data
        self._config = config
        self._clock = clock
        self._mounts_of = mounts_of
        self._open: OrderedDict[str, Store] = OrderedDict()  # the one used last at the end
        self._locks: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._pool = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="storage")

    def owners(self) -> list[str]:
        """The agents that keep files."""
        folder = self._data / "files"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    async def run(self, owner: str, work: Callable[[Store], T], *, make: bool = False) -> T:
        """Result of `work` on an agent's store. When the caller is cancelled the work goes on, and others wait for it.

        Args:
            make: whether the agent may be one that has kept nothing yet.

        Raises:
            BadRequest: that is no agent's name; NoSuchFile: it has kept nothing.
            LimitHit: the disk is full; InternalError; what the work raises.
        """
        check_owner(owner)
        if not make and not (self._data / "files" / owner).is_dir():
            raise NoSuchFile(f"{owner} keeps no files", owner=owner)
        lock = self._locks.setdefault(owner, asyncio.Lock())
        await lock.acquire()  # who is cancelled here has changed nothing
        task = self._start(self._serve(owner, work))
        task.add_done_callback(lambda _: lock.release())
        return await asyncio.shield(task)

    def remount(self, owner: str) -> Callable[[Store], None]:
        """Work that makes a store see its agent's mounts as they are now."""
        mounts = self._mounts_of(owner)
        return lambda store: store.tree.set_mounts(mounts)

    async def close(self) -> None:
        """Wait for what is under way, and close all."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for store in self._open.values():
            await asyncio.to_thread(store.close)
        self._open.clear()
        self._pool.shutdown()

    async def _serve(self, owner: str, work: Callable[[Store], T]) -> T:
        """Under the owner's lock."""
        loop = asyncio.get_running_loop()
        try:
            if owner not in self._open:
                self._open[owner] = await loop.run_in_executor(self._pool, self._make, owner, self._mounts_of(owner))
                if len(self._open) > MAX_OPEN:
                    self._start(self._close_idle())
            self._open.move_to_end(owner)
            return await loop.run_in_executor(self._pool, work, self._open[owner])
        except (OSError, sqlite3.Error) as error:
            raise _translated(owner, error) from error

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may have gone

    def _make(self, owner: str, mounts: list[MountInfo]) -> Store:
        files, kept = self._data / "files" / owner, self._data / "storage" / owner
        return Store(owner, files, kept, self._config, self._clock, mounts)

    async def _close_idle(self) -> None:
        """Close the stores that have been idle for longest where too many are open."""
        for owner in list(self._open):
            async with self._locks[owner]:
                if len(self._open) > MAX_OPEN and owner in self._open:
                    await asyncio.to_thread(self._open.pop(owner).close)


def _translated(owner: str, error: OSError | sqlite3.Error) -> KernelError:
    what = f"files of {owner}"
    failure = sqlite_error(what, error) if isinstance(error, sqlite3.Error) else disk_error(what, error)
    if isinstance(failure, InternalError):
        log.error("%s", what, exc_info=error)
    return failure

"""Threads for what would hold up the event loop: rendering and tokenizing megabytes, building grammars."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

T = TypeVar("T")

NUM_THREADS: Final = 4


class Workers:
    """Runs one work at a time for each key, so that no process takes all threads. Event loop only."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="chat")
        self._busy: dict[int, asyncio.Future[Any]] = {}

    async def run(self, key: int, work: Callable[[], T]) -> T:
        """What `work` returns or raises. Who is cancelled leaves it to its end, and its key waits for that."""
        while (before := self._busy.get(key)) is not None:
            await asyncio.wait([before])
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        self._busy[key] = future
        future.add_done_callback(lambda _: self._done(key))
        return await asyncio.shield(future)

    def _done(self, key: int) -> None:
        future = self._busy.pop(key)
        if not future.cancelled():
            future.exception()  # whoever waited for it may be gone

    async def close(self) -> None:
        """Wait for what runs: it uses the model."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)

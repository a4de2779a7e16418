"""Places: how many runs of one tool there are at once, and who gets the next."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final

from aios_kernel.errors import DeadlineHit, LimitHit

MAX_WAITING: Final = 256  # of one process for one tool


class Slots:
    """Places of one tool. The next goes to the process that holds fewest; of those to the one served longest ago.

    So one process's flood of calls delays another's by a run at most. Event loop only.
    """

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._held: Counter[int] = Counter()
        self._served: dict[int, int] = {}  # process -> which grant was its last; of those that hold or wait
        self._num_grants = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def running(self) -> int:
        return self._held.total()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @contextlib.asynccontextmanager
    async def place(self, pid: int, wait_s: float) -> AsyncIterator[None]:
        """Hold a place within the block. Raises DeadlineHit when none came free in time, LimitHit for too many."""
        await self._take(pid, wait_s)
        try:
            yield
        finally:
            self._release(pid)

    async def _take(self, pid: int, wait_s: float) -> None:
        if sum(1 for waiter, _ in self._waiting if waiter == pid) >= MAX_WAITING:
            raise LimitHit(f"tool {self._name}: process {pid} has {MAX_WAITING} calls waiting", name=self._name)
        entry = pid, asyncio.get_running_loop().create_future()
        self._waiting.append(entry)
        self._grant()
        try:
            async with asyncio.timeout(wait_s):
                await entry[1]
        except BaseException as error:
            if entry in self._waiting:
                self._waiting.remove(entry)
            else:  # granted in the same moment
                self._release(pid)
            if isinstance(error, TimeoutError):
                message = f"tool {self._name}: none of its {self._limit} places came free in {wait_s:g} s"
                raise DeadlineHit(message, name=self._name) from error
            raise

    def _release(self, pid: int) -> None:
        self._held[pid] -= 1
        if not self._held[pid]:
            del self._held[pid]
        self._grant()
        if pid not in self._held and all(waiter != pid for waiter, _ in self._waiting):
            self._served.pop(pid, None)

    def _grant(self) -> None:
        while self.running < self._limit:
            asking = [entry for entry in self._waiting if not entry[1].done()]  # a cancelled one takes itself off
            if not asking:
                return
            pid, future = entry = min(asking, key=self._turn)  # of equals the one that has waited longest
            self._waiting.remove(entry)
            self._num_grants += 1
            self._held[pid] += 1
            self._served[pid] = self._num_grants
            future.set_result(None)

    def _turn(self, entry: tuple[int, asyncio.Future[None]]) -> tuple[int, int]:
        pid = entry[0]
        return self._held.get(pid, 0), self._served.get(pid, 0)

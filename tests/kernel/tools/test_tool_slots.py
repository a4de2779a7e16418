"""Places of a tool: never more than there are, none lost, the next to who has fewest."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios_kernel.errors import DeadlineHit, LimitHit
from aios_kernel.tools import slots as module
from aios_kernel.tools.slots import Slots

pytestmark = pytest.mark.anyio


@given(
    limit=st.integers(1, 4),
    calls=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3), st.booleans()), max_size=20),
)
@settings(deadline=None)
def test_never_more_than_the_limit_and_none_lost(limit: int, calls: list[tuple[int, int, bool]]) -> None:
    """calls: pid, how many turns of the event loop it takes, whether it is cancelled midway."""

    async def run() -> None:
        slots = Slots("probe", limit)
        inside = highest = 0

        async def call(pid: int, turns: int) -> None:
            nonlocal inside, highest
            async with slots.place(pid, 20.0):
                inside += 1
                highest = max(highest, inside)
                try:
                    for _ in range(turns):
                        await asyncio.sleep(0)
                finally:
                    inside -= 1

        tasks = [asyncio.create_task(call(pid, turns)) for pid, turns, _ in calls]
        await asyncio.sleep(0)
        for task, (_, _, cancelled) in zip(tasks, calls, strict=True):
            if cancelled:
                task.cancel()
                await asyncio.sleep(0)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert highest <= limit
        assert (slots.running, slots.waiting) == (0, 0)
        async with slots.place(9, 0.5):
            assert slots.running == 1

    asyncio.run(run())


async def test_a_flood_of_one_process_delays_another_by_one_run() -> None:
    slots = Slots("probe", 1)
    order: list[int] = []

    async def call(pid: int) -> None:
        async with slots.place(pid, 20.0):
            order.append(pid)
            await asyncio.sleep(0)

    async with slots.place(1, 1.0):
        tasks = [asyncio.create_task(call(pid)) for pid in (1, 1, 1, 2)]
        await asyncio.sleep(0)
        assert slots.waiting == 4
    await asyncio.gather(*tasks)
    assert order.index(2) <= 1


async def test_who_waits_too_long_or_too_often_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 1)
    slots = Slots("probe", 1)
    async with slots.place(1, 1.0):
        with pytest.raises(DeadlineHit, match=r"none of its 1 places came free in 0\.01 s"):
            async with slots.place(2, 0.01):
                pass
        waiting = asyncio.create_task(slots.place(2, 20.0).__aenter__())
        await asyncio.sleep(0)
        with pytest.raises(LimitHit, match="process 2 has 1 calls waiting"):
            async with slots.place(2, 0.01):
                pass
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert slots.running == 0

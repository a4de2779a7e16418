from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aios_kernel import eventlog
from aios_kernel.clock import SystemClock
from aios_kernel.errors import InternalError
from aios_kernel.eventlog import EventLog
from aios_kernel.journal import Journal
from aios_kernel.protocol import EventKind, Pid

pytestmark = pytest.mark.anyio


async def test_a_writer_that_stops_waiting_makes_no_gap(tmp_path: Path) -> None:
    clock = SystemClock()
    journal = Journal.open(tmp_path / "j", kernel_pid=1, version="test", clock=clock)
    try:
        log = EventLog(Pid(1), journal, clock)
        await log.append(EventKind.STDOUT, b"w")
        writing = asyncio.create_task(log.append(EventKind.STDOUT, b"x"))
        await asyncio.sleep(0)  # it has queued its row
        writing.cancel()
        log.append_nowait(EventKind.EXIT, b"0")
        async with asyncio.timeout(30):
            seen = [event.seq async for page in log.follow(-1) for event in page]
        assert seen == [0, 1, 2]
    finally:
        journal.close()


async def test_an_end_that_cannot_be_written_is_told_as_such(tmp_path: Path) -> None:
    clock = SystemClock()
    journal = Journal.open(tmp_path / "j", kernel_pid=1, version="test", clock=clock)
    log = EventLog(Pid(1), journal, clock)
    await log.append(EventKind.STDOUT, b"said")
    followed = log.follow(-1)
    assert [event.kind for event in await anext(followed)] == [EventKind.STDOUT]
    journal.close()
    with pytest.raises(InternalError):
        await log.append(EventKind.EXIT, b"0")
    with pytest.raises(InternalError):
        await anext(followed)


@pytest.mark.parametrize(("size", "num"), [(1, 5_000), (65_536, 40), (300_000, 40)])
async def test_output_is_read_in_parts_and_cut(
    tmp_path: Path, size: int, num: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventlog, "MAX_OUTPUT_BYTES", 5_000_000)
    clock = SystemClock()
    journal = Journal.open(tmp_path / "j", kernel_pid=1, version="test", clock=clock)
    try:
        log = EventLog(Pid(1), journal, clock)
        for number in range(num):
            log.append_nowait(EventKind.STATE, b"running")
            written = log.append_nowait(EventKind.STDOUT, b"%d" % (number % 10) * size)
        await written
        whole = b"".join(b"%d" % (number % 10) * size for number in range(num)).decode()
        text = await eventlog.output_of(journal, 1)
    finally:
        journal.close()
    if len(whole) <= 5_000_000:
        assert text == whole
    else:
        assert text == f"{whole[:5_000_000]}\n[{len(whole) - 5_000_000} bytes are left out]\n"

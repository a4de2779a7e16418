from __future__ import annotations

import asyncio
import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from aios_kernel import duck, eventlog
from aios_kernel.clock import SystemClock
from aios_kernel.errors import InternalError, InvalidState
from aios_kernel.journal import Call, Cut, End, EventRow, Journal, Start, kept_json

pytestmark = pytest.mark.anyio


class FixedDate(SystemClock):
    def now(self) -> float:
        return 5.0


def opened(path: Path, max_bytes: float = math.inf) -> Journal:
    return Journal.open(path, kernel_pid=1, version="test", clock=FixedDate(), max_bytes=max_bytes)


def start(pid: int, boot: int) -> Start:
    return Start(pid, boot, 0, "math", "2+2", 3, "user", "m", "{}", 1.0)


def event(pid: int, seq: int, data: bytes = b"x") -> EventRow:
    return EventRow(pid, seq, "stdout", data, 1.0)


async def test_rows_come_back_as_written(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    try:
        await journal.append(event(1, 0, bytes(range(256))))
        await journal.append(Call(1, 0, "tool.call", "{}", 1.0))
        await journal.append(Call(1, 0, "tool.call", "{}", 1.0, None, '{"errno": "ETOOL"}', 2.0))
        assert [{"data": bytes(range(256))}] == await journal.read("SELECT data FROM events")
        rows = await journal.read("SELECT name, result, error, finished_at FROM syscalls")
        assert rows == [{"name": "tool.call", "result": None, "error": '{"errno": "ETOOL"}', "finished_at": 2.0}]
    finally:
        journal.close()


def test_long_json_is_kept_by_its_beginning() -> None:
    text = msgspec.json.encode({"path": "a.txt", "text": "ä" * 10_000})
    assert kept_json(text, len(text)) == text.decode()
    cut = msgspec.json.decode(kept_json(text, len(text) - 1), type=Cut)
    assert (cut.cut, cut.sha256) == (len(text), hashlib.sha256(text).hexdigest())
    assert text.decode().startswith(cut.head)
    assert len(cut.head) > 500


async def test_rows_queued_together_are_durable_in_order(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    try:
        done: list[int] = []
        futures = [journal.append(event(1, seq)) for seq in range(5_000)]
        for seq, future in enumerate(futures):
            future.add_done_callback(lambda _, seq=seq: done.append(seq))
        await futures[-1]
        await asyncio.sleep(0)  # the callbacks of the last future itself
        assert list(range(5_000)) == done
        assert await journal.read("SELECT count(*) AS n FROM events") == [{"n": 5_000}]
    finally:
        journal.close()


async def test_a_cancelled_waiter_loses_no_row(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    try:
        journal.append(event(1, 0)).cancel()
        await journal.append(event(1, 1))
        assert await journal.read("SELECT seq FROM events ORDER BY seq") == [{"seq": 0}, {"seq": 1}]
    finally:
        journal.close()


async def test_the_next_boot_closes_what_a_dead_kernel_left_open(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    assert (journal.boot, journal.last_pid) == (1, 0)
    await journal.append(start(1, 1))
    await journal.append(End(1, 0, "done", 3, 10, 5, 15, 4096, 0.5, True, 2.0))
    await journal.append(start(2, 1))
    await journal.append(event(2, 0))
    journal.close()

    journal = opened(tmp_path / "j")
    try:
        assert (journal.boot, journal.last_pid) == (2, 2)
        rows = await journal.read("SELECT pid, exit_code, reason, nice, ended_at FROM procs ORDER BY pid")
        assert rows == [
            {"pid": 1, "exit_code": 0, "reason": "done", "nice": 3, "ended_at": 2.0},
            {"pid": 2, "exit_code": 137, "reason": "kernel died", "nice": 3, "ended_at": 5.0},
        ]
        events = await journal.read("SELECT seq, kind, data FROM events WHERE pid = 2 ORDER BY seq")
        assert events[-1] == {"seq": 1, "kind": "exit", "data": b"137"}
    finally:
        journal.close()


CRASH = """
import asyncio, os, sys
from pathlib import Path
from aios_kernel.clock import SystemClock
from aios_kernel.journal import EventRow, Journal

async def main():
    journal = Journal.open(Path(sys.argv[1]), kernel_pid=1, version="test", clock=SystemClock())
    await journal.append(EventRow(1, 0, "stdout", b"durable", 1.0))
    os._exit(9)

asyncio.run(main())
"""


def crash(path: Path) -> subprocess.CompletedProcess[str]:
    """Run a program that makes one row durable and dies at once."""
    return subprocess.run([sys.executable, "-c", CRASH, path], timeout=60, check=False, capture_output=True, text=True)


async def test_a_row_that_is_not_urgent_becomes_durable_in_its_place(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    try:
        calm = journal.append(event(1, 0), urgent=False)
        calm.add_done_callback(lambda _: done.append("calm"))
        urgent = journal.append(event(1, 1))
        urgent.add_done_callback(lambda _: done.append("urgent"))
        done: list[str] = []
        async with asyncio.timeout(30):
            await asyncio.gather(calm, urgent)
            await journal.append(event(1, 2), urgent=False)  # with nothing urgent behind it
        assert done == ["calm", "urgent"]
        await asyncio.gather(journal.append(event(1, 3), urgent=False), journal.append(start(1, 1)))  # another stream
        rows = await journal.read("SELECT seq FROM events ORDER BY seq")
        assert [row["seq"] for row in rows] == [0, 1, 2, 3]
    finally:
        journal.close()


async def test_a_durable_row_survives_a_crash(tmp_path: Path) -> None:
    assert crash(tmp_path / "j").returncode == 9
    journal = opened(tmp_path / "j")
    try:
        assert await journal.read("SELECT data FROM events") == [{"data": b"durable"}]
    finally:
        journal.close()


def test_a_damaged_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"not a database at all" * 1000)
    with pytest.raises(InternalError, match=r"the journal .*/j cannot be used: .*not a valid DuckDB") as caught:
        opened(tmp_path / "j")
    assert "\n" not in caught.value.message


async def test_one_process_has_the_file(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    try:
        done = crash(tmp_path / "j")
        assert done.returncode == 1
        assert "cannot be used: IO Error: Could not set lock on file" in done.stderr
    finally:
        journal.close()


async def test_a_row_that_cannot_be_written_fails_its_waiter_and_no_other(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    try:
        with pytest.raises(InternalError, match="the journal cannot be written"):
            await journal.append(event(2**70, 0))
        await journal.append(event(1, 0))
        assert await journal.read("SELECT count(*) AS n FROM events") == [{"n": 1}]
    finally:
        journal.close()


async def test_after_close_nothing_is_taken(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    journal.close()
    journal.close()
    with pytest.raises(InternalError, match="closed"):
        await journal.append(event(1, 0))


async def test_urgent_rows_of_one_stream_do_not_hold_up_the_other(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    try:
        calm = journal.append(event(1, 0), urgent=False)
        async with asyncio.timeout(30):
            await journal.append(Call(1, 0, "proc.self", "{}", 1.0))
            calm = journal.append(event(1, 1), urgent=False)
            num = 1
            while not calm.done():
                await journal.append(Call(1, num, "proc.self", "{}", 1.0))
                num += 1
    finally:
        journal.close()


async def test_a_bad_row_costs_those_committed_with_it_nothing(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    try:
        futures = [journal.append(event(pid, 0), urgent=False) for pid in (1, 2**70, 2)]
        results = await asyncio.gather(*futures, journal.append(event(3, 0)), return_exceptions=True)
        assert [type(result) for result in results] == [type(None), InternalError, type(None), type(None)]
        assert [{"pid": pid} for pid in (1, 2, 3)] == await journal.read("SELECT pid FROM events ORDER BY pid")
    finally:
        journal.close()


async def test_an_end_that_is_half_recorded_is_completed_as_it_was(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    await journal.append(start(1, 1))
    await journal.append(EventRow(1, 0, "exit", b"7", 1.0))  # and no row of its end
    await journal.append(start(2, 1))
    await journal.append(event(2, 0))
    await journal.append(End(2, 0, "done", 3, 10, 5, 15, 4096, 0.5, True, 2.0))  # and no exit event
    journal.close()

    journal = opened(tmp_path / "j")
    try:
        rows = await journal.read("SELECT pid, exit_code, reason FROM procs ORDER BY pid")
        assert rows == [
            {"pid": 1, "exit_code": 7, "reason": "exit 7"},
            {"pid": 2, "exit_code": 0, "reason": "done"},
        ]
        rows = await journal.read("SELECT pid, seq, data FROM events WHERE kind = 'exit' ORDER BY pid")
        assert rows == [{"pid": 1, "seq": 0, "data": b"7"}, {"pid": 2, "seq": 1, "data": b"0"}]
    finally:
        journal.close()


async def lived(journal: Journal, pid: int, num_events: int, *, ended: bool = True) -> None:
    """A process that writes `num_events` KiB that no compression makes shorter."""
    await journal.append(start(pid, journal.boot))
    await asyncio.gather(*(journal.append(event(pid, seq, os.urandom(1 << 10))) for seq in range(num_events)))
    await journal.append(Call(pid, 0, "proc.self", "{}", 1.0, "{}", None, 2.0))
    if ended:
        await journal.append(EventRow(pid, num_events, "exit", b"0", 1.0))
        await journal.append(End(pid, 0, "done", 3, 10, 5, 15, 4096, 0.5, True, 2.0))


async def test_the_file_stays_bounded_and_the_longest_ended_lose_their_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    most, num_procs, each = 8 << 20, 40, 1_000
    slack = 3 * duck.ROW_GROUP << 10  # that many groups a checkpoint puts together, before their old places are free
    monkeypatch.setattr(duck, "CHECKPOINT_BYTES", 1 << 20)
    journal = opened(tmp_path / "j", max_bytes=most)
    try:
        await lived(journal, 1, 100, ended=False)
        for pid in range(2, num_procs + 1):
            await lived(journal, pid, each)
            assert (tmp_path / "j").stat().st_size < most + slack + 2 * duck.CHECKPOINT_BYTES
        (left,) = await journal.read("SELECT list(DISTINCT pid) AS pids FROM events")
        pids = sorted(left["pids"])
        assert pids == [1, *range(pids[1], num_procs + 1)]
        assert 3 <= len(pids) <= most // (each << 10) + 2
        assert sorted(left["pids"]) == [row["pid"] for row in await journal.read("SELECT pid FROM calls ORDER BY pid")]
        assert await journal.read("SELECT count(*) AS n FROM events WHERE pid = 1") == [{"n": 100}]
        assert await journal.read("SELECT count(*) AS n FROM procs WHERE exit_code = 0") == [{"n": num_procs - 1}]
        with pytest.raises(InvalidState, match="the events of process 2 are no longer kept"):
            await eventlog.read_page(journal, 2, -1)
        assert await eventlog.output_of(journal, 2) == "[its output is no longer kept]\n"
        assert len(await eventlog.read_page(journal, num_procs, each)) == 0
        assert "are no longer kept; it has" in caplog.text
    finally:
        journal.close()

    journal = opened(tmp_path / "j")
    try:
        assert journal.last_pid == num_procs
        assert await journal.read("SELECT pid FROM events WHERE pid = 2") == []
        assert await journal.read("SELECT kind, data FROM events WHERE pid = 1 AND seq = 100") == [
            {"kind": "exit", "data": b"137"}
        ]
    finally:
        journal.close()


async def test_a_journal_that_is_too_large_at_a_start_is_made_smaller(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = opened(tmp_path / "j")
    for pid in range(1, 9):
        await lived(journal, pid, 1_000)
    journal.close()

    journal = opened(tmp_path / "j", max_bytes=4 << 20)
    try:
        async with asyncio.timeout(60):
            while not await journal.read("SELECT 1 FROM trims WHERE pid = 5"):
                await journal.append(event(9, 0))  # rows go on being written
        assert await journal.read("SELECT DISTINCT pid FROM events WHERE pid < 5") == []
    finally:
        journal.close()


async def test_what_does_not_fit_into_memory_goes_beside_the_file(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    try:
        (row,) = await journal.read("SELECT current_setting('temp_directory') AS folder")
        assert row["folder"] == f"{tmp_path / 'j'}.tmp"
    finally:
        journal.close()

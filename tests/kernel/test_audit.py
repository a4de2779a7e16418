"""The audit log: nothing that was acknowledged can be altered, moved or taken away without being found."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aios_kernel import audit as module
from aios_kernel.audit import AuditLog, Entry
from aios_kernel.client.chain import Report, verify
from aios_kernel.clock import SystemClock
from aios_kernel.errors import BadRequest, InternalError, LimitHit
from aios_kernel.protocol import AuditHead

pytestmark = pytest.mark.anyio

Opener = Callable[..., AuditLog]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    logs: list[AuditLog] = []

    def open_log(folder: Path = tmp_path / "audit", **options: int) -> AuditLog:
        logs.append(AuditLog.open(folder, SystemClock(), version="1", **{"max_bytes": 1 << 30, **options}))
        return logs[-1]

    yield open_log
    for log in logs:
        log.close()


async def written(log: AuditLog, count: int, start: int = 0) -> None:
    await asyncio.gather(*(log.append(entry(n)) for n in range(start, start + count)))


def entry(n: int) -> Entry:
    return Entry("decision", pid=n, agent="probe", action="file:delete", resource=f"a{n}.txt", outcome="allow")


def check(folder: Path, expected: AuditHead | None = None) -> Report:
    return verify(folder, expected)


async def test_rows_are_kept_in_order_and_found_again(opened: Opener, tmp_path: Path) -> None:
    log = opened()
    await written(log, 5)
    log.append(Entry("effect", pid=3, outcome="ok"), urgent=False)
    rows = await log.read()
    assert [(row.seq, row.what) for row in rows[-2:]] == [(6, "decision"), (7, "effect")]
    assert [row.pid for row in await log.read(pid=3)] == [3, 3]
    assert [row.seq for row in await log.read(limit=2)] == [6, 7]
    assert await log.read(since=rows[-1].at + 1) == []
    assert rows[-1].hash == log.head.hash
    log.close()
    report = check(tmp_path / "audit")
    assert (report.problems, report.rows, report.head) == ([], 7, log.head)


async def test_it_goes_on_over_restarts_and_segments(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 2_000)
    for start in (0, 20):
        log = opened()
        for n in range(start, start + 20):
            await log.append(entry(n))
        log.close()
    assert len(list((tmp_path / "audit").glob("*.log"))) > 3
    assert check(tmp_path / "audit").problems == []
    assert [row.pid for row in await opened().read(limit=1_000) if row.what == "decision"] == list(range(40))


async def test_the_oldest_segments_go_and_that_is_written_down(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 2_000)
    log = opened(max_bytes=6_000)
    for n in range(100):
        await log.append(entry(n))
    log.close()
    segments = sorted((tmp_path / "audit").glob("*.log"))
    assert sum(path.stat().st_size for path in segments) < 9_000
    assert segments[0].name != "000001.log"
    assert check(tmp_path / "audit").problems == []
    segments[0].unlink()
    assert "before row" in check(tmp_path / "audit").problems[0]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a log with two segments, closed."""
    folder = tmp_path_factory.mktemp("sealed") / "audit"

    async def fill() -> None:
        log = AuditLog.open(folder, SystemClock(), version="1", max_bytes=1 << 30)
        for n in range(12):
            await log.append(entry(n))
        log.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SEGMENT_BYTES", 1_500)
        asyncio.run(fill())
    assert check(folder).problems == []
    assert len(list(folder.glob("*.log"))) > 1
    return folder


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_flipped_byte_of_any_file_is_found(sealed: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(sealed.iterdir())))
    before = path.read_bytes()
    at = data.draw(st.integers(0, len(before) - 1))
    flip = data.draw(st.integers(1, 255))
    try:
        path.write_bytes(before[:at] + bytes([before[at] ^ flip]) + before[at + 1 :])
        assert check(sealed).problems
    finally:
        path.write_bytes(before)


def tampered(sealed: Path, tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], name: str) -> list[str]:
    folder = tmp_path / "copy"
    shutil.copytree(sealed, folder)
    path = folder / name
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    return check(folder).problems


@pytest.mark.parametrize("name", ["000001.log", "last"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows[:1] + rows[2:], "missing"),
        (lambda rows: [rows[1], rows[0], *rows[2:]], "row"),
        (lambda rows: rows[:-1], "missing"),
        (lambda rows: [*rows, rows[-1]], "row"),
        (lambda rows: [*rows[:-1], rows[-1][:-9]], "row"),
        (lambda rows: [*rows[:-1], rows[-1].replace(b"allow", b"denyy")], "altered"),
        (lambda _: [], "missing"),
    ],
    ids=["removed", "reordered", "truncated", "repeated", "cut off", "edited", "emptied"],
)
def test_what_was_done_to_rows_is_said(
    sealed: Path, tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], says: str, name: str
) -> None:
    name = max(path.name for path in sealed.glob("*.log")) if name == "last" else name
    problems = tampered(sealed, tmp_path, change, name)
    assert problems
    assert any(says in problem for problem in problems), problems


def test_files_that_come_and_go_are_found(sealed: Path, tmp_path: Path) -> None:
    for what in ("no head", "no first", "renamed", "one more"):
        folder = tmp_path / what
        shutil.copytree(sealed, folder)
        if what == "no head":
            (folder / "head").unlink()
        elif what == "no first":
            (folder / "000001.log").unlink()
        elif what == "renamed":
            (folder / "000001.log").rename(folder / "000007.log")
        else:
            (folder / "notes.txt").touch()
        assert check(folder).problems, what
    assert check(tmp_path / "nothing").problems == ["there is no audit log"]


async def test_a_log_rewritten_as_a_whole_does_not_fit_an_exported_head(opened: Opener, tmp_path: Path) -> None:
    log = opened()
    await written(log, 3)
    kept = log.head
    await written(log, 3)
    log.close()
    assert check(tmp_path / "audit", kept).problems == []
    shutil.rmtree(tmp_path / "audit")
    forged = opened()
    await written(forged, 6, start=1)
    forged.close()
    assert check(tmp_path / "audit").problems == []
    assert f"row {kept.seq}" in check(tmp_path / "audit", kept).problems[0]
    ahead = AuditHead(99, kept.hash)
    assert "missing" in check(tmp_path / "audit", ahead).problems[0]


async def test_an_unfinished_row_is_cut_off_by_the_next_start_alone(opened: Opener, tmp_path: Path) -> None:
    log = opened()
    await written(log, 3)
    log.close()
    with (tmp_path / "audit" / "000001.log").open("ab") as file:
        file.write(b"0" * 40)
    assert "unfinished" in check(tmp_path / "audit").problems[0]
    log = opened()
    await written(log, 1)
    log.close()
    assert check(tmp_path / "audit").problems == []
    assert "cut off 40 bytes" in (await log.read())[-2].why


@pytest.mark.parametrize("what", ["truncated", "no head", "head altered"])
async def test_a_start_does_not_cover_up_what_was_done_before_it(opened: Opener, tmp_path: Path, what: str) -> None:
    log = opened()
    await written(log, 5)
    log.close()
    path, head = tmp_path / "audit" / "000001.log", tmp_path / "audit" / "head"
    if what == "truncated":
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    elif what == "no head":
        head.unlink()
    else:
        head.write_text("nonsense")
    log = opened()
    await written(log, 1)
    log.close()
    assert check(tmp_path / "audit").problems


async def test_a_full_disk_refuses_rows_and_spoils_none(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened()
    await written(log, 2)
    real = os.write

    def half(fd: int, data: bytes) -> int:
        real(fd, data[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "write", half)
        with pytest.raises(LimitHit, match="No space left"):
            await log.append(entry(9))
    await written(log, 1, start=3)
    log.close()
    assert check(tmp_path / "audit").problems == []
    assert [row.pid for row in await log.read() if row.what == "decision"] == [0, 1, 3]
    with pytest.raises(InternalError, match="closed"):
        await log.append(entry(1))


async def test_text_of_agents_is_kept_short_and_whole(opened: Opener, tmp_path: Path) -> None:
    log = opened()
    await log.append(Entry("decision", resource="x\n\x00\udc80" + "y" * 100_000, outcome="deny"))
    (row,) = await log.read(limit=1)
    assert row.resource.startswith("x\n\x00?yyy")
    assert len(row.resource) < 700
    log.close()
    assert check(tmp_path / "audit").problems == []


async def test_a_limit_is_checked(opened: Opener) -> None:
    with pytest.raises(BadRequest, match="limit"):
        await opened().read(limit=0)


async def test_the_files_are_the_owners_alone(opened: Opener, tmp_path: Path) -> None:
    log = opened()
    await written(log, 1)
    for path in (tmp_path / "audit").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path

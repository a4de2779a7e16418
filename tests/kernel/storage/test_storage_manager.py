"""The storage manager: many agents at once, decisions on the way, shares, mounts, searches by meaning."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aios_kernel.errors import BadRequest, InvalidState, LimitHit, NoSuchFile, NoSuchModel, NotPermitted
from aios_kernel.protocol import FileInfo
from aios_kernel.storage import StorageConfig, StorageManager, stores
from aios_kernel.storage.manager import allowed
from aios_kernel.storage.paths import Address
from aios_kernel.testing import FakeClock

pytestmark = pytest.mark.anyio


def content(file: str) -> str | None:
    path = Path(file)
    return path.read_text() if path.exists() else None


TOPICS = ("animal", "money", "weather")
WORDS = {"fox": 0, "dog": 0, "creature": 0, "bank": 1, "coin": 1, "rain": 2, "storm": 2}


async def embed(texts: list[str]) -> list[list[float]]:
    """A model of three topics."""
    return [
        [1e-3 + sum(word in text.lower() for word, topic in WORDS.items() if topic == t) for t in range(len(TOPICS))]
        for text in texts
    ]


def at(text: str) -> Address:
    return Address.parse(text, "me")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1e9)


@pytest.fixture
async def storage(tmp_path: Path, clock: FakeClock) -> AsyncIterator[StorageManager]:
    storage = StorageManager(tmp_path / "data", StorageConfig(), clock, [tmp_path / "data"], embed)
    yield storage
    await storage.close()


async def test_write_read_and_restart(storage: StorageManager, tmp_path: Path, clock: FakeClock) -> None:
    await storage.write(at("a/b.txt"), b"one", 1, allowed)
    await storage.write(at("a/b.txt"), b"\xff\0", 1, allowed)
    content = await storage.read(at("a/b.txt"))
    assert (content.text, content.base64, content.version, content.size) == (None, "/wA=", 2, 2)
    assert (await storage.read(at("a/b.txt"), -1)).text == "one"
    await storage.close()
    again = StorageManager(tmp_path / "data", StorageConfig(), clock)
    assert len(await again.history(at("a/b.txt"))) == 2
    assert [owner.owner for owner in await again.owners()] == ["me"]
    await again.close()


async def test_replacing_is_decided_and_nothing_else(storage: StorageManager) -> None:
    asked: list[FileInfo] = []

    async def no(file: FileInfo) -> None:
        asked.append(file)
        raise NotPermitted("no")

    await storage.write(at("a"), b"1", 1, no)
    await storage.write(at("a"), b"1", 1, no)
    await storage.append(at("a"), b"2", 1)
    await storage.write(at("b"), b"b", 1, no)
    assert asked == []
    for act in (
        storage.write(at("a"), b"x", 1, no),
        storage.rollback(at("a"), 1, 1, no),
        storage.move(at("b"), at("a"), 1, no, only=None),
    ):
        with pytest.raises(NotPermitted):
            await act
    assert [(file.path, file.version) for file in asked] == [("a", 2)] * 3
    assert (await storage.read(at("a"))).text == "12"
    with pytest.raises(InvalidState):
        await storage.create(at("a"), b"", 1)


async def test_one_agents_slow_work_holds_up_no_other(storage: StorageManager) -> None:
    await storage.write(at("a"), b"x", 1, allowed)
    go = threading.Event()
    slow = [asyncio.create_task(storage._stores.run("me", lambda _: go.wait(10))) for _ in range(20)]
    await storage.write(at("~other/a"), b"x", 1, allowed)
    assert not any(task.done() for task in slow)
    go.set()
    await asyncio.gather(*slow)


async def test_who_is_cancelled_while_waiting_has_changed_nothing(storage: StorageManager) -> None:
    go = threading.Event()
    slow = asyncio.create_task(storage._stores.run("me", lambda _: go.wait(10), make=True))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(storage.write(at("a"), b"x", 1, allowed))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    slow.cancel()  # its work goes on
    with pytest.raises(asyncio.CancelledError):
        await slow
    go.set()
    with pytest.raises(NoSuchFile):
        await storage.read(at("a"))


async def test_many_writers_of_one_file_lose_nothing(storage: StorageManager) -> None:
    await asyncio.gather(*(storage.append(at("log"), b"%02d\n" % n, n) for n in range(50)))
    text = (await storage.read(at("log"))).text
    assert text is not None
    assert sorted(text.split()) == [f"{n:02d}" for n in range(50)]
    assert len(await storage.history(at("log"))) == 50


async def test_more_agents_than_may_be_open(storage: StorageManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "MAX_OPEN", 3)
    for _ in range(2):
        await asyncio.gather(*(storage.append(at(f"~a{n}/f"), b"x", 1) for n in range(12)))
    await asyncio.gather(*storage._stores._tasks)
    assert len(storage._stores._open) == 3
    assert [(await storage.read(at(f"~a{n}/f"))).text for n in range(12)] == ["xx"] * 12


async def test_what_no_agent_is_called(storage: StorageManager, tmp_path: Path) -> None:
    for owner in ("", "..", "a/b", "x" * 65, ".hidden"):
        with pytest.raises(BadRequest):
            await storage.write(Address(owner, ("a",)), b"", 1, allowed)
        with pytest.raises(BadRequest):
            await storage.read(Address(owner, ("a",)))
    with pytest.raises(NoSuchFile):
        await storage.read(at("~nobody/a"))
    assert not (tmp_path / "data/files").exists()
    assert await storage.entries(at("")) == []


async def test_a_link_is_a_copy_that_expires(storage: StorageManager, clock: FakeClock) -> None:
    await storage.write(at("a.txt"), b"then", 1, allowed)
    share = await storage.share(at("a.txt"), "", 60)
    await storage.write(at("a.txt"), b"now", 1, allowed)
    assert content(share.file) == "then"
    assert (await storage.read(Address.parse(f"share:{share.id}", "another"))).text == "then"
    for wrong in (share.id[:-1], share.id + "x", "☃"):
        with pytest.raises(NoSuchFile):
            await storage.read(Address("", (), wrong))
    for act in (
        storage.write(Address("", (), share.id), b"", 1, allowed),
        storage.history(Address("", (), share.id)),
        storage.share(Address("", (), share.id), "x", 60),
    ):
        with pytest.raises(BadRequest):
            await act
    clock.advance(61)
    with pytest.raises(NoSuchFile):
        await storage.read(Address("", (), share.id))
    storage.expire()
    assert not Path(share.file).parent.exists()
    assert storage.shares.open() == []


async def test_shares_with_an_agent(storage: StorageManager, clock: FakeClock, tmp_path: Path) -> None:
    await storage.write(at("notes/deep/a.txt"), b"x", 1, allowed)
    share = await storage.share(at("notes"), "reader", 60)
    covers = storage.shares.covers
    assert covers("reader", at("notes/deep/a.txt"))
    assert covers("reader", at("notes"))
    for reader, path in (("other", "notes"), ("reader", "notes2"), ("reader", ""), ("reader", "~x/notes")):
        assert not covers(reader, at(path))
    again = StorageManager(tmp_path / "data", StorageConfig(), clock)
    assert again.shares.covers("reader", at("notes"))
    clock.advance(61)
    assert not covers("reader", at("notes"))
    with pytest.raises(NoSuchFile):
        storage.shares.find(share.id)
    for path, to, expires_s in (("nothing", "reader", 60), ("notes", "me", 60), ("notes", "", 60), ("notes", "x", 0)):
        with pytest.raises((BadRequest, NoSuchFile, InvalidState)):
            await storage.share(at(path), to, expires_s)


async def test_shares_expire_by_themselves(tmp_path: Path) -> None:
    from aios_kernel.clock import SystemClock

    storage = StorageManager(tmp_path / "data", StorageConfig(), SystemClock())
    await storage.write(at("a"), b"x", 1, allowed)
    share = await storage.share(at("a"), "", 0.05)
    assert content(share.file) == "x"
    gone = asyncio.Event()
    expire, storage.shares.expire = storage.shares.expire, lambda: (expire(), gone.set())  # type: ignore[method-assign]
    storage.expire()
    gone.clear()
    await asyncio.wait_for(gone.wait(), 10)
    assert content(share.file) is None
    await storage.close()


async def test_mounts(storage: StorageManager, tmp_path: Path, clock: FakeClock) -> None:
    host = tmp_path / "host"
    host.mkdir()
    (host / "report.txt").write_text("quarterly storm")
    (tmp_path / "way").symlink_to(host)
    mount = await storage.mount(at("docs"), str(tmp_path / "way"), writable=True)
    assert mount.folder == str(host)  # a link that is changed later changes nothing
    assert (await storage.read(at("docs/report.txt"))).text == "quarterly storm"
    assert [hit.path for hit in (await storage.search(at(""), "quarterly")).hits] == ["docs/report.txt"]
    await storage.append(at("docs/report.txt"), b"!", 1)
    assert (host / "report.txt").read_text() == "quarterly storm!"
    again = StorageManager(tmp_path / "data", StorageConfig(), clock)
    assert (await again.read(at("docs/report.txt"), 1)).text == "quarterly storm"
    await again.close()
    for path, folder in (
        ("docs", str(host)),
        ("docs/sub", str(host)),
        ("", str(host)),
        ("x", "relative"),
        ("x", str(tmp_path / "nothing")),
        ("x", str(tmp_path)),  # the kernel's own folder is in it
        ("x", str(tmp_path / "data" / "files")),
        ("x", "/"),
    ):
        with pytest.raises((BadRequest, InvalidState)):
            await storage.mount(at(path), folder, writable=False)
    await storage.unmount(at("docs"))
    with pytest.raises(NoSuchFile):
        await storage.read(at("docs/report.txt"))
    assert (await storage.search(at(""), "quarterly")).hits == []
    with pytest.raises(NoSuchFile):
        await storage.unmount(at("docs"))


async def test_search_by_words_and_meaning(storage: StorageManager) -> None:
    for path, text in {"a": "the fox and the dog", "b": "coin by coin", "c": "rain again", "creature": "?"}.items():
        await storage.write(at(path), text.encode(), 1, allowed)
    await storage.searching.settle()
    reply = await storage.search(at(""), "creature", 2)
    assert (reply.by_meaning, reply.pending) == (True, 0)
    assert [hit.path for hit in reply.hits] == ["creature", "a"]
    assert (reply.hits[0].by[0], reply.hits[1].by) == ("words", ("meaning",))
    assert (await storage.search(at("~nobody"), "x")).hits == []
    for query, limit in (("", 1), (" ", 1), ("x" * 1_001, 1), ("x", 0), ("x", 101)):
        with pytest.raises(BadRequest):
            await storage.search(at(""), query, limit)


async def test_another_model_makes_other_vectors(storage: StorageManager, tmp_path: Path, clock: FakeClock) -> None:
    await storage.write(at("a"), b"the fox", 1, allowed)
    await storage.searching.settle()
    await storage.close()
    calls: list[str] = []

    async def other(texts: list[str]) -> list[list[float]]:
        calls.extend(texts)
        return [[0.0, 1.0] if "fox" in text else [1.0, 0.0] for text in texts]

    again = StorageManager(tmp_path / "data", StorageConfig(), clock, embed=other)
    await again.append(at("b"), b"new", 1)
    await again.searching.settle()
    assert {"the fox", "new"} <= set(calls)
    assert [hit.path for hit in (await again.search(at(""), "fox", 1)).hits] == ["a"]
    await again.close()


async def test_without_a_model_words_are_enough(tmp_path: Path, clock: FakeClock) -> None:
    async def none(_: list[str]) -> list[list[float]]:
        raise NoSuchModel("there is no embedding model")

    for model in (None, none):
        storage = StorageManager(tmp_path / "data", StorageConfig(), clock, embed=model)
        await storage.write(at("a"), b"the fox", 1, allowed)
        reply = await storage.search(at(""), "fox")
        assert ([hit.path for hit in reply.hits], reply.by_meaning) == (["a"], False)
        await storage.close()


async def test_a_full_agent_is_told(tmp_path: Path, clock: FakeClock) -> None:
    storage = StorageManager(tmp_path / "data", StorageConfig(agent_files=2), clock)
    await storage.append(at("a"), b"", 1)
    await storage.append(at("b"), b"", 1)
    with pytest.raises(LimitHit, match="at most 2 files"):
        await storage.append(at("c"), b"", 1)
    await storage.delete(at("a"), only=frozenset())
    with pytest.raises(LimitHit):
        await storage.append(at("c"), b"", 1)
    assert await storage.empty_bin("me") == 1
    await storage.append(at("c"), b"", 1)
    await storage.append(at("~other/c"), b"", 1)
    await storage.close()

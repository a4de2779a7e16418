"""One agent's files with their versions: real files, real SQLite."""

from __future__ import annotations

import errno
import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from stores import open_store

from aios_kernel.errors import InternalError, InvalidState, LimitHit, NoSuchFile, NotPermitted
from aios_kernel.protocol import FileKind, MountInfo
from aios_kernel.storage.store import DAY_S, Occupied, Store
from aios_kernel.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1e9)


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    store = open_store(tmp_path, clock)
    yield store
    store.check_invariants()
    store.close()


A = ("notes", "a.txt")


def text(store: Store, parts: tuple[str, ...], version: int | None = None) -> bytes:
    return store.read(parts, version)[0]


def test_twenty_versions_are_rolled_back_exactly(store: Store, tmp_path: Path) -> None:
    contents = [os.urandom(number * 1_000) + b"version %d" % number for number in range(1, 21)]
    for number, content in enumerate(contents, 1):
        assert store.write(A, content, pid=7, replace=True).version == number
    digests = [hashlib.sha256(content).hexdigest() for content in contents]
    assert [row.sha256 for row in store.history(A)] == digests[::-1]
    for number in range(20, 0, -1):
        store.rollback(A, number, pid=7, replace=True)
        kept = (tmp_path / "files/notes/a.txt").read_bytes()
        assert hashlib.sha256(kept).hexdigest() == digests[number - 1]
        assert text(store, A, number) == contents[number - 1]
    # To the newest is no change; each of the others is a version of its own.
    assert len(store.history(A)) == 20 + 19
    assert store.history(A)[0].what == "rollback to 1"


def test_versions_count_back_from_the_newest(store: Store) -> None:
    for content in (b"one", b"two", b"three"):
        store.write(A, content, 1, replace=True)
    assert (b"three", 3) == store.read(A, None) == store.read(A, 0)
    assert store.read(A, -1) == (b"two", 2)
    store.rollback(A, -2, 1, replace=True)
    assert store.read(A, None) == (b"one", 4)
    store.rollback(A, -1, 1, replace=True)  # which takes it back
    assert store.read(A, None) == (b"three", 5)
    for version in (6, -5, -100):
        with pytest.raises(NoSuchFile, match="the newest is 5"):
            store.read(A, version)


def test_the_same_content_makes_no_version(store: Store) -> None:
    store.write(A, b"x", 1)
    assert store.write(A, b"x", 1).version == 1
    assert len(store.history(A)) == 1


def test_to_replace_takes_a_decision(store: Store) -> None:
    store.write(A, b"x", 1)
    for act in (
        lambda: store.write(A, b"y", 1),
        lambda: store.rollback(A, 1, 1) and store.write(A, b"z", 1),
        lambda: store.write(("b",), b"b", 1) and store.move(("b",), A, 1),
    ):
        with pytest.raises(Occupied) as error:
            act()
        assert (error.value.file.path, error.value.file.version) == ("notes/a.txt", 1)
    assert text(store, A) == b"x"


def test_append(store: Store) -> None:
    assert store.append(A, b"one", 1).version == 1
    assert store.append(A, b", two", 1).version == 2
    assert text(store, A) == b"one, two"
    assert [row.what for row in store.history(A)] == ["append", "write"]


def test_what_another_program_wrote_is_a_version_too(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "files/notes/a.txt"
    file.parent.mkdir()
    file.write_bytes(b"found")
    assert store.read(A, None) == (b"found", 0)
    assert store.append(A, b"!", 1).version == 2
    file.write_bytes(b"edited by hand")
    assert store.read(A, None) == (b"edited by hand", 0)
    store.write(A, b"mine", 1, replace=True)
    assert [row.what for row in store.history(A)] == ["write", "changed outside", "append", "found"]
    assert text(store, A, 3) == b"edited by hand"
    file.unlink()
    with pytest.raises(NoSuchFile, match="the bin has one"):
        store.history(A)
    assert (
        text(store, ("notes", "b.txt")) == b"mine" if store.restore(None, "notes/a.txt", ("notes", "b.txt")) else None
    )


def test_the_bin(store: Store, tmp_path: Path, clock: FakeClock) -> None:
    for content in (b"one", b"two"):
        store.write(A, content, 1, replace=True)
    store.write(("notes", "deep", "b.txt"), b"b", 1)
    with pytest.raises(InvalidState, match="not empty"):
        store.delete(("notes",))
    assert store.delete(("notes",), only=None) == 2
    assert not (tmp_path / "files/notes").exists()
    assert {(info.path, info.versions, info.size) for info in store.bin()} == {
        ("notes/a.txt", 2, 3),
        ("notes/deep/b.txt", 1, 1),
    }
    store.write(A, b"three", 1)
    with pytest.raises(InvalidState, match="there already"):
        store.restore(None, "notes/a.txt", ())
    info = store.restore(None, "notes/a.txt", ("back.txt",))
    assert (info.path, info.version, text(store, ("back.txt",), 1)) == ("back.txt", 2, b"one")
    clock.advance(31 * DAY_S)
    store.delete(("back.txt",))
    assert [info.path for info in store.bin()] == ["back.txt"]  # the other's days are over
    with pytest.raises(NoSuchFile):
        store.restore(None, "notes/deep/b.txt", ())
    assert store.purge(clock.now()) == 1
    assert store.usage().files == 1
    assert store.usage().bytes == 5


def test_delete_takes_only_what_was_decided(store: Store) -> None:
    store.write(A, b"x", 1)
    store.write(("notes", "b"), b"x", 1)
    with pytest.raises(InvalidState, match="notes/b is in it"):
        store.delete(("notes",), only=frozenset({"notes/a.txt"}))
    assert len(store.entries(("notes",))) == 2
    for parts in ((), ("nothing",)):
        with pytest.raises((InvalidState, NoSuchFile)):
            store.delete(parts, only=None)


def test_move_takes_the_history_along(store: Store) -> None:
    for content in (b"one", b"two"):
        store.write(A, content, 1, replace=True)
    store.move(("notes",), ("archive", "old"), 1)
    assert text(store, ("archive", "old", "a.txt"), 1) == b"one"
    with pytest.raises(NoSuchFile):
        store.read(A, None)
    store.write(("b",), b"b", 1)
    store.move(("b",), ("archive", "old", "a.txt"), 1, replace=True)
    assert text(store, ("archive", "old", "a.txt")) == b"b"
    assert [info.path for info in store.bin()] == ["archive/old/a.txt"]
    with pytest.raises(InvalidState, match="into itself"):
        store.move(("archive",), ("archive", "x"), 1)


def test_lists(store: Store, tmp_path: Path) -> None:
    store.write(A, b"x", 1)
    store.write(("b",), b"bb", 1)
    store.make_folder(("empty",))
    (tmp_path / "files/link").symlink_to("/etc")
    assert [(info.path, info.kind, info.size, info.version) for info in store.entries(())] == [
        ("b", FileKind.FILE, 2, 1),
        ("empty", FileKind.FOLDER, 0, 0),
        ("link", FileKind.OTHER, 0, 0),
        ("notes", FileKind.FOLDER, 0, 0),
    ]
    assert [info.path for info in store.entries(A)] == ["notes/a.txt"]
    assert "notes/a.txt" in [info.path for info in store.entries((), recursive=True)]
    with pytest.raises(NoSuchFile):
        store.entries(("nothing",))


def test_mounts(store: Store, tmp_path: Path) -> None:
    for name in ("read", "write"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "f.txt").write_text(f"of {name}")
        store.make_folder((name,))
    store.tree.set_mounts([MountInfo("me", name, str(tmp_path / name), name == "write") for name in ("read", "write")])
    assert text(store, ("read", "sub", "f.txt")) == b"of read"
    assert [(info.path, info.mount) for info in store.entries(("read",))] == [("read/sub", "ro")]
    for act in (
        lambda: store.write(("read", "new"), b"", 1),
        lambda: store.append(("read", "sub", "f.txt"), b"", 1),
        lambda: store.make_folder(("read", "x")),
        lambda: store.delete(("read", "sub", "f.txt")),
        lambda: store.move(("read", "sub", "f.txt"), ("mine",), 1),
    ):
        with pytest.raises(NotPermitted, match="mounted read-only"):
            act()
    for parts in (("read",), ("write",)):
        with pytest.raises(InvalidState, match="umount"):
            store.delete(parts, only=None)
    store.write(("write", "sub", "f.txt"), b"changed", 1, replace=True)
    assert (tmp_path / "write/sub/f.txt").read_text() == "changed"
    assert text(store, ("write", "sub", "f.txt"), 1) == b"of write"
    store.move(("write", "sub", "f.txt"), ("mine.txt",), 1)
    assert (text(store, ("mine.txt",)), (tmp_path / "write/sub/f.txt").exists()) == (b"changed", False)
    store.refresh()
    assert {store.texts.path(id) for id, _ in store.texts.by_words("of read", 9)} >= {"read/sub/f.txt"}
    (tmp_path / "read" / "out").symlink_to("/etc")
    with pytest.raises(NotPermitted):
        store.read(("read", "out", "passwd"), None)


def test_quotas(tmp_path: Path) -> None:
    store = open_store(tmp_path, agent_bytes=1 << 20, agent_files=3, file_bytes=600_000, versions=5)
    try:
        for number in range(20):
            store.write(("a",), b"%d" % number, 1, replace=True)
        assert [row.version for row in store.history(("a",))] == [20, 19, 18, 17, 16]
        store.write(("b",), os.urandom(600_000), 1)
        before = store.usage()
        with pytest.raises(LimitHit, match="at most 1048576 bytes"):
            store.write(("b",), os.urandom(600_000), 1, replace=True)
        with pytest.raises(LimitHit, match="600001 bytes"):
            store.write(("c",), b"x" * 600_001, 1)
        store.write(("c",), b"", 1)
        with pytest.raises(LimitHit, match="at most 3 files"):
            store.write(("d",), b"", 1)
        assert store.usage().bytes == before.bytes
        assert [info.path for info in store.entries(())] == ["a", "b", "c"]
        store.check_invariants()
    finally:
        store.close()


def test_folders_have_a_number_too(tmp_path: Path) -> None:
    clock = FakeClock()
    store = open_store(tmp_path, clock, agent_files=10)
    try:
        store.write(("f", "g", "file"), b"", 1)
        for number in range(8):
            store.make_folder((f"d{number}",))
            store.make_folder((f"d{number}",))  # it is there
            clock.advance(2)
        for _ in range(2):
            with pytest.raises(LimitHit, match="at most 10 folders"):
                store.make_folder(("one", "more"))
        store.tree.remove(("d0",))
        clock.advance(2)
        store.make_folder(("d0",))
    finally:
        store.close()


def test_a_full_disk_changes_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(A, b"one", 1)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("fsync", "rename"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(OSError, match="No space"):
                store.write(A, b"two", 1, replace=True)
        store.check_invariants()
        assert store.read(A, None) == (b"one", 1)
    store.write(A, b"two", 1, replace=True)


def test_what_a_killed_kernel_left_is_swept(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write(A, b"one", 1)
    half = tmp_path / "files/notes/.aios-0123"
    half.write_bytes(b"half")
    again = open_store(tmp_path)  # the first was never closed
    assert not half.exists()
    assert again.read(A, 1) == (b"one", 1)
    again.check_invariants()
    for each in (again, store):
        each.close()


def test_a_change_that_breaks_off_before_its_commit_loses_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(A, b"one", 1)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.texts, "put", killed)  # the file has been replaced by then
        with pytest.raises(KeyboardInterrupt):
            store.write(A, b"two", 1, replace=True)
    store.check_invariants()
    assert store.read(A, None) == (b"two", 0)
    store.write(A, b"three", 1, replace=True)
    assert [text(store, A, version) for version in (1, 2, 3)] == [b"one", b"two", b"three"]


def test_a_damaged_version_is_told(store: Store) -> None:
    store.write(A, b"one" * 100, 1)
    store.write(A, b"two", 1, replace=True)
    db, sha256 = store._index.db, store.history(A)[1].sha256
    (kept,) = db.execute("SELECT data FROM contents WHERE sha256 = ?", (sha256,)).fetchone()
    for bad in (b"", kept[:-9], b"x" + kept, zlib.compress(b"else"), zlib.compress(b"one" * 101)):
        db.execute("UPDATE contents SET data = ? WHERE sha256 = ?", (bad, sha256))
        with pytest.raises(InternalError, match="damaged"):
            store.read(A, 1)


def test_what_is_let_go_of_frees_the_disk(store: Store, tmp_path: Path) -> None:
    for number in range(8):
        store.write((f"{number}",), os.urandom(1 << 20), 1)
        store.delete((f"{number}",))
    store.purge(2e9)
    store._index.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert (tmp_path / "kept/index.sqlite3").stat().st_size < 1 << 20


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for content in (b"one", b"two"):
        store.write(A, content, 1, replace=True)
    store.write(("b",), b"b", 1)
    store.delete(("b",))
    history = store.history(A)
    store.close()
    store = open_store(tmp_path)
    assert (store.history(A), store.read(A, 1), len(store.bin())) == (history, (b"one", 1), 1)
    assert [store.texts.path(id) for id, _ in store.texts.by_words("two", 5)] == ["notes/a.txt"]
    store.check_invariants()
    store.close()

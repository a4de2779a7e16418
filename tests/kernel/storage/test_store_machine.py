"""Any order of changes, ours and other programs', against a model of what the files and their versions must be."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from stores import open_store

from aios_kernel.errors import InvalidState, NoSuchFile
from aios_kernel.storage.store import Occupied

PARTS = st.sampled_from([("a",), ("b",), ("d", "a"), ("d", "e", "a"), ("d",)])
DATA = st.binary(max_size=4)


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="aios-"))
        self.store = open_store(self.folder)
        self.files: dict[tuple[str, ...], bytes] = {}
        self.seen: set[bytes] = set()  # every content that ever was must be somewhere

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    def blocked(self, parts: tuple[str, ...]) -> bool:
        """A folder is there, or a file where a folder must be."""
        return (
            any(
                other != parts and (other[: len(parts)] == parts or parts[: len(other)] == other)
                for other in self.files
            )
            or (self.folder / "files").joinpath(*parts).is_dir()
        )

    @rule(parts=PARTS, data=DATA, replace=st.booleans())
    def write(self, parts: tuple[str, ...], data: bytes, replace: bool) -> None:
        try:
            self.store.write(parts, data, 1, replace=replace)
        except Occupied:
            assert not replace
            assert parts in self.files
        except InvalidState:
            assert self.blocked(parts)
        else:
            self.files[parts] = data
            self.seen.add(data)

    @rule(parts=PARTS, data=DATA)
    def append(self, parts: tuple[str, ...], data: bytes) -> None:
        with contextlib.suppress(InvalidState):
            self.store.append(parts, data, 1)
            self.files[parts] = self.files.get(parts, b"") + data
            self.seen.add(self.files[parts])

    @rule(parts=PARTS, data=DATA)
    def outside_write(self, parts: tuple[str, ...], data: bytes) -> None:
        path = (self.folder / "files").joinpath(*parts)
        if parts in self.files or (not self.blocked(parts) and path.parent.is_dir()):
            path.unlink(missing_ok=True)
            path.write_bytes(data)
            self.files[parts] = data

    @rule(parts=PARTS)
    def outside_delete(self, parts: tuple[str, ...]) -> None:
        if parts in self.files:
            (self.folder / "files").joinpath(*parts).unlink()
            del self.files[parts]

    @rule(parts=PARTS, version=st.integers(-3, 3))
    def rollback(self, parts: tuple[str, ...], version: int) -> None:
        with contextlib.suppress(NoSuchFile, InvalidState):
            wanted = self.store.read(parts, version)[0]
            self.store.rollback(parts, version, 1, replace=True)
            assert parts in self.files
            self.files[parts] = wanted

    @rule(parts=PARTS)
    def delete(self, parts: tuple[str, ...]) -> None:
        with contextlib.suppress(NoSuchFile):
            self.store.delete(parts, only=None)
            gone = {other: data for other, data in self.files.items() if other[: len(parts)] == parts}
            self.seen |= set(gone.values())
            for other in gone:
                del self.files[other]

    @rule(parts=PARTS, to=PARTS, replace=st.booleans())
    def move(self, parts: tuple[str, ...], to: tuple[str, ...], replace: bool) -> None:
        with contextlib.suppress(NoSuchFile, InvalidState, Occupied):
            self.store.move(parts, to, 1, replace=replace)
            self.seen |= {self.files[to]} if to in self.files else set()
            self.files.pop(to, None)
            for other in [other for other in self.files if other[: len(parts)] == parts]:
                self.files[to + other[len(parts) :]] = self.files.pop(other)

    @rule(parts=PARTS)
    def restore(self, parts: tuple[str, ...]) -> None:
        with contextlib.suppress(NoSuchFile, InvalidState):
            self.store.restore(None, "/".join(parts), ())
            assert parts not in self.files
            self.files[parts] = self.store.read(parts, None)[0]

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = open_store(self.folder)

    @invariant()
    def what_is_there_is_right(self) -> None:
        root = self.folder / "files"
        there = {path.relative_to(root).parts: path.read_bytes() for path in root.rglob("*") if path.is_file()}
        assert there == self.files
        self.store.check_invariants()

    @invariant()
    def nothing_is_lost(self) -> None:
        rows = self.store._index.db.execute("SELECT DISTINCT sha256, size FROM versions").fetchall()
        kept = {self.store._contents.get(*row) for row in rows}
        assert self.seen <= kept

    @invariant()
    def searches_find_what_is_there(self) -> None:
        self.store.refresh()
        assert set(self.store.texts.stamps()) == {"/".join(parts) for parts in self.files}


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)

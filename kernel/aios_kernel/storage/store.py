"""One agent's files, each with its versions: what is in the folder is the truth, and nothing that was there is lost.

A change is made in this order: rows and the new content are written, the file is replaced, the rows are committed.
Where that breaks off, the file has its old content or its new one. What other programs do to the files is noticed by
size and time of change, and becomes a version too before the kernel changes anything. All of it blocks; one thread at a
time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aios_kernel.clock import Clock
from aios_kernel.errors import InvalidState, LimitHit, NoSuchFile
from aios_kernel.protocol import BinInfo, FileInfo, FileKind, MountInfo, OwnerInfo, VersionInfo
from aios_kernel.storage.bounds import FolderCount, check_keepable, check_only, check_quota
from aios_kernel.storage.config import StorageConfig
from aios_kernel.storage.contents import digest
from aios_kernel.storage.index import File, Index
from aios_kernel.storage.jail import Found, Jail
from aios_kernel.storage.paths import Parts
from aios_kernel.storage.recovery import forget_move, note_move, recover, rename_rows
from aios_kernel.storage.refresh import refresh
from aios_kernel.storage.texts import Texts
from aios_kernel.storage.tree import Tree

MAX_LISTED: Final = 20_000  # entries of one list
DAY_S: Final = 86_400

_CLOSED: Final = "closed"  # a fact: the kernel before has left nothing half done


class Occupied(Exception):
    """A file is there already: to replace it takes a decision of its own."""

    def __init__(self, file: FileInfo) -> None:
        super().__init__(file.path)
        self.file = file


class Store:
    """The files of one agent.

    Args:
        files: its jail, which may hold files already.
        kept: folder for its index and the contents of versions.
        mounts: folders of the person's in it.

    Every method raises OSError and sqlite3.Error too.
    """

    def __init__(
        self,
        owner: str,
        files: Path,
        kept: Path,
        config: StorageConfig,
        clock: Clock,
        mounts: Sequence[MountInfo] = (),
    ) -> None:
        """Raises InternalError."""
        for folder in (files, kept):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.owner: Final = owner
        self._jail = Jail(files)
        self.tree: Final = Tree(self._jail)
        self.tree.set_mounts(mounts)
        self._config = config
        self._clock = clock
        self._index = Index(kept / "index.sqlite3")
        self._contents = self._index.contents
        self.texts: Final = Texts(self._index.db)
        self.transaction: Final = self._index.transaction
        self._folders = FolderCount(config.agent_files, self._jail, clock)
        self._recover()
        self._expire()

    def close(self) -> None:
        self._index.set_fact(_CLOSED, b"")
        self._index.close()

    # --- looking

    def read(self, parts: Parts, version: int | None) -> tuple[bytes, int]:
        """A file's content and its version, 0 where none is the same; a version of it when one is named.

        version: its number; 0 and less count back from the newest.
        """
        if version is not None:
            file = self._current(parts)
            found = self._version(file, version)
            return self._contents.get(found.sha256, found.size), found.version
        data, _ = self.tree.read(parts, self._config.file_bytes)
        file_row = self._index.file(_path(parts))
        head = self._index.version(file_row, file_row.version) if file_row is not None else None
        return data, head.version if head is not None and head.sha256 == digest(data) else 0

    def entries(self, parts: Parts, *, recursive: bool = False) -> list[FileInfo]:
        """What a folder holds, or the file itself. Raises NoSuchFile, LimitHit for too many."""
        found = self.tree.find(parts)
        if found is None and parts:
            raise NoSuchFile(f"there is no {_path(parts)}", path=_path(parts))
        if found is not None and found.kind is not FileKind.FOLDER:
            file = self._index.file(_path(parts))
            return [self._info(found, file.version if file is not None else 0)]
        if recursive:
            listed = self.tree.walk(parts)
            versions = {file.path: file.version for file in self._index.below(_path(parts))}
        else:
            listed = iter(self.tree.entries(parts))
            versions = self._index.in_folder(_path(parts))
        infos: list[FileInfo] = []
        for entry in listed:
            if len(infos) == MAX_LISTED:
                raise LimitHit(f"there are more than {MAX_LISTED} files: list one folder of them", limit=MAX_LISTED)
            infos.append(self._info(entry, versions.get(_path(entry.parts), 0)))
        return infos

    def history(self, parts: Parts) -> list[VersionInfo]:
        """The newest first."""
        return self._index.versions(self._current(parts))

    def usage(self) -> OwnerInfo:
        files, size = self._index.usage()
        return OwnerInfo(self.owner, files, size, self._config.agent_files, self._config.agent_bytes)

    def bin(self) -> list[BinInfo]:
        keep = self._config.bin_days * DAY_S
        return [
            BinInfo(
                file.id, self.owner, file.path, size, versions, file.deleted_at or 0.0, (file.deleted_at or 0) + keep
            )
            for file, size, versions in self._index.bin()
        ]

    # --- changing

    def write(self, parts: Parts, data: bytes, pid: int, what: str = "write", *, replace: bool = False) -> FileInfo:
        """Make a file's content `data`. The same content again makes no version.

        Raises:
            Occupied: a file with another content is there, and not `replace`.
            LimitHit: it is too large, or more than the agent may keep; nothing has changed.
        """
        self.tree.check_writable(parts)
        if len(data) > self._config.file_bytes:
            message = f"{_path(parts)}: {len(data)} bytes: a file has at most {self._config.file_bytes}"
            raise LimitHit(message, limit=self._config.file_bytes)
        file = self._adopt(parts)
        if file is not None:
            head = self._version(file, 0)
            if head.sha256 == digest(data):
                return self._info(self._there(parts), head.version)
            if not replace:
                raise Occupied(self._info(self._there(parts), head.version))
        return self._put(parts, file, data, pid, what)

    def append(self, parts: Parts, data: bytes, pid: int) -> FileInfo:
        """Add to a file's end; it is made when there is none."""
        found = self.tree.find(parts)
        before = self.tree.read(parts, self._config.file_bytes)[0] if found is not None else b""
        return self.write(parts, before + data, pid, "append" if found is not None else "write", replace=True)

    def make_folder(self, parts: Parts) -> None:
        """Raises LimitHit where the agent has as many folders as it may have files."""
        if self.tree.find(parts) is None:
            self._folders.add(len(parts), self.owner)
        self.tree.make_folder(parts)

    def rollback(self, parts: Parts, version: int, pid: int, *, replace: bool = False) -> FileInfo:
        """Make a version's content the file's again, as a new version: what was there since stays in the history.

        Raises as `write` does, and NoSuchFile when there is no such version.
        """
        self.tree.check_writable(parts)
        found = self._version(self._current(parts), version)
        data = self._contents.get(found.sha256, found.size)
        return self.write(parts, data, pid, f"rollback to {found.version}", replace=replace)

    def delete(self, parts: Parts, *, only: frozenset[str] | None = frozenset()) -> int:
        """Move a file, or a folder and all in it, to the bin. Returns how many files that were.

        Args:
            only: what the folder may have in it; None: anything.

        Raises:
            InvalidState: the folder has something else in it, or a mount; NoSuchFile.
        """
        if not parts:
            raise InvalidState("that is the root of the agent's files", path="")
        self.tree.check_unmounted(parts)
        self.tree.check_writable(parts)
        found = self._there(parts)
        if found.kind is not FileKind.FOLDER:
            self._discard(found)
            self._expire()
            return 1
        below = list(self.tree.walk(parts))
        check_only(_path(parts), below, only)
        for entry in below:  # before anything goes: a file that cannot be kept stays, and all the others with it
            check_keepable(entry, self._config.file_bytes)
        files = [entry for entry in below if entry.kind is not FileKind.FOLDER]
        for entry in files:
            self._discard(entry)
        for entry in [*(entry for entry in reversed(below) if entry.kind is FileKind.FOLDER), found]:
            self.tree.remove(entry.parts)
        self._expire()
        return len(files)

    def move(
        self, parts: Parts, to: Parts, pid: int, *, replace: bool = False, only: frozenset[str] | None = None
    ) -> FileInfo:
        """Give a file or folder another path; its history goes with it. What `replace` replaces goes to the bin.

        only: what a folder may have in it; None: anything.

        Raises:
            Occupied: a file is there, and not `replace`; InvalidState: a folder is; NoSuchFile.
        """
        self.tree.check_unmounted(parts)
        self.tree.check_writable(parts)
        self.tree.check_writable(to)
        source, target = self._there(parts), self.tree.find(to)
        if to[: len(parts)] == parts:
            raise InvalidState(f"{_path(parts)} cannot go into itself", path=_path(to))
        if source.kind is FileKind.FOLDER:
            check_only(_path(parts), list(self.tree.walk(parts)), only)
        if target is not None:
            if target.kind is not FileKind.FILE or source.kind is not FileKind.FILE:
                raise InvalidState(f"{_path(to)} is there already", path=_path(to))
            if not replace:
                file = self._index.file(_path(to))
                raise Occupied(self._info(target, file.version if file else 0))
            self._discard(target)
        if self.tree.same_jail(parts, to):
            self._rename(source, to)
        elif source.kind is FileKind.FILE:  # from or to a mounted folder
            self.write(to, self.tree.read(parts, self._config.file_bytes)[0], pid)
            self._discard(source)
        else:
            raise InvalidState(f"{_path(parts)} is a folder: only files move between mounts", path=_path(parts))
        return self.entries(to)[0] if source.kind is FileKind.FILE else self._info(self._there(to), 0)

    def restore(self, id: int | None, path: str, to: Parts) -> FileInfo:
        """Bring a file back from the bin, with its history: by its number, else the newest of the path.

        Raises:
            NoSuchFile: it is not in the bin; InvalidState: something is where it was, and `to` names no other place.
        """
        file = self._index.deleted(id) if id is not None else self._index.newest_deleted(path)
        if file is None:
            raise NoSuchFile(f"the bin has no {path or id}: `aios fs bin` lists what it has", path=path)
        parts = to or tuple(file.path.split("/"))
        self.tree.check_writable(parts)
        if self._adopt(parts) is not None:
            raise InvalidState(f"{_path(parts)} is there already: name another path", path=_path(parts))
        head = self._version(file, 0)
        data = self._contents.get(head.sha256, head.size)
        with self.transaction():
            self._index.revive(file, _path(parts))
            found = self.tree.replace(parts, data, exclusive=True)
            self._saw(file, found, data)
        return self._info(found, head.version)

    def purge(self, before: float) -> int:
        """Let go for good of what was deleted by then. Returns how many files."""
        with self.transaction():
            count = self._index.purge(before)
        if count:
            self._index.shrink()
        return count

    def refresh(self) -> int:
        """See `refresh.refresh`."""
        with self.transaction():
            return refresh(self.tree, self.texts)

    def check_invariants(self) -> None:
        """Raises AssertionError."""
        self._index.check_invariants()

    # --- one file

    def _put(self, parts: Parts, file: File | None, data: bytes, pid: int, what: str) -> FileInfo:
        with self.transaction():
            row = file or self._index.add(_path(parts))
            sha256 = self._contents.put(data)
            version = self._index.add_version(row, sha256, len(data), self._clock.now(), pid, what)
            self._index.prune(row, self._config.versions)
            check_quota(self.usage())
            found = self.tree.replace(parts, data, exclusive=file is None)
            self._saw(row, found, data)
        return self._info(found, version)

    def _saw(self, file: File, found: Found, data: bytes) -> None:
        self._index.saw(file, found)
        self.texts.put(_path(found.parts), found.stamp, data)

    def _adopt(self, parts: Parts) -> File | None:
        """The file of a path, with what other programs did to it as its newest version; None: nothing is there.

        Raises InvalidState for a folder, NotPermitted for what is no plain file, LimitHit for one too large to keep.
        """
        path = _path(parts)
        file, found = self._index.file(path), self.tree.find(parts)
        if found is None:
            if file is not None:  # its versions are in the bin now
                with self.transaction():
                    self._index.discard(file, self._clock.now())
                    self.texts.drop(path)
            return None
        if file is not None and file.is_of(found):
            return file
        if found.kind is FileKind.FOLDER:
            raise InvalidState(f"{path} is a folder", path=path)
        data, found = self.tree.read(parts, self._config.file_bytes)
        with self.transaction():
            row, sha256 = file or self._index.add(path), self._contents.put(data)
            head = self._index.version(row, row.version)
            if head is None or head.sha256 != sha256:
                what = "changed outside" if head is not None else "found"
                self._index.add_version(row, sha256, len(data), found.mtime_ns / 1e9, 0, what)
                self._index.prune(row, self._config.versions)
                check_quota(self.usage())
            self._saw(row, found, data)
        return self._index.file(path)

    def _current(self, parts: Parts) -> File:
        """As `_adopt`. Raises NoSuchFile when nothing is there."""
        file = self._adopt(parts)
        if file is None:
            path = _path(parts)
            hint = "; the bin has one" if self._index.newest_deleted(path) else ""
            raise NoSuchFile(f"there is no {path}{hint}", path=path)
        return file

    def _version(self, file: File, version: int) -> VersionInfo:
        number = version if version > 0 else file.version + version
        found = self._index.version(file, number)
        if found is None:
            raise NoSuchFile(f"{file.path} has no version {version} (the newest is {file.version})", path=file.path)
        return found

    def _discard(self, found: Found) -> None:
        """To the bin; what is no plain file goes for good, itself and nothing that it names."""
        path = _path(found.parts)
        file = self._adopt(found.parts) if found.kind is FileKind.FILE else self._index.file(path)
        with self.transaction():
            if file is not None:
                self._index.discard(file, self._clock.now())
            self.texts.drop(path)
            self.tree.remove(found.parts)

    def _rename(self, source: Found, to: Parts) -> None:
        path, target = _path(source.parts), _path(to)
        note_move(self._index, path, target)
        try:
            with self.transaction():
                rename_rows(self._index, self.texts, path, target, self._clock.now())
                forget_move(self._index)
                self.tree.rename(source.parts, to)
        except BaseException:
            forget_move(self._index)
            raise

    def _there(self, parts: Parts) -> Found:
        found = self.tree.find(parts)
        if found is None:
            raise NoSuchFile(f"there is no {_path(parts)}", path=_path(parts))
        return found

    def _info(self, found: Found, version: int) -> FileInfo:
        path, mount = _path(found.parts), self.tree.mount_of(found.parts)
        return FileInfo(self.owner, path, found.kind, found.size, found.mtime_ns / 1e9, version, mount)

    def _expire(self) -> None:
        """Let go of what has been in the bin for long enough."""
        self.purge(self._clock.now() - self._config.bin_days * DAY_S)

    def _recover(self) -> None:
        if self._index.fact(_CLOSED) is not None:
            self._index.drop_fact(_CLOSED)
            return
        with self.transaction():
            recover(self.tree, self._index, self.texts, self._clock.now())


def _path(parts: Parts) -> str:
    return "/".join(parts)

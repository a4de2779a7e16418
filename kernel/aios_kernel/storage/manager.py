"""The storage manager: agents' files with their versions, shares, mounts, and searches in them.

It does what it is asked; who may ask is decided before (see syscalls/storage.py). `decide` arguments are for what is
known only on the way: that a file is there already, which to replace needs a decision of its own.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from aios_kernel.clock import Clock
from aios_kernel.errors import BadRequest, InvalidState, NoSuchFile
from aios_kernel.protocol import (
    BinInfo,
    FileContent,
    FileInfo,
    FileKind,
    MountInfo,
    OwnerInfo,
    SearchReply,
    ShareInfo,
    VersionInfo,
)
from aios_kernel.storage.config import StorageConfig
from aios_kernel.storage.contents import digest
from aios_kernel.storage.diff import unified
from aios_kernel.storage.mounts import Mounts
from aios_kernel.storage.paths import Address, check_owner
from aios_kernel.storage.searching import Embed, Searching
from aios_kernel.storage.share import Shares
from aios_kernel.storage.store import Occupied, Store
from aios_kernel.storage.stores import Stores

T = TypeVar("T")

Decide = Callable[[FileInfo], Awaitable[None]]  # of the file that is to be replaced; raises NotPermitted

MAX_TIMER_S: Final = 3_600.0  # clocks may jump: expiry is looked at so often at least


async def allowed(_: FileInfo) -> None:
    """A person's own request needs no more decisions."""


class StorageManager:
    """The files of all agents. Event loop only.

    Args:
        data: the data folder: `files`, `storage` and `shares` in it are ours.
        private: folders that cannot be mounted, the kernel's own.
        embed: gives a vector for each text; None: there is no search by meaning.
    """

    def __init__(
        self,
        data: Path,
        config: StorageConfig,
        clock: Clock,
        private: Sequence[Path] = (),
        embed: Embed | None = None,
    ) -> None:
        """Raises InternalError."""
        self.shares: Final = Shares(data / "storage" / "shares.json", data / "shares", clock)
        self.mounts: Final = Mounts(data / "storage" / "mounts.json", private)
        self._clock = clock
        self._stores = Stores(data, config, clock, self.mounts.of)
        self.searching: Final = Searching(self._stores, clock, embed)
        self._timer: asyncio.TimerHandle | None = None

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self.searching.close()
        await self._stores.close()

    # --- reading

    async def owners(self) -> list[OwnerInfo]:
        """The agents that keep files, and how much."""
        return [await self._stores.run(owner, Store.usage) for owner in self._stores.owners()]

    async def read(self, address: Address, version: int | None = None) -> FileContent:
        """A file as it is, or a version of it: 1 and up by number, 0 the newest, -1 the one before it. NoSuchFile."""
        if address.link:
            return await self._read_link(address.link)
        data, number = await self._stores.run(address.owner, lambda store: store.read(address.parts, version))
        return _content(address.owner, address.path, number, data)

    async def read_bytes(self, address: Address, version: int | None = None) -> bytes:
        return (await self._stores.run(address.owner, lambda store: store.read(address.parts, version)))[0]

    async def entries(self, address: Address, *, recursive: bool = False) -> list[FileInfo]:
        """What a folder holds; an agent that has kept nothing yet has an empty root."""
        if not address.parts and check_owner(address.owner) not in self._stores.owners():
            return []
        return await self._stores.run(address.owner, lambda store: store.entries(address.parts, recursive=recursive))

    async def history(self, address: Address) -> list[VersionInfo]:
        """A file's versions, the newest first."""
        return await self._stores.run(address.owner, lambda store: store.history(address.parts))

    async def diff(self, address: Address, old: int, new: int) -> str:
        """What changed from one version to another, as a unified diff; "" where they are the same."""

        def work(store: Store) -> str:
            (a, a_number), (b, b_number) = (store.read(address.parts, version) for version in (old, new))
            return unified(a, b, f"{address.path} (version {a_number})", f"{address.path} (version {b_number})")

        return await self._stores.run(address.owner, work)

    async def bin(self, owner: str) -> list[BinInfo]:
        """What has been deleted and can be restored, the newest first."""
        if check_owner(owner) not in self._stores.owners():
            return []
        return await self._stores.run(owner, Store.bin)

    async def search(self, address: Address, query: str, limit: int = 10) -> SearchReply:
        """See Searching.search; an agent that has kept nothing finds nothing."""
        if not address.parts and check_owner(address.owner) not in self._stores.owners():
            return SearchReply([], False, 0)
        return await self.searching.search(address, query, limit)

    # --- changing

    async def create(self, address: Address, data: bytes, pid: int) -> FileInfo:
        """Make a new file. Raises InvalidState when there is one."""

        def work(store: Store) -> FileInfo:
            if store.tree.find(address.parts) is not None:
                raise InvalidState(f"{address.path} is there already", path=address.path)
            return store.write(address.parts, data, pid)

        return await self._change(address, work)

    async def write(self, address: Address, data: bytes, pid: int, decide: Decide) -> FileInfo:
        """Make a file's content `data`; `decide` is asked before another content is replaced."""
        return await self._replacing(
            address, decide, lambda store, replace: store.write(address.parts, data, pid, replace=replace)
        )

    async def append(self, address: Address, data: bytes, pid: int) -> FileInfo:
        return await self._change(address, lambda store: store.append(address.parts, data, pid))

    async def make_folder(self, address: Address) -> None:
        await self._change(address, lambda store: store.make_folder(address.parts))

    async def rollback(self, address: Address, version: int, pid: int, decide: Decide) -> FileInfo:
        """Make a version's content the file's again, as a new version. Raises NoSuchFile."""
        return await self._replacing(
            address, decide, lambda store, replace: store.rollback(address.parts, version, pid, replace=replace)
        )

    async def delete(self, address: Address, *, only: frozenset[str] | None) -> int:
        """To the bin; a folder with all that `only` says may be in it. Returns how many files."""
        return await self._change(address, lambda store: store.delete(address.parts, only=only))

    async def move(
        self, address: Address, to: Address, pid: int, decide: Decide, *, only: frozenset[str] | None
    ) -> FileInfo:
        """Give a file or folder another path of the same agent, its history with it."""
        if to.owner != address.owner:
            raise BadRequest("files move within one agent's: write it there, or share it", key="to")
        return await self._replacing(
            address,
            decide,
            lambda store, replace: store.move(address.parts, to.parts, pid, replace=replace, only=only),
        )

    async def restore(self, id: int | None, address: Address, to: Address) -> FileInfo:
        """Bring a file back from the bin, by number or path, to where it was or, with parts in `to`, elsewhere."""
        return await self._change(address, lambda store: store.restore(id, address.path, to.parts))

    async def empty_bin(self, owner: str) -> int:
        """Let go of all that an agent has deleted, for good. Returns how many files."""
        now = self._clock.now()
        return await self._stores.run(owner, lambda store: store.purge(now))

    # --- shares

    async def share(self, address: Address, to: str, expires_s: float) -> ShareInfo:
        """Let another agent read a file or folder, or with "" as `to` make a link to a copy of a file.

        Raises:
            NoSuchFile, BadRequest, LimitHit.
        """
        self.shares.check(check_owner(address.owner), expires_s)
        id, copy = self.shares.new_id(), ""
        if not to:
            data = await self.read_bytes(address)
            copy = await asyncio.to_thread(self.shares.copy, id, address.parts[-1], data)
        elif check_owner(to) == address.owner:
            raise BadRequest(f"{to} may read its own files anyway", key="to")
        else:
            await self.entries(address)  # it is there
        share = self.shares.add(id, address, to, expires_s, copy)
        self._await_end()
        return share

    def unshare(self, share: ShareInfo) -> None:
        self.shares.remove(share)

    async def _read_link(self, token: str) -> FileContent:
        share = self.shares.link(token)
        try:
            data = await asyncio.to_thread(Path(share.file).read_bytes)
        except OSError as error:
            raise NoSuchFile(f"the copy that this link leads to is gone: {error.strerror}") from error
        return _content(share.owner, share.path, 0, data)

    def _await_end(self) -> None:
        """See to it that what expires is removed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        end = self.shares.next_end()
        if end is not None:
            delay = min(max(end - self._clock.now(), 0.0), MAX_TIMER_S)
            self._timer = asyncio.get_running_loop().call_later(delay, self.expire)

    def expire(self) -> None:
        """Remove shares whose time is over. Called at the start, and by itself from then on."""
        self.shares.expire()
        self._await_end()

    # --- mounts

    async def mount(self, address: Address, folder: str, *, writable: bool, exact: bool = False) -> MountInfo:
        """Show an agent a folder of the person's. Raises BadRequest, InvalidState, LimitHit. exact: see Mounts.plan."""
        mount = self.mounts.plan(address, folder, writable=writable, exact=exact)

        def work(store: Store) -> None:
            found = store.tree.find(address.parts)
            if found is not None and (found.kind is not FileKind.FOLDER or store.tree.entries(address.parts)):
                raise InvalidState(f"{address.path} is there already, and not empty", path=address.path)
            store.make_folder(address.parts)

        await self._stores.run(address.owner, work, make=True)
        self.mounts.add(mount)
        await self._stores.run(address.owner, self._stores.remount(address.owner))
        await self.searching.refresh(address.owner, now=True)
        return mount

    async def unmount(self, address: Address) -> None:
        """Raises NoSuchFile."""
        self.mounts.remove(address)
        await self._stores.run(address.owner, self._stores.remount(address.owner))
        await self.searching.refresh(address.owner, now=True)

    # --- how

    async def _change(self, address: Address, work: Callable[[Store], T]) -> T:
        if address.link:
            raise BadRequest("a link is for reading", key="path")
        result = await self._stores.run(address.owner, work, make=True)
        self.searching.changed(address.owner)
        return result

    async def _replacing(self, address: Address, decide: Decide, work: Callable[[Store, bool], FileInfo]) -> FileInfo:
        """Do it, once `decide` has said yes where a file is in the way."""
        try:
            return await self._change(address, partial(_call, work, False))
        except Occupied as occupied:
            await decide(occupied.file)
        return await self._change(address, partial(_call, work, True))


def _call(work: Callable[[Store, bool], FileInfo], replace: bool, store: Store) -> FileInfo:
    return work(store, replace)


def _content(owner: str, path: str, version: int, data: bytes) -> FileContent:
    try:
        text, coded = data.decode(), None
    except UnicodeDecodeError:
        text, coded = None, base64.b64encode(data).decode()
    return FileContent(owner, path, version, len(data), digest(data), text, coded)

"""sto.*

A path is the caller's own, `~writer/a.txt` another agent's, `share:TOKEN` a link's; a version 1 and up by its number, 0
the newest, -1 the one before it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aios_kernel.access.manager import AccessManager
from aios_kernel.access.need import Kind, Need
from aios_kernel.errors import BadRequest, LimitHit, NoSuchFile
from aios_kernel.life import Life
from aios_kernel.process import Process
from aios_kernel.protocol import (
    BinInfo,
    FileContent,
    FileInfo,
    FileKind,
    MountInfo,
    Outcome,
    ProcState,
    SearchReply,
    ShareInfo,
    VersionInfo,
)
from aios_kernel.storage.manager import Decide, StorageManager
from aios_kernel.storage.paths import Address
from aios_kernel.syscalls.table import OnDelta, Syscall
from aios_kernel.tools.tool import short

MAX_DECIDED: Final = 256  # files that one delete or move of a folder may be about: each is decided
SHOWN_PATH: Final = 200  # characters of a path that is none, in the audit log
SHOWN_TOKEN: Final = 6  # of a link: the rest is what opens it


@dataclass(frozen=True, slots=True)
class PathArgs:
    path: str


@dataclass(frozen=True, slots=True)
class ReadArgs:
    path: str
    version: int | None = None  # None: as it is now


@dataclass(frozen=True, slots=True)
class WriteArgs:
    path: str
    content: str = ""
    base64: bool = False  # the content is, and not text


@dataclass(frozen=True, slots=True)
class ListArgs:
    path: str = ""
    recursive: bool = False


@dataclass(frozen=True, slots=True)
class BinArgs:
    path: str = ""  # "~writer": another agent's


@dataclass(frozen=True, slots=True)
class DeleteArgs:
    path: str
    recursive: bool = False


@dataclass(frozen=True, slots=True)
class MoveArgs:
    path: str
    to: str


@dataclass(frozen=True, slots=True)
class DiffArgs:
    path: str
    old: int = -1
    new: int = 0


@dataclass(frozen=True, slots=True)
class RollbackArgs:
    path: str
    version: int = -1


@dataclass(frozen=True, slots=True)
class RestoreArgs:
    """The one with this number, else the newest of this path."""

    path: str = ""
    id: int | None = None
    to: str = ""


@dataclass(frozen=True, slots=True)
class ShareArgs:
    path: str
    to: str = ""  # an agent; "": a link
    expires_s: float = 86_400.0


@dataclass(frozen=True, slots=True)
class IdArgs:
    id: str


@dataclass(frozen=True, slots=True)
class MountArgs:
    folder: str
    path: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class SearchArgs:
    query: str
    limit: int = 10
    path: str = ""


class StorageSyscalls:
    def __init__(self, storage: StorageManager, access: AccessManager) -> None:
        self._storage = storage
        self._access = access

    def rows(self) -> dict[str, Syscall]:
        waiting = ProcState.WAITING
        return {
            "sto.read": Syscall(ReadArgs, self._read, self._read_needs, waiting, effects=False),
            "sto.list": Syscall(ListArgs, self._list, self._list_needs, waiting, effects=False),
            "sto.search": Syscall(SearchArgs, self._search, self._search_needs, waiting, effects=False),
            "sto.history": Syscall(PathArgs, self._history, self._history_needs, waiting, effects=False),
            "sto.diff": Syscall(DiffArgs, self._diff, self._history_needs, waiting, effects=False),
            "sto.bin": Syscall(BinArgs, self._bin, self._bin_needs, waiting, effects=False),
            "sto.create": Syscall(WriteArgs, self._create, self._write_needs, waiting),
            "sto.write": Syscall(WriteArgs, self._write, self._write_needs, waiting),
            "sto.append": Syscall(WriteArgs, self._append, self._append_needs, waiting),
            "sto.mkdir": Syscall(PathArgs, self._mkdir, self._mkdir_needs, waiting),
            "sto.delete": Syscall(DeleteArgs, self._delete, self._delete_needs, waiting),
            "sto.move": Syscall(MoveArgs, self._move, self._move_needs, waiting),
            "sto.rollback": Syscall(RollbackArgs, self._rollback, self._rollback_needs, waiting),
            "sto.restore": Syscall(RestoreArgs, self._restore, self._restore_needs, waiting),
            "sto.share": Syscall(ShareArgs, self._share, self._share_needs, waiting),
            "sto.unshare": Syscall(IdArgs, self._unshare, self._unshare_needs, waiting),
            "sto.mount": Syscall(MountArgs, self._mount, self._mount_needs, waiting),
            "sto.unmount": Syscall(PathArgs, self._unmount, self._unmount_needs, waiting),
        }

    # --- reading

    async def _read(self, life: Life, args: ReadArgs, _: OnDelta) -> FileContent:
        return await self._storage.read(_at(life, args.path), args.version)

    async def _list(self, life: Life, args: ListArgs, _: OnDelta) -> list[FileInfo]:
        return await self._storage.entries(_at(life, args.path), recursive=args.recursive)

    async def _search(self, life: Life, args: SearchArgs, _: OnDelta) -> SearchReply:
        """Hits in files that the caller may not read are left out."""
        reply = await self._storage.search(_at(life, args.path), args.query, args.limit)
        readable = [hit for hit in reply.hits if self._may_read(life.process, hit.path, hit.owner)]
        return SearchReply(readable, reply.by_meaning, reply.pending)

    async def _history(self, life: Life, args: PathArgs, _: OnDelta) -> list[VersionInfo]:
        return await self._storage.history(_at(life, args.path))

    async def _diff(self, life: Life, args: DiffArgs, _: OnDelta) -> str:
        return await self._storage.diff(_at(life, args.path), args.old, args.new)

    async def _bin(self, life: Life, args: BinArgs, _: OnDelta) -> list[BinInfo]:
        return await self._storage.bin(_at(life, args.path).owner)

    # --- changing

    async def _create(self, life: Life, args: WriteArgs, _: OnDelta) -> FileInfo:
        return await self._storage.create(_at(life, args.path), _bytes(args), life.process.pid)

    async def _write(self, life: Life, args: WriteArgs, _: OnDelta) -> FileInfo:
        return await self._storage.write(
            _at(life, args.path), _bytes(args), life.process.pid, self._replacing(life, "overwrite")
        )

    async def _append(self, life: Life, args: WriteArgs, _: OnDelta) -> FileInfo:
        return await self._storage.append(_at(life, args.path), _bytes(args), life.process.pid)

    async def _mkdir(self, life: Life, args: PathArgs, _: OnDelta) -> None:
        await self._storage.make_folder(_at(life, args.path))

    async def _delete(self, life: Life, args: DeleteArgs, _: OnDelta) -> int:
        address = _at(life, args.path)
        only = await self._decide_below(life, address, "delete") if args.recursive else frozenset[str]()
        return await self._storage.delete(address, only=only)

    async def _move(self, life: Life, args: MoveArgs, _: OnDelta) -> FileInfo:
        address, to = _at(life, args.path), _at(life, args.to)
        only = await self._decide_below(life, address, "delete", to)
        return await self._storage.move(
            address, to, life.process.pid, self._replacing(life, f"move {address.path} over"), only=only
        )

    async def _rollback(self, life: Life, args: RollbackArgs, _: OnDelta) -> FileInfo:
        decide = self._replacing(life, "roll back")
        return await self._storage.rollback(_at(life, args.path), args.version, life.process.pid, decide)

    async def _restore(self, life: Life, args: RestoreArgs, _: OnDelta) -> FileInfo:
        """Named by its number it is decided about here, where its path is known."""
        address, to = _at(life, args.path), _at(life, args.to)
        if args.to and to.owner != address.owner:
            raise BadRequest("files are restored within one agent's", key="to")
        if args.id is not None:
            path = next((row.path for row in await self._storage.bin(address.owner) if row.id == args.id), None)
            if path is None:
                raise NoSuchFile(f"the bin has no {args.id}", id=args.id)
            what = f"restore {_named(life.process, path, address.owner)}"
            await self._access.require(life, Need("write", Kind.FILE, path, address.owner, what))
        return await self._storage.restore(args.id, address, to)

    async def _share(self, life: Life, args: ShareArgs, _: OnDelta) -> ShareInfo:
        return await self._storage.share(_at(life, args.path), args.to, args.expires_s)

    async def _unshare(self, life: Life, args: IdArgs, _: OnDelta) -> None:
        self._storage.unshare(self._storage.shares.find(args.id, life.process.request.agent))

    async def _mount(self, life: Life, args: MountArgs, _: OnDelta) -> MountInfo:
        return await self._storage.mount(_at(life, args.path), args.folder, writable=args.writable, exact=True)

    async def _unmount(self, life: Life, args: PathArgs, _: OnDelta) -> None:
        await self._storage.unmount(_at(life, args.path))

    # --- what is known only on the way

    def _replacing(self, life: Life, verb: str) -> Decide:
        """The decision that replacing a file takes."""

        async def decide(file: FileInfo) -> None:
            what = f"{verb} {_named(life.process, file.path, file.owner)} (version {file.version}, {file.size} bytes)"
            await self._access.require(life, Need("write", Kind.FILE, file.path, file.owner, what, irreversible=True))

        return decide

    async def _decide_below(
        self, life: Life, address: Address, action: str, to: Address | None = None
    ) -> frozenset[str]:
        """Decide about everything in a folder, and where it goes; the folder itself has been decided.

        Raises LimitHit, NotPermitted.
        """
        found = await self._storage.entries(address, recursive=True)
        below = [info for info in found if info.path != address.path]
        if len(below) > MAX_DECIDED:
            raise LimitHit(f"{address.path} has more than {MAX_DECIDED} files: do it in parts", limit=MAX_DECIDED)
        for info in below:
            if info.kind is not FileKind.FOLDER:
                await self._access.require(life, Need(action, Kind.FILE, info.path, info.owner))
                if to is not None:
                    path = to.path + info.path[len(address.path) :]
                    await self._access.require(life, Need("write", Kind.FILE, path, to.owner))
        return frozenset(info.path for info in below)

    def _may_read(self, process: Process, path: str, owner: str) -> bool:
        return self._access.test(process, Need("read", Kind.FILE, path, owner)).outcome is Outcome.ALLOW

    # --- what they need

    def _read_needs(self, process: Process, args: ReadArgs) -> Sequence[Need]:
        return (self._need(process, "read", "read", args.path, shared=args.version is None),)

    def _list_needs(self, process: Process, args: ListArgs) -> Sequence[Need]:
        return (self._need(process, "read", "list", args.path, shared=True),)

    def _bin_needs(self, process: Process, args: BinArgs) -> Sequence[Need]:
        return (self._need(process, "read", "list the bin of", args.path),)

    def _search_needs(self, process: Process, args: SearchArgs) -> Sequence[Need]:
        return (self._need(process, "search", "search in", args.path),)

    def _history_needs(self, process: Process, args: PathArgs | DiffArgs) -> Sequence[Need]:
        return (self._need(process, "read", "read the history of", args.path),)

    def _write_needs(self, process: Process, args: WriteArgs) -> Sequence[Need]:
        return (self._need(process, "write", "write", args.path),)

    def _append_needs(self, process: Process, args: WriteArgs) -> Sequence[Need]:
        return (self._need(process, "append", "append to", args.path),)

    def _mkdir_needs(self, process: Process, args: PathArgs) -> Sequence[Need]:
        return (self._need(process, "write", "make the folder", args.path),)

    def _delete_needs(self, process: Process, args: DeleteArgs) -> Sequence[Need]:
        rest = "and all in it " if args.recursive else ""
        return (self._need(process, "delete", "delete", args.path, f" {rest}(to the bin)", irreversible=True),)

    def _move_needs(self, process: Process, args: MoveArgs) -> Sequence[Need]:
        return (
            self._need(process, "delete", "move", args.path, f" to {args.to}"),
            self._need(process, "write", f"move {args.path} to", args.to),
        )

    def _rollback_needs(self, process: Process, args: RollbackArgs) -> Sequence[Need]:
        return (self._need(process, "write", "roll back", args.path),)

    def _restore_needs(self, process: Process, args: RestoreArgs) -> Sequence[Need]:
        return (
            self._need(process, "write", "restore", args.path),
            *((self._need(process, "write", "restore to", args.to),) if args.to else ()),
        )

    def _share_needs(self, process: Process, args: ShareArgs) -> Sequence[Need]:
        whom = f" with {args.to}" if args.to else " by a link that whoever has it can read"
        rest = f"{whom}, for {args.expires_s / 3_600:.1f} h"
        return (self._need(process, "share", "share", args.path, rest, irreversible=True),)

    def _unshare_needs(self, process: Process, args: IdArgs) -> Sequence[Need]:
        mine = process.request.agent  # only its own are looked at
        return (Need("share", Kind.FILE, _link(args.id), mine, what="take a share back"),)

    def _mount_needs(self, process: Process, args: MountArgs) -> Sequence[Need]:
        """The folder is nobody's but the person's: what they say is about it alone, and about reading or changing."""
        seen = self._need(process, "write", "mount a folder as", args.path)
        how, name = ("read and change", f"rw:{args.folder}") if args.writable else ("read", args.folder)
        what = f"{how} your folder {args.folder} as {short(args.path, 60)}"
        folder = Need("mount", Kind.FILE, name, "", what, irreversible=True)
        return (folder,) if seen.owner == process.request.agent else (seen, folder)

    def _unmount_needs(self, process: Process, args: PathArgs) -> Sequence[Need]:
        return (self._need(process, "mount", "unmount", args.path, irreversible=True),)

    def _need(
        self,
        process: Process,
        action: str,
        verb: str,
        path: str,
        rest: str = "",
        *,
        irreversible: bool = False,
        shared: bool = False,
    ) -> Need:
        """What an act on a path needs. What is shared with the caller is its own to read, where `shared` counts.

        A path that is none is decided all the same: that it was asked for, and refused, belongs into the audit log.
        Raises NotPermitted for one that leads out of the agent's files.
        """
        caller = process.request.agent
        try:
            address = Address.parse(path, caller)
        except BadRequest:
            return Need(action, Kind.FILE, path[:SHOWN_PATH], caller, irreversible=irreversible)
        if address.link:  # who has it may read it
            return Need(action, Kind.FILE, _link(address.link), caller, f"{verb} a shared file{rest}", irreversible)
        name, owner = address.path, address.owner
        if shared and owner != caller and self._storage.shares.covers(caller, address):
            name, owner = f"~{address.owner}/{address.path}", caller
        what = f"{verb} {_named(process, address.path, address.owner)}{rest}"
        return Need(action, Kind.FILE, name, owner, what, irreversible)


def _at(life: Life, path: str) -> Address:
    """Raises BadRequest, NotPermitted."""
    return Address.parse(path, life.process.request.agent)


def _named(process: Process, path: str, owner: str) -> str:
    """A path as its caller writes it."""
    return (path or "its files") if owner == process.request.agent else f"~{owner}/{path}"


def _link(token: str) -> str:
    return f"share:{token[:SHOWN_TOKEN]}…"


def _bytes(args: WriteArgs) -> bytes:
    """Raises BadRequest for what is no base64, or no text that UTF-8 can hold."""
    try:
        return base64.b64decode(args.content, validate=True) if args.base64 else args.content.encode()
    except (binascii.Error, UnicodeEncodeError) as error:
        raise BadRequest(f"content: {error}", key="content") from error

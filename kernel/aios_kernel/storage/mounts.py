"""Mounts: folders of the person's that an agent sees among its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aios_kernel.errors import BadRequest, InvalidState, LimitHit, NoSuchFile
from aios_kernel.protocol import MountInfo
from aios_kernel.storage.kept import Kept
from aios_kernel.storage.paths import Address, clean

MAX_MOUNTS: Final = 32  # of one agent


class Mounts:
    """All mounts.

    Args:
        private: folders that no mount may show any of: the kernel's own, with its keys.
    """

    def __init__(self, file: Path, private: Sequence[Path]) -> None:
        """Raises InternalError."""
        self._kept = Kept(file, MountInfo)
        self._private = [path.resolve() for path in private]

    def all(self) -> list[MountInfo]:
        return sorted(self._kept, key=lambda mount: (mount.owner, mount.path))

    def of(self, owner: str) -> list[MountInfo]:
        return [mount for mount in self._kept if mount.owner == owner]

    def plan(self, address: Address, folder: str, *, writable: bool, exact: bool = False) -> MountInfo:
        """The mount that this asks for, its links resolved now and never again.

        exact: it must be the folder's own name, without links or dots, as a person has read it.

        Raises:
            BadRequest: it is no folder, or shows the kernel's own ones; InvalidState: one is there; LimitHit.
        """
        if not address.parts:
            raise BadRequest("name a path for the mount: it cannot be the root of the agent's files", key="path")
        path = Path(folder)
        if not path.is_absolute() or not path.is_dir():
            raise BadRequest(f"{folder!r} is not an absolute path of a folder", key="folder")
        path = path.resolve()
        if exact and str(path) != folder:
            raise BadRequest(f"{folder!r} is another folder's name: name the folder itself", key="folder")
        for private in self._private:
            if path == private or path in private.parents or private in path.parents:
                raise BadRequest(f"{path} would show {private}, the kernel's own: mount a folder in it", key="folder")
        mine = self.of(address.owner)
        if len(mine) >= MAX_MOUNTS:
            raise LimitHit(f"{address.owner} has {MAX_MOUNTS} mounts", limit=MAX_MOUNTS)
        for mount in mine:
            parts = clean(mount.path)
            if parts[: len(address.parts)] == address.parts or address.parts[: len(parts)] == parts:
                raise InvalidState(f"{mount.path} is mounted already", path=mount.path)
        return MountInfo(address.owner, address.path, str(path), writable)

    def add(self, mount: MountInfo) -> None:
        """Raises InternalError."""
        self._kept.set((*self._kept, mount))

    def remove(self, address: Address) -> MountInfo:
        """Raises NoSuchFile, InternalError."""
        for mount in self._kept:
            if (mount.owner, mount.path) == (address.owner, address.path):
                self._kept.set(tuple(other for other in self._kept if other is not mount))
                return mount
        raise NoSuchFile(f"nothing is mounted at {address.path} of {address.owner}", path=address.path)

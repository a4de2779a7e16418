"""One agent's files as it sees them: its own jail, with folders of the person's mounted in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from aios_kernel.errors import InvalidState, NotPermitted
from aios_kernel.protocol import MountInfo
from aios_kernel.storage.jail import Found, Jail
from aios_kernel.storage.paths import Parts, clean


class _Place(NamedTuple):
    jail: Jail
    parts: Parts  # below that jail's root
    at: Parts  # where that root is seen
    mount: MountInfo | None


class Tree:
    """Like a Jail, over several. Changes where a mount is read-only raise NotPermitted."""

    def __init__(self, own: Jail) -> None:
        self.own: Final = own
        self._mounts: dict[Parts, tuple[MountInfo, Jail]] = {}

    def set_mounts(self, mounts: Iterable[MountInfo]) -> None:
        self._mounts = {clean(mount.path): (mount, Jail(Path(mount.folder))) for mount in mounts}

    def mount_of(self, parts: Parts) -> str:
        """ "ro" or "rw" for what lies in a mounted folder, or is one."""
        mount = self._place(parts).mount
        return "" if mount is None else "rw" if mount.writable else "ro"

    def same_jail(self, parts: Parts, other: Parts) -> bool:
        """Whether a rename can take one to the other."""
        return self._place(parts).at == self._place(other).at

    def find(self, parts: Parts) -> Found | None:
        place = self._place(parts)
        return _seen(place, place.jail.find(place.parts))

    def read(self, parts: Parts, max_bytes: int, *, cut: bool = False) -> tuple[bytes, Found]:
        place = self._place(parts)
        data, found = place.jail.read(place.parts, max_bytes, cut=cut)
        return data, dataclasses.replace(found, parts=parts)

    def replace(self, parts: Parts, data: bytes, *, exclusive: bool = False) -> Found:
        place = self.check_writable(parts)
        found = place.jail.replace(place.parts, data, exclusive=exclusive)
        return dataclasses.replace(found, parts=parts)

    def make_folder(self, parts: Parts) -> None:
        place = self.check_writable(parts)
        place.jail.make_folder(place.parts)

    def remove(self, parts: Parts) -> None:
        self.check_unmounted(parts)
        place = self.check_writable(parts)
        place.jail.remove(place.parts)

    def rename(self, parts: Parts, to: Parts) -> None:
        """Both in the same jail."""
        self.check_unmounted(parts)
        place, target = self.check_writable(parts), self.check_writable(to)
        assert place.at == target.at, "a rename does not leave its jail"
        place.jail.rename(place.parts, target.parts)

    def entries(self, parts: Parts) -> list[Found]:
        place = self._place(parts)
        return [dataclasses.replace(found, parts=place.at + found.parts) for found in place.jail.entries(place.parts)]

    def walk(self, parts: Parts) -> Iterator[Found]:
        """Everything below a folder, mounts too; each folder before what it holds."""
        place = self._place(parts)
        yield from self._walk(place)
        for at in sorted(self._mounts):
            if at[: len(parts)] == parts and at != place.at:
                yield from self._walk(self._place(at))

    def check_writable(self, parts: Parts) -> _Place:
        """Raises NotPermitted in a mount that is read-only."""
        place = self._place(parts)
        if place.mount is not None and not place.mount.writable:
            raise NotPermitted(f"{place.mount.path} is mounted read-only", path="/".join(parts))
        return place

    def check_unmounted(self, parts: Parts) -> None:
        """Raises InvalidState for what is a mount, or has one in it."""
        for at, (mount, _) in self._mounts.items():
            if at[: len(parts)] == parts:
                raise InvalidState(f"{mount.path} is mounted: `aios fs umount` first", path=mount.path)

    def _place(self, parts: Parts) -> _Place:
        for depth in range(len(parts), 0, -1):
            if (mounted := self._mounts.get(parts[:depth])) is not None:
                mount, jail = mounted
                return _Place(jail, parts[depth:], parts[:depth], mount)
        return _Place(self.own, parts, (), None)

    def _walk(self, place: _Place) -> Iterator[Found]:
        for found in place.jail.walk(place.parts):
            yield dataclasses.replace(found, parts=place.at + found.parts)


def _seen(place: _Place, found: Found | None) -> Found | None:
    return None if found is None else dataclasses.replace(found, parts=place.at + found.parts)

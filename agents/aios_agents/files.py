"""An agent's files, kept by the kernel: versions of each, a bin, shares, search. Every method is a syscall.

A path is the agent's own, `~writer/a.txt` another agent's that it has been let see, `share:TOKEN` a link's. A version
is 1 and up by its number, 0 the newest, -1 the one before it. Raises NotPermitted where a policy, or a person, says no.
"""

from __future__ import annotations

import base64
from typing import Any, TypeVar

import msgspec

from aios_kernel.client.aio import AsyncKernelClient
from aios_kernel.protocol import BinInfo, FileContent, FileInfo, MountInfo, SearchReply, ShareInfo, VersionInfo

T = TypeVar("T")


class Files:
    def __init__(self, kernel: AsyncKernelClient) -> None:
        self._kernel = kernel

    async def read(self, path: str, version: int | None = None) -> str:
        """The text of a file; bytes that are not UTF-8 become U+FFFD. version: None: as it is now."""
        return (await self.read_bytes(path, version)).decode(errors="replace")

    async def read_bytes(self, path: str, version: int | None = None) -> bytes:
        content = await self._ask("sto.read", FileContent, path=path, version=version)
        return content.text.encode() if content.text is not None else base64.b64decode(content.base64 or "")

    async def create(self, path: str, content: str | bytes = "") -> FileInfo:
        """Write a file that is not there yet."""
        return await self._ask("sto.create", FileInfo, path=path, **_content(content))

    async def write(self, path: str, content: str | bytes) -> FileInfo:
        """Make it a file's content, as its next version. Replacing what is there may have a person asked."""
        return await self._ask("sto.write", FileInfo, path=path, **_content(content))

    async def append(self, path: str, content: str | bytes) -> FileInfo:
        return await self._ask("sto.append", FileInfo, path=path, **_content(content))

    async def mkdir(self, path: str) -> None:
        await self._kernel.syscall("sto.mkdir", {"path": path})

    async def entries(self, path: str = "", *, recursive: bool = False) -> list[FileInfo]:
        return await self._ask("sto.list", list[FileInfo], path=path, recursive=recursive)

    async def search(self, query: str, *, limit: int = 10, path: str = "") -> SearchReply:
        """Files below `path` by words and, where the kernel has an embedding model, by meaning; the best first."""
        return await self._ask("sto.search", SearchReply, query=query, limit=limit, path=path)

    async def delete(self, path: str, *, recursive: bool = False) -> int:
        """Put a file, or a folder with all in it, into the bin. Returns how many files."""
        return await self._ask("sto.delete", int, path=path, recursive=recursive)

    async def bin(self) -> list[BinInfo]:
        return await self._ask("sto.bin", list[BinInfo])

    async def restore(self, path: str = "", *, id: int | None = None, to: str = "") -> FileInfo:
        """Bring a file back from the bin: the one with this id, else the newest of this path."""
        return await self._ask("sto.restore", FileInfo, path=path, id=id, to=to)

    async def move(self, path: str, to: str) -> FileInfo:
        return await self._ask("sto.move", FileInfo, path=path, to=to)

    async def history(self, path: str) -> list[VersionInfo]:
        return await self._ask("sto.history", list[VersionInfo], path=path)

    async def diff(self, path: str, old: int = -1, new: int = 0) -> str:
        """A unified diff of two versions."""
        return await self._ask("sto.diff", str, path=path, old=old, new=new)

    async def rollback(self, path: str, version: int = -1) -> FileInfo:
        """Make an earlier version's content the newest."""
        return await self._ask("sto.rollback", FileInfo, path=path, version=version)

    async def share(self, path: str, to: str = "", *, expires_s: float = 86_400.0) -> ShareInfo:
        """Let another agent read it or, without `to`, whoever has the link."""
        return await self._ask("sto.share", ShareInfo, path=path, to=to, expires_s=expires_s)

    async def unshare(self, id: str) -> None:
        await self._kernel.syscall("sto.unshare", {"id": id})

    async def mount(self, folder: str, path: str, *, writable: bool = False) -> MountInfo:
        """Ask for a folder of the person's to be seen as `path`: a person is asked."""
        return await self._ask("sto.mount", MountInfo, folder=folder, path=path, writable=writable)

    async def unmount(self, path: str) -> None:
        await self._kernel.syscall("sto.unmount", {"path": path})

    async def _ask(self, name: str, kind: type[T], **args: Any) -> T:
        return msgspec.convert(await self._kernel.syscall(name, args), kind)


def _content(content: str | bytes) -> dict[str, Any]:
    if isinstance(content, str):
        return {"content": content}
    return {"content": base64.b64encode(content).decode(), "base64": True}

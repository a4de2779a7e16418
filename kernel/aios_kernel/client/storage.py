"""What the person asks of the storage manager: files of all agents, their versions, the bin, shares, mounts."""

from __future__ import annotations

from collections.abc import Callable

from aios_kernel import protocol as p
from aios_kernel.client import KernelClient


class StorageClient:
    """The storage manager's routes. Raises what KernelClient raises.

    A version is 1 and up by its number, 0 the newest, -1 the one before it.
    """

    def __init__(self, client: KernelClient) -> None:
        self._client = client

    def owners(self) -> list[p.OwnerInfo]:
        """The agents that keep files."""
        reply: list[p.OwnerInfo] = self._client.call("GET", "/files", list[p.OwnerInfo])
        return reply

    def entries(self, agent: str, path: str = "", *, recursive: bool = False) -> list[p.FileInfo]:
        reply: list[p.FileInfo] = self._client.call(
            "GET", f"/files/{agent}", list[p.FileInfo], path=path, recursive=recursive
        )
        return reply

    def read(self, agent: str, path: str, version: int | None, write: Callable[[bytes], object]) -> None:
        """Give a file's bytes to `write`; version: None: as it is now."""
        self._client.download(f"/files/{agent}/content", write, path=path, version=version)

    def write(self, agent: str, path: str, data: bytes, *, append: bool = False) -> p.FileInfo:
        """Make it a file's content, as its next version. Raises LimitHit."""
        reply: p.FileInfo = self._client.call(
            "PUT", f"/files/{agent}/content", p.FileInfo, raw=data, path=path, append=append
        )
        return reply

    def make_folder(self, agent: str, path: str) -> None:
        self._client.call("POST", f"/files/{agent}/folder", path=path)

    def delete(self, agent: str, path: str, *, recursive: bool = False) -> int:
        """To the bin. Returns how many files."""
        reply: int = self._client.call("DELETE", f"/files/{agent}", int, path=path, recursive=recursive)
        return reply

    def move(self, agent: str, path: str, to: str, *, replace: bool = False) -> p.FileInfo:
        body = p.MoveRequest(path, to, replace)
        reply: p.FileInfo = self._client.call("POST", f"/files/{agent}/move", p.FileInfo, body=body)
        return reply

    def history(self, agent: str, path: str) -> list[p.VersionInfo]:
        """The newest first."""
        reply: list[p.VersionInfo] = self._client.call("GET", f"/files/{agent}/history", list[p.VersionInfo], path=path)
        return reply

    def diff(self, agent: str, path: str, old: int = -1, new: int = 0) -> str:
        """Unified; "" where the versions are the same."""
        reply: str = self._client.call("GET", f"/files/{agent}/diff", str, path=path, old=old, new=new)
        return reply

    def rollback(self, agent: str, path: str, version: int = -1) -> p.FileInfo:
        """Make a version's content the newest."""
        body = p.RollbackRequest(path, version)
        reply: p.FileInfo = self._client.call("POST", f"/files/{agent}/rollback", p.FileInfo, body=body)
        return reply

    def search(self, agent: str, query: str, *, limit: int = 10, path: str = "") -> p.SearchReply:
        """It may have to wait for the embedding model to load."""
        reply: p.SearchReply = self._client.call(
            "GET", f"/files/{agent}/search", p.SearchReply, query=query, limit=limit, path=path, timeout=None
        )
        return reply

    # --- the bin

    def bin(self, agent: str) -> list[p.BinInfo]:
        """The newest first."""
        reply: list[p.BinInfo] = self._client.call("GET", f"/files/{agent}/bin", list[p.BinInfo])
        return reply

    def restore(self, agent: str, path: str = "", *, id: int | None = None, to: str = "") -> p.FileInfo:
        """The one with this id, else the newest of this path."""
        body = p.RestoreRequest(id, path, to)
        reply: p.FileInfo = self._client.call("POST", f"/files/{agent}/restore", p.FileInfo, body=body)
        return reply

    def empty_bin(self, agent: str) -> int:
        """For good. Returns how many files."""
        reply: int = self._client.call("DELETE", f"/files/{agent}/bin", int)
        return reply

    # --- shares and mounts

    def shares(self) -> list[p.ShareInfo]:
        reply: list[p.ShareInfo] = self._client.call("GET", "/shares", list[p.ShareInfo])
        return reply

    def share(self, agent: str, path: str, to: str = "", *, expires_s: float = 86_400.0) -> p.ShareInfo:
        """With another agent; "": a link, whose `file` is a copy."""
        body = p.ShareRequest(path, to, expires_s)
        reply: p.ShareInfo = self._client.call("POST", f"/files/{agent}/shares", p.ShareInfo, body=body)
        return reply

    def unshare(self, id: str) -> None:
        """By the beginning of its id."""
        self._client.call("DELETE", f"/shares/{id}")

    def mounts(self) -> list[p.MountInfo]:
        reply: list[p.MountInfo] = self._client.call("GET", "/mounts", list[p.MountInfo])
        return reply

    def mount(self, agent: str, path: str, folder: str, *, writable: bool = False) -> p.MountInfo:
        """Show an agent a folder of the person's."""
        body = p.MountRequest(folder, path, writable)
        # Its texts are read for searches.
        reply: p.MountInfo = self._client.call("POST", f"/files/{agent}/mounts", p.MountInfo, body=body, timeout=None)
        return reply

    def unmount(self, agent: str, path: str) -> None:
        self._client.call("DELETE", f"/files/{agent}/mounts", path=path, timeout=None)

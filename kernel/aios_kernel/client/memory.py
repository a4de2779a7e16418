"""What the person asks of the memory manager: notes of all agents, interaction logs, what is kept where."""

from __future__ import annotations

from aios_kernel import protocol as p
from aios_kernel.client import KernelClient


class MemoryClient:
    """The memory manager's routes. Raises what KernelClient raises."""

    def __init__(self, client: KernelClient) -> None:
        self._client = client

    def status(self) -> p.MemoryStatus:
        reply: p.MemoryStatus = self._client.call("GET", "/memory", p.MemoryStatus)
        return reply

    def notes(self, owner: str | None = None, *, limit: int = 100, tag: str = "") -> list[p.Note]:
        """The newest first. owner: None: of all agents."""
        reply: list[p.Note] = self._client.call("GET", "/memory/notes", list[p.Note], owner=owner, limit=limit, tag=tag)
        return reply

    def search(self, query: str, *, k: int = 5, owner: str | None = None) -> list[p.NoteHit]:
        """The best first. It may have to wait for the embedding model to load."""
        reply: list[p.NoteHit] = self._client.call(
            "GET", "/memory/search", list[p.NoteHit], query=query, k=k, owner=owner, timeout=None
        )
        return reply

    def note(self, owner: str, id: str) -> p.NoteDetail:
        """Raises NoSuchNote."""
        reply: p.NoteDetail = self._client.call("GET", f"/memory/notes/{owner}/{id}", p.NoteDetail)
        return reply

    def remove(self, owner: str, id: str) -> None:
        """Raises NoSuchNote."""
        self._client.call("DELETE", f"/memory/notes/{owner}/{id}")

    def log(self, pid: int, last: int = 50) -> list[p.Interaction]:
        """Of a living process, the oldest first. Raises NoSuchProcess."""
        reply: list[p.Interaction] = self._client.call("GET", f"/memory/log/{pid}", list[p.Interaction], last=last)
        return reply

    def index(self) -> int:
        """Give a vector to each note that has none; how many got one. Raises NoSuchModel."""
        reply: p.Indexed = self._client.call("POST", "/memory/index", p.Indexed, timeout=None)
        return reply.notes

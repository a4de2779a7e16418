"""What an agent remembers, kept by the kernel: notes that every process of it shares. Every method is a syscall.

owner: the agent whose notes are meant; "": its own. Another's are as if they were not there, unless it was granted.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aios_kernel.client.aio import AsyncKernelClient
from aios_kernel.protocol import Interaction, Note, NoteHit


class Memory:
    def __init__(self, kernel: AsyncKernelClient) -> None:
        self._kernel = kernel

    async def add(
        self,
        content: str,
        *,
        context: str = "",
        keywords: list[str] | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        enrich: bool = False,
    ) -> Note:
        """Keep a note; it is linked to those nearest to it.

        enrich: the model writes the context, keywords and tags that are left out, and looks at its neighbours' again.
        """
        note = {
            "content": content,
            "context": context,
            "keywords": keywords or [],
            "tags": tags or [],
            "metadata": metadata or {},
            "enrich": enrich,
        }
        return msgspec.convert(await self._kernel.syscall("mem.add", note), Note)

    async def get(self, id: str, *, owner: str = "") -> Note:
        return msgspec.convert(await self._kernel.syscall("mem.get", {"id": id, "owner": owner}), Note)

    async def update(self, id: str, *, owner: str = "", **changes: Any) -> Note:
        """changes: content, context, keywords, tags, metadata; what is not given stays."""
        return msgspec.convert(await self._kernel.syscall("mem.update", {"id": id, "owner": owner, **changes}), Note)

    async def remove(self, id: str, *, owner: str = "") -> None:
        await self._kernel.syscall("mem.remove", {"id": id, "owner": owner})

    async def search(self, query: str, *, k: int = 5, owner: str = "") -> list[NoteHit]:
        """The k notes that have most to do with the query, the best first."""
        found = await self._kernel.syscall("mem.search", {"query": query, "k": k, "owner": owner})
        return msgspec.convert(found, list[NoteHit])

    async def newest(
        self, limit: int = 100, *, before: str | None = None, tag: str = "", owner: str = ""
    ) -> list[Note]:
        """before: the id of a note: only older ones."""
        args = {"limit": limit, "before": before, "tag": tag, "owner": owner}
        return msgspec.convert(await self._kernel.syscall("mem.list", args), list[Note])

    async def log(self, last: int = 50, *, pid: int | None = None) -> list[Interaction]:
        """What a process, by default this one, asked of model and tools and was answered; the oldest first."""
        return msgspec.convert(await self._kernel.syscall("mem.log", {"last": last, "pid": pid}), list[Interaction])

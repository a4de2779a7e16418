"""Routes of the memory manager: notes of all agents, interaction logs of processes. All are the person's."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response

from aios_kernel import protocol as p
from aios_kernel.daemon import Kernel
from aios_kernel.person import person_only
from aios_kernel.serving import json_reply


def memory_routes(kernel: Kernel) -> APIRouter:
    routes = APIRouter(prefix="/memory", dependencies=[Depends(person_only(kernel))])
    memory = kernel.memory

    @routes.get("", response_model=p.MemoryStatus)
    async def status() -> Response:
        """Tell how much is kept, where, and what finds by meaning."""
        return json_reply(await memory.status())

    @routes.get("/notes", response_model=list[p.Note])
    async def ls(owner: str | None = None, limit: int = 100, tag: str = "") -> Response:
        """List the newest notes of an agent, or of all."""
        return json_reply(await memory.newest(owner, limit, tag=tag))

    @routes.get("/search", response_model=list[p.NoteHit])
    async def search(query: str, k: int = 5, owner: str | None = None) -> Response:
        """Find notes of an agent, or of all, by words and by meaning."""
        found = memory.search_all(query, k) if owner is None else memory.search(owner, query, k, 0)
        return json_reply(await found)

    @routes.get("/notes/{owner}/{id}", response_model=p.NoteDetail)
    async def show(owner: str, id: str) -> Response:
        """Tell all of a note, with what it was before."""
        return json_reply(await memory.detail(owner, id))

    @routes.delete("/notes/{owner}/{id}")
    async def rm(owner: str, id: str) -> Response:
        """Remove a note and what it was before."""
        await memory.remove(owner, id)
        return json_reply(None)

    @routes.get("/log/{pid}", response_model=list[p.Interaction])
    async def log(pid: int, last: int = 50) -> Response:
        """List what a living process asked and was answered, the newest `last`, oldest first."""
        kernel.supervisor.living(pid)
        return json_reply(await memory.log.last(pid, last))

    @routes.post("/index", response_model=p.Indexed)
    async def index() -> Response:
        """Give a vector to each note that the embedding model has not seen; answers when that is done."""
        return json_reply(p.Indexed(await memory.index()))

    return routes

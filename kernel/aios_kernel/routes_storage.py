"""Routes of the storage manager. All are the person's, who needs no permission for what agents keep."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from aios_kernel import protocol as p
from aios_kernel.daemon import Kernel
from aios_kernel.errors import InvalidState
from aios_kernel.person import person_only
from aios_kernel.serving import json_reply, read_body
from aios_kernel.storage.manager import allowed
from aios_kernel.storage.paths import Address, check_owner, clean

PERSON = 0  # in place of the pid of who makes a version


def storage_routes(kernel: Kernel) -> APIRouter:
    routes = APIRouter(dependencies=[Depends(person_only(kernel))])
    routes.include_router(_reading(kernel))
    routes.include_router(_changing(kernel))
    routes.include_router(_sharing(kernel))
    return routes


def _at(agent: str, path: str) -> Address:
    return Address(check_owner(agent), clean(path))


async def _refuse(file: p.FileInfo) -> None:
    raise InvalidState(f"{file.path} is there already: --force replaces it", path=file.path)


def _reading(kernel: Kernel) -> APIRouter:
    routes = APIRouter(prefix="/files")
    storage = kernel.storage

    @routes.get("", response_model=list[p.OwnerInfo])
    async def owners() -> Response:
        """List the agents that keep files, and how much."""
        return json_reply(await storage.owners())

    @routes.get("/{agent}", response_model=list[p.FileInfo])
    async def entries(agent: str, path: str = "", recursive: bool = False) -> Response:
        """List a folder of an agent's, with `recursive` and all below it."""
        return json_reply(await storage.entries(_at(agent, path), recursive=recursive))

    @routes.get("/{agent}/content", response_class=Response)
    async def content(agent: str, path: str, version: int | None = None) -> Response:
        """Send a file's bytes, or those of a version: 1 and up by number, 0 the newest, -1 the one before it."""
        data = await storage.read_bytes(_at(agent, path), version)
        return Response(data, media_type="application/octet-stream")

    @routes.get("/{agent}/history", response_model=list[p.VersionInfo])
    async def history(agent: str, path: str) -> Response:
        """List a file's versions, the newest first."""
        return json_reply(await storage.history(_at(agent, path)))

    @routes.get("/{agent}/diff", response_model=str)
    async def diff(agent: str, path: str, old: int = -1, new: int = 0) -> Response:
        """Tell what changed from one version to another, as a unified diff."""
        return json_reply(await storage.diff(_at(agent, path), old, new))

    @routes.get("/{agent}/search", response_model=p.SearchReply)
    async def search(agent: str, query: str, limit: int = 10, path: str = "") -> Response:
        """Find files by words and, with an embedding model, by meaning."""
        return json_reply(await storage.search(_at(agent, path), query, limit))

    @routes.get("/{agent}/bin", response_model=list[p.BinInfo])
    async def bin(agent: str) -> Response:
        """List what has been deleted and can be restored, the newest first."""
        return json_reply(await storage.bin(agent))

    return routes


def _changing(kernel: Kernel) -> APIRouter:
    routes = APIRouter(prefix="/files/{agent}")
    storage = kernel.storage

    @routes.put("/content", response_model=p.FileInfo)
    async def write(request: Request, agent: str, path: str, append: bool = False) -> Response:
        """Make the body a file's content, as its next version, or add it to the end."""
        address, data = _at(agent, path), await read_body(request)
        if append:
            return json_reply(await storage.append(address, data, PERSON))
        return json_reply(await storage.write(address, data, PERSON, allowed))

    @routes.post("/folder")
    async def make_folder(agent: str, path: str) -> Response:
        """Make a folder, and those above it."""
        await storage.make_folder(_at(agent, path))
        return json_reply(None)

    @routes.delete("")
    async def delete(agent: str, path: str, recursive: bool = False) -> Response:
        """Move a file, or with `recursive` a folder, to the bin; answers with how many files that were."""
        return json_reply(await storage.delete(_at(agent, path), only=None if recursive else frozenset()))

    @routes.post("/move", response_model=p.FileInfo)
    async def move(agent: str, body: p.MoveRequest) -> Response:
        """Give a file or folder another path; its history goes with it."""
        source, target = _at(agent, body.path), _at(agent, body.to)
        decide = allowed if body.replace else _refuse
        return json_reply(await storage.move(source, target, PERSON, decide, only=None))

    @routes.post("/rollback", response_model=p.FileInfo)
    async def rollback(agent: str, body: p.RollbackRequest) -> Response:
        """Make an earlier version's content the newest."""
        return json_reply(await storage.rollback(_at(agent, body.path), body.version, PERSON, allowed))

    @routes.post("/restore", response_model=p.FileInfo)
    async def restore(agent: str, body: p.RestoreRequest) -> Response:
        """Bring a file back from the bin, with its history."""
        return json_reply(await storage.restore(body.id, _at(agent, body.path), _at(agent, body.to)))

    @routes.delete("/bin")
    async def empty(agent: str) -> Response:
        """Let go for good of what an agent has deleted; answers with how many files that were."""
        return json_reply(await storage.empty_bin(agent))

    return routes


def _sharing(kernel: Kernel) -> APIRouter:
    routes = APIRouter()
    storage = kernel.storage

    @routes.get("/shares", response_model=list[p.ShareInfo])
    async def shares() -> Response:
        """List what agents share, and with whom."""
        return json_reply(storage.shares.open())

    @routes.post("/files/{agent}/shares", response_model=p.ShareInfo)
    async def share(agent: str, body: p.ShareRequest) -> Response:
        """Let another agent read a file or folder, or make a link to a copy of a file."""
        return json_reply(await storage.share(_at(agent, body.path), body.to, body.expires_s))

    @routes.delete("/shares/{id}")
    async def unshare(id: str) -> Response:
        """Take a share back, named by the beginning of its id."""
        storage.unshare(storage.shares.find(id))
        return json_reply(None)

    @routes.get("/mounts", response_model=list[p.MountInfo])
    async def mounts() -> Response:
        """List the folders of the person's that agents see."""
        return json_reply(storage.mounts.all())

    @routes.post("/files/{agent}/mounts", response_model=p.MountInfo)
    async def mount(agent: str, body: p.MountRequest) -> Response:
        """Show an agent a folder of the person's."""
        return json_reply(await storage.mount(_at(agent, body.path), body.folder, writable=body.writable))

    @routes.delete("/files/{agent}/mounts")
    async def unmount(agent: str, path: str) -> Response:
        """Take a mounted folder away again; what is in it stays."""
        await storage.unmount(_at(agent, path))
        return json_reply(None)

    return routes

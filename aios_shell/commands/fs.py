"""fs ls, cat, write, mkdir, mv, rm, bin, restore, history, diff, rollback, share, mount, search.

A file is called AGENT/PATH, as if all agents' files were one tree.
"""

from __future__ import annotations

import datetime
import errno
import os
import time
from pathlib import Path
from typing import Final

from aios_kernel.client import BLOCK_BYTES
from aios_kernel.client.storage import StorageClient
from aios_kernel.errors import BadRequest, KernelError, LimitHit, row_of
from aios_kernel.protocol import FileInfo, FileKind
from aios_shell import render
from aios_shell.io import Io, write_all
from aios_shell.text import TerminalText, one_line, sanitize

SAME, DIFFERENT = 0, 1  # exit codes, those of diff(1)
MAX_INPUT: Final = 16 << 20  # bytes; the kernel's own limit for a file is lower, and names itself

_COLORS: Final = {"-": "31", "+": "32", "@": "36"}


def ls(io: Io, file: str | None, recursive: bool, json: bool) -> None:
    if file is None:
        _owners(io, json=json)
        return
    where = _parts(file)
    entries = _storage(io).entries(*where, recursive=recursive)
    if json:
        render.json(io, entries)
        return
    rows = [
        (_size(entry), entry.version or "", _time(entry.modified_at), entry.mount, _name(entry)) for entry in entries
    ]
    columns = ("SIZE", "VERSION", "CHANGED", "MOUNT", "NAME")
    render.table(io, columns, rows, right=frozenset({"SIZE", "VERSION"}), spare=("MOUNT", "CHANGED"))


def _owners(io: Io, *, json: bool) -> None:
    owners = _storage(io).owners()
    if json:
        render.json(io, owners)
        return
    rows = [(o.owner, o.files, render.size(o.bytes), f"{100 * o.bytes / o.max_bytes:.0f}%") for o in owners]
    render.table(io, ("AGENT", "FILES", "KEPT", "OF LIMIT"), rows, right=frozenset({"FILES", "KEPT", "OF LIMIT"}))


def _size(entry: FileInfo) -> str:
    return render.size(entry.size) if entry.kind is FileKind.FILE else ""


def _name(entry: FileInfo) -> str:
    """Folders with a slash at the end, what is neither with a mark, as `ls -F` has it."""
    return entry.path + {FileKind.FILE: "", FileKind.FOLDER: "/", FileKind.OTHER: "@"}[entry.kind]


def cat(io: Io, file: str, version: int | None) -> None:
    """As it is into a file or a pipe; on a terminal without what would command it."""
    shown = TerminalText() if io.tty(io.stdout) else None

    def write(block: bytes) -> None:
        write_all(io.stdout, block if shown is None else shown.feed(block))

    where = _inner(file)
    _storage(io).read(*where, version, write)
    if shown is not None:
        write_all(io.stdout, shown.feed(b"", final=True))


def write(io: Io, file: str, text: list[str], append: bool) -> None:
    data = (" ".join(text) + "\n").encode("utf-8", "surrogateescape") if text else _input(io)
    where = _inner(file)
    info = _storage(io).write(*where, data, append=append)
    io.note(f"{file}: version {info.version}, {render.size(info.size)}")


def _input(io: Io) -> bytes:
    """All of standard input. Raises LimitHit."""
    data = bytearray()
    while block := os.read(io.stdin, BLOCK_BYTES):
        data += block
        if len(data) > MAX_INPUT:
            raise LimitHit(f"more than {MAX_INPUT} bytes on standard input")
    return bytes(data)


def mkdir(io: Io, file: str) -> None:
    where = _inner(file)
    _storage(io).make_folder(*where)


def mv(io: Io, file: str, to: str, force: bool) -> None:
    (agent, path), (other, target) = _inner(file), _inner(to)
    if agent != other:
        raise BadRequest(f"files move within one agent's: `aios fs cat {file} | aios fs write {to}` copies")
    _storage(io).move(agent, path, target, replace=force)


def rm(io: Io, files: list[str], recursive: bool) -> int:
    """Delete each; one that is not there does not keep the others from it."""
    storage, status = _storage(io), 0
    for file in files:
        try:
            storage.delete(*_parts(file), recursive=recursive)
        except KernelError as error:
            io.note(f"{file}: {error.message}")
            status = row_of(error).exit
    return status


def bin(io: Io, agent: str, empty: bool, json: bool) -> None:
    if empty:
        io.note(f"{_storage(io).empty_bin(agent)} files removed for good")
        return
    deleted = _storage(io).bin(agent)
    if json:
        render.json(io, deleted)
        return
    now = time.time()
    rows = [
        (each.id, render.size(each.size), each.versions, _time(each.deleted_at), _days(each.until - now), each.path)
        for each in deleted
    ]
    columns = ("ID", "SIZE", "VERSIONS", "DELETED", "LEFT", "NAME")
    render.table(io, columns, rows, right=frozenset({"ID", "SIZE", "VERSIONS"}), spare=("VERSIONS", "DELETED"))


def restore(io: Io, file: str, id: int | None, to: str | None) -> None:
    (agent, path), target = _inner(file), _inner(to) if to else ("", "")
    if target[0] not in ("", agent):
        raise BadRequest("a file is restored among the files of its own agent")
    info = _storage(io).restore(agent, path, id=id, to=target[1])
    io.note(f"{agent}/{info.path} is back, version {info.version}")


def history(io: Io, file: str, json: bool) -> None:
    where = _inner(file)
    versions = _storage(io).history(*where)
    if json:
        render.json(io, versions)
        return
    rows = [
        (each.version, render.size(each.size), _time(each.at), each.pid or "", each.sha256[:12], each.what)
        for each in versions
    ]
    columns = ("VERSION", "SIZE", "AT", "PID", "SHA256", "WHAT")
    render.table(io, columns, rows, right=frozenset({"VERSION", "SIZE", "PID"}), spare=("SHA256", "PID"))


def diff(io: Io, file: str, old: int | None, new: int | None) -> int:
    where = _inner(file)
    text = _storage(io).diff(*where, -1 if old is None else old, 0 if new is None else new)
    for line in text.split("\n")[:-1]:
        color = _COLORS.get(line[:1]) if io.color else None
        io.line(f"\x1b[{color}m{sanitize(line)}\x1b[0m" if color else sanitize(line))
    return DIFFERENT if text else SAME


def rollback(io: Io, file: str, version: int | None) -> None:
    where = _inner(file)
    info = _storage(io).rollback(*where, -1 if version is None else version)
    io.note(f"{file}: version {info.version}, {render.size(info.size)}")


def share(io: Io, file: str | None, to: str | None, hours: float, json: bool) -> None:
    storage = _storage(io)
    if file is not None:
        made = storage.share(*_parts(file), to or "", expires_s=hours * 3_600)
        if json:
            render.json(io, made)
        elif to:
            io.note(f"{to} may read it as ~{file} for {hours:g} h")
        else:
            io.line(made.file)
            io.note(f"agents read it as share:{made.id}, for {hours:g} h")
        return
    shares = storage.shares()
    if json:
        render.json(io, shares)
        return
    now = time.time()
    rows = [(s.id[:8], s.to or "(link)", render.span((s.until - now) * 1000), f"{s.owner}/{s.path}") for s in shares]
    render.table(io, ("ID", "TO", "LEFT", "NAME"), rows, right=frozenset({"LEFT"}))


def unshare(io: Io, ids: list[str]) -> None:
    storage = _storage(io)
    for id in ids:
        storage.unshare(id)


def mount(io: Io, file: str | None, folder: str | None, rw: bool, json: bool) -> None:
    storage = _storage(io)
    if file is not None:
        if folder is None:
            raise BadRequest("name your folder too: aios fs mount AGENT/PATH FOLDER")
        agent, path = _inner(file)
        yours = io.session.path(str(Path(folder).expanduser()))
        if not yours.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "no folder is there", str(yours))
        made = storage.mount(agent, path, str(yours), writable=rw)
        if json:
            render.json(io, made)
        return
    mounts = storage.mounts()
    if json:
        render.json(io, mounts)
        return
    rows = [(f"{m.owner}/{m.path}", "rw" if m.writable else "ro", m.folder) for m in mounts]
    render.table(io, ("NAME", "MODE", "FOLDER"), rows)


def umount(io: Io, file: str) -> None:
    where = _inner(file)
    _storage(io).unmount(*where)


def search(io: Io, file: str, words: list[str], limit: int, json: bool) -> None:
    agent, path = _parts(file)
    reply = _storage(io).search(agent, " ".join(words), limit=limit, path=path)
    if json:
        render.json(io, reply)
        return
    if reply.pending:
        io.note(f"{reply.pending} files are not searched by meaning yet")
    for hit in reply.hits:
        where = f"{one_line(hit.path)}:{hit.line}:"
        io.line(f"\x1b[1m{where}\x1b[0m {one_line(hit.text)}" if io.color else f"{where} {one_line(hit.text)}")


def _storage(io: Io) -> StorageClient:
    return StorageClient(io.session.connect(io.note))


def _parts(file: str) -> tuple[str, str]:
    """Agent and path of AGENT/PATH, or of AGENT alone. Raises BadRequest."""
    agent, _, path = file.rstrip("/").partition("/")
    if not agent or agent.startswith("."):
        raise BadRequest(f"{file!r}: a file is called AGENT/PATH; `aios fs ls` lists the agents that keep some")
    return agent, path


def _inner(file: str) -> tuple[str, str]:
    """Agent and path of AGENT/PATH, where all of the agent's files would not do. Raises BadRequest."""
    agent, path = _parts(file)
    if not path:
        raise BadRequest(f"{file!r}: a file is called AGENT/PATH; `aios fs ls {agent}` lists that agent's")
    return agent, path


def _days(seconds: float) -> str:
    return f"{max(0, seconds) / 86_400:.0f} days"


def _time(at: float) -> str:
    return datetime.datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")

"""snap ls, save, show, restore, fork, rm, export, import."""

from __future__ import annotations

import contextlib
import datetime
import os
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from aios_kernel.client import BLOCK_BYTES
from aios_kernel.errors import BadRequest, InvalidState, KernelError, SnapshotBroken, row_of
from aios_kernel.protocol import RunRequest, SnapshotDetail
from aios_shell import render
from aios_shell.commands.run import start
from aios_shell.io import Io, write_all
from aios_shell.text import sanitize

STDIO: Final = "-"

_FITS: Final = {True: ", fits this build", False: " of another build: it is recomputed", None: ""}


def ls(io: Io, json: bool) -> None:
    snapshots = io.session.connect(io.note).snapshots()
    if json:
        render.json(io, snapshots)
        return
    rows = [
        (
            snap.id,
            snap.pid or "",
            snap.agent,
            snap.tokens or "",
            render.size(snap.bytes),
            snap.tier.value,
            _time(snap.created_at),
            "" if snap.error else "yes" if snap.exact else "no",
            snap.error or ("saved" if snap.saved else "swapped out"),
        )
        for snap in snapshots
    ]
    columns = ("ID", "PID", "AGENT", "TOKENS", "SIZE", "TIER", "CREATED", "EXACT", "WHY")
    render.table(io, columns, rows, right=frozenset({"PID", "TOKENS", "SIZE"}), spare=("EXACT", "AGENT", "CREATED"))


def save(io: Io, pid: int, name: str | None, force: bool) -> None:
    io.line(io.session.connect(io.note).save(pid, name, force=force).id)


def show(io: Io, id: str, json: bool) -> None:
    snap = io.session.connect(io.note).snapshot(id)
    if json:
        render.json(io, snap)
        return
    io.write("".join(_conversation(io, snap)))
    render.facts(io, _sizes(snap))


def _conversation(io: Io, snap: SnapshotDetail) -> Iterator[str]:
    for message in snap.messages:
        last = message is snap.messages[-1]
        mark = " (unfinished)" if snap.unfinished and last and message["role"] == "assistant" else ""
        heading = sanitize(f"{message['role']}{mark}:")
        yield (f"\x1b[1m{heading}\x1b[0m" if io.color else heading) + "\n"
        yield textwrap.indent(sanitize(_text(message)), "  ") + "\n\n"


def _text(message: dict[str, Any]) -> str:
    """What a message says: its text, and the tools it calls."""
    content = message.get("content")
    calls = message.get("tool_calls") or []
    said = [content] if isinstance(content, str) else [str(content)] if content else []
    return "\n".join([*said, *(f"calls {call}" for call in calls)])


def _sizes(snap: SnapshotDetail) -> list[tuple[str, object]]:
    if not snap.kv_bytes:
        kv = "none: it is recomputed from the tokens"
    else:
        kv = render.size(snap.kv_bytes) + _FITS[snap.fits]
    pairs: list[tuple[str, object]] = [
        ("tokens", f"{snap.tokens} ({snap.prompt_tokens} prompt, {snap.reply_tokens} reply)"),
        ("kv", kv),
        ("model", snap.model),
        ("from", f"{snap.agent}, process {snap.pid}, {_time(snap.created_at)}"),
        ("exact", "yes" if snap.exact else "no"),
    ]
    return [*pairs, ("file", render.size(snap.bytes))] if snap.saved else pairs


def _time(at: float) -> str:
    return datetime.datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")


def restore(
    io: Io,
    id: str,
    task: list[str],
    agent: str,
    nice: int,
    group: str,
    model: str | None,
    policy_class: str | None,
    max_tokens: int | None,
    deadline: float | None,
    bg: bool,
    json: bool,
) -> int:
    if id.startswith("-"):  # own words begin after it
        raise BadRequest(f"no such option: {id} (see `aios help snap restore`)")
    options = (nice, group, model, policy_class, max_tokens, deadline)
    return start(io, RunRequest(agent, " ".join(task), *options, snapshot=id), bg=bg, json=json)


def fork(
    io: Io,
    pid: int,
    task: list[str],
    agent: str,
    nice: int,
    group: str,
    model: str | None,
    policy_class: str | None,
    max_tokens: int | None,
    deadline: float | None,
    bg: bool,
    json: bool,
) -> int:
    options = (nice, group, model, policy_class, max_tokens, deadline)
    return start(io, RunRequest(agent, " ".join(task), *options, fork=pid), bg=bg, json=json)


def rm(io: Io, ids: list[str]) -> int:
    """Remove each; one that is not there does not keep the others from it."""
    client, status = io.session.connect(io.note), 0
    for id in ids:
        try:
            client.remove_snapshot(id)
        except KernelError as error:
            io.note(error.message)
            status = row_of(error).exit
    return status


def export(io: Io, id: str, file: str, force: bool) -> None:
    client = io.session.connect(io.note)
    if file == STDIO:
        if io.tty(io.stdout):
            raise BadRequest("a snapshot is no text for a terminal: name a file, or redirect the output")
        client.export_snapshot(id, lambda block: write_all(io.stdout, block))
        return
    path = io.session.path(file)
    if path.exists() and not force:
        raise InvalidState(f"{file}: there is such a file already; --force replaces it")
    with _replacing(path) as target:
        client.export_snapshot(id, target.write)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that has this name once all of it is there; mode 0600, as what it holds is private. Raises OSError."""
    with contextlib.ExitStack() as undo:
        try:
            number, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            undo.callback(Path(temporary).unlink, missing_ok=True)
            with os.fdopen(number, "wb") as file:
                yield file
                file.flush()
                os.fsync(number)
            Path(temporary).replace(path)
        except OSError as error:
            error.filename, error.filename2 = str(path), None
            raise


def import_(io: Io, file: str, name: str | None, force: bool) -> None:
    client = io.session.connect(io.note)
    try:
        with contextlib.ExitStack() as opened:
            fd = io.stdin
            if file != STDIO:
                fd = opened.enter_context(io.session.path(file).open("rb")).fileno()
            io.line(client.import_snapshot(_blocks(fd), name, force=force).id)
    except SnapshotBroken as error:
        raise SnapshotBroken(f"{'standard input' if file == STDIO else file}: {error.message}") from error


def _blocks(fd: int) -> Iterator[bytes]:
    """A file's content. Raises SnapshotBroken where it cannot be read: to the connection it is no failure."""
    try:
        while block := os.read(fd, BLOCK_BYTES):
            yield block
    except OSError as error:
        raise SnapshotBroken(error.strerror or "cannot be read") from error

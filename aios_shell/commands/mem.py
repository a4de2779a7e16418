"""mem ls, show, search, rm, log, status, index."""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Final

from aios_kernel.client.memory import MemoryClient
from aios_kernel.errors import BadRequest, KernelError, NoSuchNote, row_of
from aios_kernel.protocol import Interaction, Note, NoteDetail
from aios_shell import render
from aios_shell.io import Io
from aios_shell.text import one_line, sanitize

_COLUMNS: Final = ("NOTE", "UPDATED", "TAGS", "LINKS", "CONTENT")


def ls(io: Io, agent: str | None, tag: str, limit: int, json: bool) -> None:
    notes = _memory(io).notes(agent, limit=limit, tag=tag)
    if json:
        render.json(io, notes)
        return
    rows = [
        (_name(note), _time(note.updated_at), ", ".join(note.tags), len(note.links), note.content) for note in notes
    ]
    render.table(io, _COLUMNS, rows, right=frozenset({"LINKS"}), spare=("LINKS", "UPDATED"))


def search(io: Io, words: list[str], agent: str | None, k: int, json: bool) -> None:
    hits = _memory(io).search(" ".join(words), k=k, owner=agent)
    if json:
        render.json(io, hits)
        return
    rows = [(_name(hit.note), ", ".join(hit.found_by), ", ".join(hit.note.tags), hit.note.content) for hit in hits]
    render.table(io, ("NOTE", "FOUND BY", "TAGS", "CONTENT"), rows, spare=("FOUND BY", "TAGS"))


def show(io: Io, note: str, json: bool) -> None:
    try:
        detail = _memory(io).note(*_parts(note))
    except NoSuchNote as error:
        raise NoSuchNote(f"{note}: {error.message}; `aios mem ls` lists them") from error
    if json:
        render.json(io, detail)
        return
    io.write("".join(_told(detail)))


def rm(io: Io, notes: list[str]) -> int:
    """Remove each; one that is not there does not keep the others from it."""
    memory, status = _memory(io), 0
    for note in notes:
        try:
            memory.remove(*_parts(note))
        except KernelError as error:
            io.note(f"{note}: {error.message}")
            status = row_of(error).exit
    return status


def log(io: Io, pid: int, last: int, json: bool) -> None:
    rows = _memory(io).log(pid, last)
    if json:
        render.json(io, rows)
        return
    for row in rows:
        io.write("".join(_exchange(row)))


def status(io: Io, json: bool) -> None:
    facts = _memory(io).status()
    if json:
        render.json(io, facts)
        return
    indexed = f", {facts.notes_indexed} notes indexed" if facts.embedding else ""
    out = f"{render.size(facts.out_bytes)}, {render.size(facts.disk_bytes)} compressed"
    pairs = [
        ("notes", f"{facts.notes} of {facts.agents} agents, {render.size(facts.notes_bytes)}"),
        ("embedding", f"{facts.embedding or 'none: words alone find'}{indexed}"),
        ("embedding state", facts.embedding_state),
        ("interactions", f"{facts.interactions} of {facts.processes} processes"),
        ("in memory", f"{render.size(facts.ram_bytes)}, vectors {render.size(facts.vector_bytes)}"),
        ("budget", render.size(facts.ram_budget)),
        ("in storage", out),
        ("moved", f"{facts.evictions} out, {facts.faults} back"),
    ]
    render.facts(io, pairs)


def index(io: Io) -> None:
    io.note(f"{_memory(io).index()} notes indexed")


def _memory(io: Io) -> MemoryClient:
    return MemoryClient(io.session.connect(io.note))


def _name(note: Note) -> str:
    return f"{note.owner}/{note.id}"


def _parts(name: str) -> tuple[str, str]:
    """Agent and id of what `ls` calls AGENT/ID. Raises BadRequest."""
    owner, _, id = name.rpartition("/")
    if not owner or "/" in owner or not id:
        raise BadRequest(f"{name}: a note is called AGENT/ID; `aios mem ls` lists them")
    return owner, id


def _told(detail: NoteDetail) -> Iterator[str]:
    note = detail.note
    yield sanitize(note.content).rstrip("\n") + "\n\n"
    facts = [
        ("context", note.context),
        ("keywords", ", ".join(note.keywords)),
        ("tags", ", ".join(note.tags)),
        ("metadata", ", ".join(f"{key} = {value}" for key, value in note.metadata.items())),
        ("links", ", ".join(f"{note.owner}/{id}" for id in note.links)),
        ("enriched", "by the model" if note.enriched else ""),
        ("created", _time(note.created_at)),
        ("updated", f"{_time(note.updated_at)}, version {note.version}" if note.version > 1 else ""),
    ]
    yield "".join(f"{name:<10}{one_line(value)}\n" for name, value in facts if value)
    for version in detail.versions:
        yield f"\nversion {version.version}, until {_time(version.until)}, tags: {one_line(', '.join(version.tags))}\n"
        yield textwrap.indent(sanitize(version.content).rstrip("\n"), "  ") + "\n"


def _exchange(row: Interaction) -> Iterator[str]:
    yield f"{_time(row.at)} {row.kind}\n"
    asked = [f"{m.get('role')}: {m.get('content')}" for m in row.asked] if row.kind == "chat" else [_call(row.asked)]
    answer = row.error or (_answer(row.answered) if row.kind == "chat" else str(row.answered))
    for sign, lines in (("> ", asked), ("< ", [answer])):
        yield "".join(textwrap.indent(sanitize(str(line)), f"  {sign}", lambda _: True) + "\n" for line in lines)


def _call(asked: dict[str, Any]) -> str:
    return f"{asked['name']}({', '.join(f'{key}={value!r}' for key, value in asked['arguments'].items())})"


def _answer(answered: dict[str, Any]) -> str:
    calls: Sequence[dict[str, Any]] = answered["tool_calls"]
    return "\n".join([*([answered["text"]] if answered["text"] else []), *(f"calls {_call(call)}" for call in calls)])


def _time(at: float) -> str:
    return datetime.datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")

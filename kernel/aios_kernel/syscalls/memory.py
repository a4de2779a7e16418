"""mem.*, and llm.embed, which finds by meaning; and the log of what other syscalls were asked and answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aios_kernel.access.need import Kind, Need
from aios_kernel.embedding import Embedding
from aios_kernel.errors import KernelError
from aios_kernel.life import Life
from aios_kernel.memory.manager import MemoryManager
from aios_kernel.memory.text import Text
from aios_kernel.process import Process
from aios_kernel.protocol import ChatRequest, Embeddings, Interaction, Note, NoteHit, ProcState
from aios_kernel.syscalls.table import OnDelta, Syscall
from aios_kernel.syscalls.tools import ToolArgs


@dataclass(frozen=True, slots=True)
class AddArgs:
    content: str
    context: str = ""
    keywords: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    enrich: bool = False  # the model says what is left out, and looks at the nearest notes' tags again


@dataclass(frozen=True, slots=True)
class NoteArgs:
    id: str
    owner: str = ""  # the agent whose note it is; "": the caller's own


@dataclass(frozen=True, slots=True)
class UpdateArgs:
    """What is None stays as it is."""

    id: str
    content: str | None = None
    context: str | None = None
    keywords: list[str] | None = None
    tags: list[str] | None = None
    metadata: dict[str, Any] | None = None
    owner: str = ""


@dataclass(frozen=True, slots=True)
class SearchArgs:
    query: str
    k: int = 5
    owner: str = ""


@dataclass(frozen=True, slots=True)
class ListArgs:
    limit: int = 100
    before: str | None = None  # an id: only older ones
    tag: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class LogArgs:
    last: int = 50
    pid: int | None = None  # None: the caller's own


@dataclass(frozen=True, slots=True)
class EmbedArgs:
    texts: list[str]


class MemorySyscalls:
    def __init__(self, memory: MemoryManager, embedding: Embedding) -> None:
        self._memory = memory
        self._embedding = embedding

    def rows(self) -> dict[str, Syscall]:
        waiting = ProcState.WAITING
        return {
            "llm.embed": Syscall(EmbedArgs, self._embed, self._embed_needs, waiting, effects=False),
            "mem.add": Syscall(AddArgs, self._add, _add_needs, waiting),
            "mem.get": Syscall(NoteArgs, self._get, _read_needs, effects=False),
            "mem.update": Syscall(UpdateArgs, self._update, _update_needs, waiting),
            "mem.remove": Syscall(NoteArgs, self._remove, _remove_needs),
            "mem.search": Syscall(SearchArgs, self._search, _search_needs, waiting, effects=False),
            "mem.list": Syscall(ListArgs, self._list, _list_needs, effects=False),
            "mem.log": Syscall(LogArgs, self._log, _log_needs, effects=False),
        }

    async def _embed(self, life: Life, args: EmbedArgs, _: OnDelta) -> Embeddings:
        vectors = await self._embedding.embed(args.texts, life.process.pid)
        return Embeddings(self._embedding.model, vectors)

    async def _add(self, life: Life, args: AddArgs, _: OnDelta) -> Note:
        text = Text(args.content, args.context, args.keywords, args.tags, args.metadata)
        return await self._memory.add(life, text, enrich=args.enrich)

    async def _get(self, life: Life, args: NoteArgs, _: OnDelta) -> Note:
        return await self._memory.notes.get(_owner(life.process, args), args.id)

    async def _update(self, life: Life, args: UpdateArgs, _: OnDelta) -> Note:
        names = ("content", "context", "keywords", "tags", "metadata")
        changes = {name: value for name in names if (value := getattr(args, name)) is not None}
        return await self._memory.update(_owner(life.process, args), args.id, changes, life.process.pid)

    async def _remove(self, life: Life, args: NoteArgs, _: OnDelta) -> None:
        await self._memory.remove(_owner(life.process, args), args.id)

    async def _search(self, life: Life, args: SearchArgs, _: OnDelta) -> list[NoteHit]:
        return await self._memory.search(_owner(life.process, args), args.query, args.k, life.process.pid)

    async def _list(self, life: Life, args: ListArgs, _: OnDelta) -> list[Note]:
        return await self._memory.newest(_owner(life.process, args), args.limit, args.before, args.tag)

    async def _log(self, life: Life, args: LogArgs, _: OnDelta) -> list[Interaction]:
        return await self._memory.log.last(life.process.pid if args.pid is None else args.pid, args.last)

    def _embed_needs(self, _: Process, __: EmbedArgs) -> Sequence[Need]:
        return (Need("embed", Kind.MODEL, self._embedding.model),)


def logged(rows: dict[str, Syscall], memory: MemoryManager) -> dict[str, Syscall]:
    """`rows`, with those that a process talks and acts by noted in its interaction log."""

    async def chat(life: Life, args: ChatRequest, outcome: Any) -> None:
        await memory.log.chat(life.process.pid, args, outcome)

    async def tool(life: Life, args: ToolArgs, outcome: Any) -> None:
        await memory.log.tool(life.process.pid, args.name, args.arguments, outcome)

    return {**rows, "llm.chat": _noting(rows["llm.chat"], chat), "tool.call": _noting(rows["tool.call"], tool)}


def _noting(row: Syscall, note: Callable[[Life, Any, Any], Awaitable[None]]) -> Syscall:
    async def run(life: Life, args: Any, on_delta: OnDelta) -> Any:
        try:
            result = await row.run(life, args, on_delta)
        except KernelError as error:
            await note(life, args, error)
            raise
        await note(life, args, result)
        return result

    return replace(row, run=run)


def _owner(process: Process, args: NoteArgs | UpdateArgs | SearchArgs | ListArgs) -> str:
    return args.owner or process.request.agent


# --- what they need: whose it is, is named by the caller; so a denial does not tell whether there is such a note


def _add_needs(process: Process, args: AddArgs) -> Sequence[Need]:
    write = Need("write", Kind.MEMORY, "", process.request.agent)
    return (write, Need("use", Kind.MODEL, process.model)) if args.enrich else (write,)


def _read_needs(process: Process, args: NoteArgs) -> Sequence[Need]:
    return (Need("read", Kind.MEMORY, args.id, _owner(process, args)),)


def _update_needs(process: Process, args: UpdateArgs) -> Sequence[Need]:
    """What a note said is kept, so it can be taken back. Of another's the reply tells what it says."""
    owner = _owner(process, args)
    needs = (Need("write", Kind.MEMORY, args.id, owner), Need("read", Kind.MEMORY, args.id, owner))
    return needs[:1] if owner == process.request.agent else needs


def _remove_needs(process: Process, args: NoteArgs) -> Sequence[Need]:
    owner = _owner(process, args)
    what = f"remove note {owner}/{args.id} (see `aios mem show`)"
    return (Need("delete", Kind.MEMORY, args.id, owner, what, irreversible=True),)


def _search_needs(process: Process, args: SearchArgs) -> Sequence[Need]:
    return (Need("search", Kind.MEMORY, "", _owner(process, args)),)


def _list_needs(process: Process, args: ListArgs) -> Sequence[Need]:
    return (Need("read", Kind.MEMORY, "", _owner(process, args)),)


def _log_needs(process: Process, args: LogArgs) -> Sequence[Need]:
    return (Need("read", Kind.MEMORY, "log", str(process.pid if args.pid is None else args.pid)),)

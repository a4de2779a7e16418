"""Memory: notes that outlive their process, the log of a living one's interactions, and vectors of texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Note:
    """One note of an agent. Result of mem.add, mem.get and mem.update; mem.list has several."""

    id: str  # among its owner's notes
    owner: str  # the agent's name: every process of it shares its notes
    content: str
    context: str  # what it is about, in a sentence; may be empty
    keywords: list[str]
    tags: list[str]
    metadata: dict[str, Any]
    links: list[str]  # ids of the notes that are nearest to it
    enriched: bool  # the model has written context, keywords or tags
    created_at: float
    updated_at: float
    version: int  # 1, and one more with each update


@dataclass(frozen=True, slots=True)
class NoteVersion:
    """What a note was before it was updated."""

    version: int
    content: str
    context: str
    keywords: list[str]
    tags: list[str]
    metadata: dict[str, Any]
    until: float


@dataclass(frozen=True, slots=True)
class NoteDetail:
    """`aios mem show --json`."""

    note: Note
    versions: list[NoteVersion]  # the former ones that are kept, the newest first


@dataclass(frozen=True, slots=True)
class NoteHit:
    """One result of mem.search, the best first."""

    note: Note
    score: float  # comparable within one search: sum of 1 / (60 + rank) over the ways it was found
    found_by: list[str]  # words, meaning


@dataclass(frozen=True, slots=True)
class Interaction:
    """One row of a process's interaction log. Result of mem.log, the oldest first."""

    seq: int
    at: float
    kind: str  # chat, tool
    asked: Any  # chat: the messages that are new in it; tool: its name and arguments
    answered: Any  # chat: text and tool calls; tool: what it returned; None where it failed
    error: str = ""  # errno and message


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Result of llm.embed: one vector of length 1 for each text."""

    model: str
    vectors: list[list[float]]


@dataclass(frozen=True, slots=True)
class MemoryStatus:
    """`aios mem status --json`."""

    notes: int
    notes_bytes: int
    agents: int  # that have notes
    embedding: str  # model that finds notes by meaning; "": there is none
    embedding_state: str  # none, idle (loaded when first needed), ready, or failed: why
    notes_indexed: int  # that have a vector of that model
    processes: int  # that have an interaction log
    interactions: int
    ram_budget: int
    ram_bytes: int  # of interaction logs in memory
    vector_bytes: int  # of notes' vectors in memory, within the budget too
    out_bytes: int  # of interactions in storage, as they are in memory
    disk_bytes: int  # the same compressed
    evictions: int
    faults: int  # times that one was brought back


@dataclass(frozen=True, slots=True)
class Indexed:
    """How many notes got a vector. POST /memory/index."""

    notes: int

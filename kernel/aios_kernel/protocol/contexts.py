"""Contexts kept: snapshots, and what a restored or forked process goes on from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aios_kernel.protocol.processes import Tier


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """One row of `aios snap ls --json`."""

    id: str
    pid: int
    tokens: int
    bytes: int
    tier: Tier
    created_at: float
    exact: bool
    agent: str = ""
    saved: bool = False  # kept under a name; else a living process's context that is off its slot
    error: str = ""  # why the file cannot be used


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotDetail(SnapshotInfo):
    """A saved context, or a living process's as it is now. `aios snap show --json`."""

    task: str
    model: str
    messages: list[dict[str, Any]]  # the conversation; the last one the assistant's reply, if it had begun
    unfinished: bool  # that reply was still being produced
    options: dict[str, Any]  # of the llm.chat that asked for it
    prompt_tokens: int
    reply_tokens: int
    kv_bytes: int
    build: str
    fits: bool | None  # this kernel can use its KV, else the tokens are fed again; None: it has no model
    token_ids: list[int]
    pieces: list[str]  # text of each token; a character that takes several tokens is with its last


@dataclass(frozen=True, slots=True)
class SaveRequest:
    """Keep a living process's context. POST /snapshots. name: None makes one of the agent's name and the pid."""

    pid: int
    name: str | None = None
    force: bool = False  # replace one that has the name


@dataclass(frozen=True, slots=True)
class History:
    """Result of proc.history: what a restored or forked process goes on from."""

    messages: list[dict[str, Any]]  # a reply that had begun is the last one
    unfinished: bool  # the last reply is still to be produced, or to be finished
    options: dict[str, Any]  # arguments of the llm.chat that does this, beside the messages

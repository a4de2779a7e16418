"""A context taken out of the engine, to be kept in a file or planted in another process."""

from __future__ import annotations

from dataclasses import dataclass

from aios_kernel.core import KvBytes


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A context as it stood between two steps. The KV bytes are shared, never written to."""

    tokens: tuple[int, ...]  # its log: the prompt, then what was produced; the last one may not be fed yet
    ends: tuple[int, ...]  # position after each piece, that is after each call that feeds it
    fed: int  # leading pieces whose KV state `kv` holds; 0 without it
    kv: KvBytes | None
    model_hash: str
    build_key: str  # `kv` serves only a runtime with the same key; the tokens serve any with the same model
    exact: bool

"""What the kernel needs from a language model runtime: the `Core` protocol and the facts around it.

A core holds `num_slots` sequences, each a token history with its KV cache, and does what the owner thread asks.
It decides nothing. `llama.LlamaCore` is the real one, `aios_kernel.testing.ScriptedCore` the scripted one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aios_kernel.errors import BadConfig

Logits = NDArray[np.float32]
KvBytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What an engine runs with. Checked here, so that a bad value is named before a model is loaded."""

    slots: int = 8  # sequences with KV in the context at once
    window: int = 4096  # tokens a sequence may hold
    threads: int = 0  # 0: as many as there are cores that nobody else keeps busy
    exact: bool = True  # false: faster, with flash attention and without a self-test, and bits may differ
    gpu_layers: int = -1  # layers on the GPU, where llama.cpp was built for one; -1: all, 0: none
    policy: str = "plas"  # within 8 to 19 % of the best mean completion; see tests/kernel/scheduler/compare.py
    quantum: int = 32  # tokens a process may produce before it yields to one that waits
    chunk: int = 32  # tokens of one prefill call: 264, 277 and 276 tokens/s at 16, 32 and 64 (2 cores, AVX2)
    step_ms: int = 150  # prefill of one step is cut to about this, so that those who decode wait no longer
    ram_bytes: int = 2 << 30  # contexts off their slots kept in memory; beyond, the least recently used go to disk
    disk_bytes: int = 8 << 30  # contexts kept in files; beyond, the least recently used are recomputed when they run
    prefix_bytes: int = 512 << 20  # beginnings of prompts kept in memory for whoever begins so next
    swap: Path | None = None  # folder for the files; None: no disk

    def __post_init__(self) -> None:
        bounds = {
            "slots": (1, 256),
            "window": (16, 1 << 20),
            "threads": (0, 512),
            "gpu_layers": (-1, 1024),
            "quantum": (1, 1 << 20),
            "chunk": (16, 2048),
            "step_ms": (1, 60_000),
            "ram_bytes": (0, 1 << 50),
            "disk_bytes": (0, 1 << 50),
            "prefix_bytes": (0, 1 << 50),
        }
        for key, (low, high) in bounds.items():
            value = getattr(self, key)
            if not low <= value <= high:
                raise BadConfig(f"{key} = {value}: must be {low} to {high}", key=key, low=low, high=high)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Facts of a loaded model, fixed while it is loaded."""

    name: str
    path: str
    n_vocab: int
    n_ctx_train: int
    window: int  # tokens per sequence
    num_slots: int
    exact: bool  # tokens are bit-identical alone, batched, preempted and restored
    exact_reason: str  # what proved it, or which check failed
    max_batch: int  # sequences that may share a decode call
    fixed_threads: bool  # the number of threads must not change while it runs
    model_hash: str
    build_key: str  # runtime, CPU features and settings that a KV snapshot depends on
    kv_bytes_per_token: int
    chat_template: str | None  # Jinja, as the GGUF has it
    bos: str
    eos: str
    add_bos: bool  # the tokenizer wants `bos` before every text


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How a token is chosen from logits. temperature 0: the most likely one."""

    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0  # 1: off
    seed: int = 0


class CoreError(Exception):
    """A runtime call failed. The owner thread translates it to a KernelError, with pid and slot."""


class NoKvSlot(CoreError):
    """Nothing was written: the sequences have no room for the batch."""


class DecodeAborted(CoreError):
    """`abort` was heard. Part may have been written: trim the batch's sequences first."""


class DecodeFailed(CoreError):
    """The runtime refused the batch or broke while it ran: `rebuild` before the next call."""


class CoreLost(Exception):
    """The runtime has no context any more and cannot make one: nothing can run on it."""


class RestoreFailed(CoreError):
    """The runtime did not take the state; its cells may be corrupt: `rebuild` before the next call."""


class Sampler(Protocol):
    """Chooses tokens for one generation.

    Its state is the tokens it has accepted, and its dice depend on seed and position alone: a new sampler that has
    accepted the same tokens goes on exactly where another one stopped.
    """

    def sample(self, row: Logits, position: int) -> int:
        """Choose from logits (n_vocab,) the token that will stand at `position` of its sequence, and accept it.

        Raises:
            CoreError: no token is possible (the grammar is stuck, or the logits are not numbers).
        """
        ...

    def accept(self, token: int) -> None:
        """Take a token that was chosen earlier, by a sampler like this one.

        Raises:
            CoreError: a sampler like this one cannot have chosen it.
        """
        ...

    def close(self) -> None: ...


class Core(Protocol):
    """A model runtime. Owner thread only, except `tokenize` and `abort`, which any thread may call."""

    @property
    def spec(self) -> ModelSpec: ...

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Token ids of `text`, no bos added. special: markers such as <|im_end|> become their one token."""
        ...

    def piece(self, token: int) -> bytes:
        """The bytes of one token; may end inside a UTF-8 character. Control tokens: empty."""
        ...

    def written(self, token: int) -> bytes:
        """The token as a person reads it: like `piece`, but control tokens have their names. Any thread."""
        ...

    def is_eog(self, token: int) -> bool:
        """True when the token ends a generation."""
        ...

    def sampler(self, params: SamplingParams, grammar: str | None) -> Sampler:
        """A new sampler. Raises BadRequest when the GBNF grammar does not compile."""
        ...

    def prefill(self, seq: int, tokens: Sequence[int], start: int) -> Logits:
        """Feed known tokens of one sequence in one call, at positions from `start`.

        Returns: the last token's logits, float32 (n_vocab,), valid until the next call.
        Raises: NoKvSlot, DecodeAborted, DecodeFailed.
        """
        ...

    def decode(self, seqs: Sequence[int], tokens: Sequence[int], positions: Sequence[int]) -> Logits:
        """Feed one token of each sequence in one call.

        Returns: float32 (len(seqs), n_vocab), valid until the next call.
        Raises: NoKvSlot, DecodeAborted, DecodeFailed.
        """
        ...

    def save(self, seq: int) -> KvBytes:
        """The KV state of a sequence."""
        ...

    def restore(self, seq: int, data: KvBytes) -> None:
        """Replace a sequence's KV state by one that `save` gave. Raises RestoreFailed."""
        ...

    def trim(self, seq: int, length: int) -> None:
        """Forget every token of a sequence from position `length` on; 0 empties it."""
        ...

    def set_threads(self, num_threads: int) -> None: ...

    def abort(self) -> None:
        """Make the call that runs now, if any, raise DecodeAborted."""
        ...

    def rebuild(self) -> None:
        """Start over with an empty context: every sequence is empty afterwards. Raises CoreLost."""
        ...

    def close(self) -> None: ...


def available_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

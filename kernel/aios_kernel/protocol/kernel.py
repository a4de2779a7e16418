"""The kernel: scheduler, models, keys, facts and figures."""

from __future__ import annotations

from dataclasses import dataclass

PROTOCOL_VERSION = 1


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """One row of `aios queue --json`. `queue` is "running", "ready" or "suspended"."""

    pid: int
    queue: str
    position: int
    reason: str
    behind: tuple[int, ...]
    eta_ms: float | None


@dataclass(frozen=True, slots=True)
class SchedInfo:
    policy: str
    policies: tuple[str, ...]
    quantum: int  # tokens a process may produce before it yields (rr)


@dataclass(frozen=True, slots=True)
class SchedRequest:
    policy: str
    quantum: int | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One GGUF file. `ref` is what `aios model use` takes."""

    ref: str
    path: str
    bytes: int
    origin: str  # embedded, data, huggingface, ollama, lmstudio, path
    current: bool = False


@dataclass(frozen=True, slots=True)
class ModelRequest:
    ref: str


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """Ask for a group's key. POST /keys."""

    group: str = "user"
    new: bool = False  # make another: the former one opens nothing any more


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """`aios kernel key --json`: what a foreign client needs. Its processes are of the key's group."""

    key: str
    group: str
    url: str | None  # None: the kernel does not listen on TCP


@dataclass(frozen=True, slots=True)
class KernelStatus:
    """`aios kernel status --json`."""

    pid: int
    version: str
    protocol: int
    socket: str
    url: str | None  # when it listens on TCP
    model: str
    model_state: str  # loading, ready, failed: why
    policy: str
    policies: tuple[str, ...]  # that there are
    quantum: int  # tokens a process may produce before it yields, under policies that take turns
    exact: bool
    exact_reason: str
    uptime_s: float
    slots: int
    slots_used: int
    threads: int
    procs: int  # alive
    tok_per_s: float  # produced, by all together
    prefill_tok_per_s: float  # of prompts, fed; over the last seconds
    kv_bytes: int  # in slots
    ram_bytes: int  # contexts off their slots, in memory
    ram_budget: int  # bytes of them that are kept; beyond, the least recently used go to disk
    disk_bytes: int  # and in files
    disk_budget: int  # beyond, the least recently used are dropped, and recomputed when they run
    prefix_bytes: int  # beginnings of prompts kept for others, in memory
    prefix_hit_rate: float  # of all prompt tokens so far: those that needed no feeding
    steps: int
    engine_s: float  # seconds that the scheduler's steps took so far
    core_s: float  # of these: inside the model's calls
    eta_error: float | None  # median of |told - actual| / actual (1 s at least) over the last waits; None: none yet

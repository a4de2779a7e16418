"""What goes into the engine and what comes out: requests, events, results and views."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NewType

from aios_kernel.core import SamplingParams
from aios_kernel.errors import KernelError
from aios_kernel.protocol import Pid, PolicyClass, Tier

JobId = NewType("JobId", int)

GREEDY: Final = SamplingParams()


class Phase(StrEnum):
    """Where a process stands with the engine."""

    IDLE = "idle"  # no generation
    READY = "ready"  # its generation waits for a slot
    PREFILLING = "prefilling"
    DECODING = "decoding"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class GenRequest:
    """One generation. A process's generations run one after the other, over its one context."""

    pid: Pid
    prompt: tuple[int, ...]  # the whole context: what is already computed of it is reused
    params: SamplingParams = GREEDY
    grammar: str | None = None  # GBNF
    head: int = 0  # of the prompt's first tokens: those that other prompts of its kind begin with too
    accepted: int = 0  # of the prompt's last tokens: a reply under way, after which the sampler goes on
    stop: tuple[str, ...] = ()
    max_tokens: int = 512
    nice: int = 0
    policy_class: PolicyClass = PolicyClass.NORMAL
    program: Pid | None = None  # the pid that its program began with; None: itself
    logits_hash: bool = False  # also hash each row of logits that a token was chosen from


@dataclass(frozen=True, slots=True)
class GenResult:
    """A finished generation. Times are of this generation alone."""

    text: str
    tokens: tuple[int, ...]  # chosen tokens, a final end-of-generation token left out
    cut: bool  # a stop string ended it: the tokens say more than the text
    finish_reason: str  # stop, length, cancelled
    tokens_in: int
    tokens_cached: int
    wait_ms: float
    prefill_ms: float
    decode_ms: float
    exact: bool
    logits_hash: str | None


@dataclass(frozen=True, slots=True)
class GenEvent:
    """One thing that happened to a generation. `done` and `error` are each the last event of their job.

    Events without a job (None) tell the phase of a process, e.g. when it is suspended while idle.
    """

    job: JobId | None
    pid: Pid
    text: str = ""
    tokens: int = 0  # produced since the job's last event
    phase: Phase | None = None
    done: GenResult | None = None
    error: KernelError | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What `ps` shows of a process's context and generation. It stays as it is while only time passes."""

    phase: Phase = Phase.IDLE
    reason: str = "idle"
    slot: int | None = None
    tier: Tier = Tier.NONE
    ctx_used: int = 0
    kv_bytes: int = 0
    tok_per_s: float = 0.0
    waited_s: float = 0.0  # ready without a slot, in waits that are over, of all its generations
    waits_since: tuple[float, ...] = ()  # of its generations that wait, on the engine's clock

    def wait_ms(self, now: float) -> float:
        """Time that its generations have waited, up to `now`."""
        return (self.waited_s + sum(now - since for since in self.waits_since)) * 1e3


@dataclass(frozen=True, slots=True)
class EngineStats:
    slots: int = 0
    slots_used: int = 0
    threads: int = 0
    tok_per_s: float = 0.0
    prefill_tok_per_s: float = 0.0
    kv_bytes: int = 0  # in slots
    ram_bytes: int = 0  # contexts off their slots, in memory
    disk_bytes: int = 0  # and in files
    prefix_bytes: int = 0  # beginnings of prompts, in memory
    prefix_hit_rate: float = 0.0  # of all prompt tokens so far: those that needed no feeding
    steps: int = 0
    engine_s: float = 0.0  # seconds in steps so far
    core_s: float = 0.0  # of these: in model calls
    eta_error: float | None = None  # as in KernelStatus

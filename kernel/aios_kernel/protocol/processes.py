"""Processes: how one is started, what is told of it, and the events of its life."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

Pid = NewType("Pid", int)


class ProcState(StrEnum):
    NEW = "new"  # accepted, its OS process is being forked
    READY = "ready"  # its generation waits for a slot
    RUNNING = "running"  # its program computes, or its generation holds a slot
    WAITING = "waiting"  # on a tool, a child, a message or a timer
    ASKING = "asking"  # a person must answer
    SUSPENDED = "suspended"  # stopped by a person; context off its slot
    ZOMBIE = "zombie"  # ended; its parent agent has not collected the exit code
    EXITED = "exited"  # terminal


class Signal(StrEnum):
    TERM = "TERM"
    INT = "INT"
    KILL = "KILL"
    STOP = "STOP"
    CONT = "CONT"


SIGNAL_NUMBERS = {Signal.INT: 2, Signal.KILL: 9, Signal.TERM: 15, Signal.CONT: 18, Signal.STOP: 19}


class PolicyClass(StrEnum):
    """What a process is to the scheduler, whichever policy is on."""

    INTERACTIVE = "interactive"  # goes before the others
    NORMAL = "normal"
    IDLE = "idle"  # runs when nobody else wants the slot


class Tier(StrEnum):
    """Where a context's KV state is now."""

    NONE = "none"  # nothing computed yet
    SLOT = "slot"  # in the llama context
    RAM = "ram"  # snapshot in memory
    DISK = "disk"  # snapshot in a file


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Start an agent. POST /procs."""

    agent: str
    task: str = ""
    nice: int = 0  # -20 (favoured) .. 19
    group: str = "user"
    model: str | None = None  # None: the kernel's current model
    policy_class: str | None = None
    max_tokens: int | None = None  # completion tokens over the process's whole life
    deadline_s: float | None = None  # wall time; then TERM, exit code 124
    stdin: bool = False  # True: the client will feed POST /procs/{pid}/stdin and close it with ?eof=true
    cwd: str | None = None
    columns: int | None = None  # width of the client's terminal; None: not a terminal
    snapshot: str | None = None  # begin with a copy of this saved context
    fork: int | None = None  # begin with a copy of this living process's context


@dataclass(frozen=True, slots=True)
class ProcInfo:
    """One row of `aios ps --json`."""

    pid: int
    ppid: int  # 0: started by a person
    agent: str
    task: str
    state: ProcState
    reason: str  # why it is in this state, e.g. "decoding", "behind 12", "proc.recv", "kernel died"
    nice: int
    group: str
    model: str
    tokens_in: int  # prompt tokens fed
    tokens_out: int  # tokens produced
    tok_per_s: float  # produced over the last seconds; 0 when idle
    ctx_used: int
    ctx_max: int
    slot: int | None
    tier: Tier
    kv_bytes: int
    wait_ms: float  # time its generations spent ready without a slot
    turnaround_ms: float  # from start to end, or to now
    started_at: float
    ended_at: float | None
    exit_code: int | None
    exact: bool
    os_pid: int | None
    window: str = ""  # what was done last to make a prompt fit the context window; "": nothing ever


@dataclass(frozen=True, slots=True)
class Started:
    pid: int


@dataclass(frozen=True, slots=True)
class SignalRequest:
    signal: Signal


@dataclass(frozen=True, slots=True)
class NiceRequest:
    nice: int


@dataclass(frozen=True, slots=True)
class Mail:
    """A message for a process's mailbox. POST /procs/{pid}/mail; read with proc.recv."""

    text: str
    sender: int = 0  # pid; 0: a person


class EventKind(StrEnum):
    STDOUT = "stdout"
    STDERR = "stderr"
    STATE = "state"  # text: the new state, then its reason
    SYSCALL = "syscall"  # text: name and outcome
    WINDOW = "window"  # text: what was done to make a prompt fit the context window
    EXIT = "exit"  # text: the exit code; always the last event


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a process's life, in order. GET /procs/{pid}/events sends them as server-sent events.

    `seq` counts from 0 per process and is what `?after=` takes. `data` is base64 for stdout and stderr (agents
    may write any bytes) and plain text for the rest.
    """

    pid: int
    seq: int
    at: float
    kind: EventKind
    data: str


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """One installed agent: its manifest as `aios agents ls|show` gives it."""

    name: str
    description: str
    source: str  # "bundled" or the folder it was read from
    tools: tuple[str, ...] = ()
    group: str = "user"  # its processes are of this group at most
    reads_stdin: bool = False
    deadline_s: float | None = None  # of those that are started without one

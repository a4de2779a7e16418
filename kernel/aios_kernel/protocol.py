"""Every message that crosses the kernel's socket, as plain frozen dataclasses.

The server validates them with pydantic (through FastAPI, which also draws /openapi.json from them), clients
decode them with msgspec; neither library is imported here, so that a client starts fast.
Units are in names: `_ms`, `_s`, `_bytes`; token counts have no suffix; times of day are Unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NewType

Pid = NewType("Pid", int)

PROTOCOL_VERSION = 1


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


# --- processes -----------------------------------------------------------------------------------


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
    group: str = "user"
    reads_stdin: bool = False


# --- contexts, scheduler, kernel -------------------------------------------------------------------


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
    exact: bool
    exact_reason: str
    uptime_s: float
    slots: int
    slots_used: int
    threads: int
    procs: int  # alive
    tok_per_s: float
    kv_bytes: int
    ram_bytes: int  # contexts off their slots, in memory
    disk_bytes: int  # and in files
    prefix_bytes: int  # beginnings of prompts kept for others, in memory
    prefix_hit_rate: float  # of all prompt tokens so far: those that needed no feeding
    steps: int
    engine_s: float  # seconds that the scheduler's steps took so far
    core_s: float  # of these: inside the model's calls
    eta_error: float | None  # median of |told - actual| / actual (1 s at least) over the last waits; None: none yet


# --- syscalls ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SyscallRequest:
    """What an agent sends to POST /syscall, with its capability token as bearer.

    The reply is {"result": ...} or {"error": {...}}. With `stream` (llm.chat only) it is a stream of server-sent
    events: `delta` {"text": str} while tokens come, then one `result` or one `error` with the same bodies.
    """

    name: str
    args: dict[str, Any] = field(default_factory=dict)
    deadline_s: float | None = None
    stream: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    name: str
    arguments: dict[str, Any]
    id: str = ""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model sees it. `parameters` is a JSON Schema of type object."""

    name: str
    description: str
    parameters: dict[str, Any]


class Overflow(StrEnum):
    """What to do when a prompt, with room for its reply, is larger than the context window."""

    DROP_OLDEST = "drop-oldest"  # leave the oldest turns out
    SUMMARISE = "summarise"  # the same, with a summary in their place that the model writes
    REFUSE = "refuse"  # run it as it is; without any room for a reply answer with PromptTooLong


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """Arguments of llm.chat.

    `messages` have the OpenAI form: {"role": system|user|assistant|tool, "content": str}, an assistant's may
    carry "tool_calls" [{"name", "arguments", "id"}], a tool's "name" and "tool_call_id".
    With `continue_final_message` the last message is an assistant's that the reply goes on with.
    """

    messages: list[dict[str, Any]]
    tools: list[ToolSpec] = field(default_factory=list)
    tool_choice: str = "auto"  # auto, none, required, or a tool's name
    json_schema: dict[str, Any] | None = None  # the reply's text is JSON that validates
    max_tokens: int = 512
    temperature: float = 0.0  # 0: greedy
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0  # 1: off
    seed: int = 0
    stop: list[str] = field(default_factory=list)
    logits_hash: bool = False
    continue_final_message: bool = False
    overflow: str | None = None  # what to do when the prompt outgrows the window, see Overflow; None: as configured


@dataclass(frozen=True, slots=True)
class ChatReply:
    """Result of llm.chat. Times are of this call alone."""

    text: str
    tool_calls: list[ToolCall]
    finish_reason: str  # stop, length, tool_calls, cancelled
    tokens_in: int  # prompt tokens, cached ones included
    tokens_cached: int  # prompt tokens whose KV was reused
    tokens_out: int
    wait_ms: float  # ready without a slot
    prefill_ms: float
    decode_ms: float
    exact: bool
    logits_hash: str | None = None
    window: str | None = None  # what was done now to make the prompt fit the window

"""Syscalls: what an agent asks, and what it is answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


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

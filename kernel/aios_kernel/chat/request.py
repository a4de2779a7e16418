"""What an llm.chat asks for, checked: each mistake is an error that names it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from aios_kernel.core import SamplingParams
from aios_kernel.errors import BadRequest
from aios_kernel.protocol import ChatRequest, Overflow, ToolSpec

ROLES: Final = ("system", "user", "assistant", "tool")
RANDOM_SEED: Final = 0xFFFF_FFFF  # to llama.cpp this one means: another each time


@dataclass(frozen=True, slots=True)
class Ask:
    """A checked request: what to reply to, and how."""

    messages: list[dict[str, Any]]  # each with content and tool_calls, maybe empty
    given: str  # what the reply begins with
    tools: Sequence[ToolSpec]  # those that the reply may call
    must_call: bool
    json_schema: dict[str, Any] | None


def check(request: ChatRequest) -> Ask:
    """Raises BadRequest."""
    messages, given = _checked(request.messages), ""
    if request.continue_final_message:
        given = _final(messages)
        messages.pop()
    tools, must_call = _choice(request)
    return Ask(messages, given, tools, must_call, request.json_schema)


def sampling(request: ChatRequest) -> SamplingParams:
    """Raises BadRequest."""
    if not 0 <= request.temperature <= 10:
        raise BadRequest(f"temperature = {request.temperature}: must be 0 to 10", key="temperature")
    if not 0 <= request.seed < RANDOM_SEED:
        raise BadRequest(f"seed = {request.seed}: must be 0 to {RANDOM_SEED - 1}", key="seed")
    return SamplingParams(
        temperature=request.temperature,
        top_k=request.top_k,
        top_p=request.top_p,
        min_p=request.min_p,
        repeat_penalty=request.repeat_penalty,
        seed=request.seed,
    )


def overflow(request: ChatRequest, default: Overflow) -> Overflow:
    """Raises BadRequest."""
    if request.overflow is None:
        return default
    try:
        return Overflow(request.overflow)
    except ValueError as error:
        message = f"overflow = {request.overflow!r}: must be one of {', '.join(Overflow)}"
        raise BadRequest(message, key="overflow") from error


def _checked(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages with a known role and text content."""
    if not messages:
        raise BadRequest("messages: at least one is needed", key="messages")
    checked = []
    for index, message in enumerate(messages):
        content = message.get("content")
        if message.get("role") not in ROLES:
            raise BadRequest(f"messages[{index}].role: must be one of {', '.join(ROLES)}", key="messages")
        if isinstance(content, list) and all(isinstance(part, dict) and "text" in part for part in content):
            content = "".join(str(part["text"]) for part in content)
        if content is not None and not isinstance(content, str):
            raise BadRequest(f"messages[{index}].content: must be text", key="messages")
        for call in message.get("tool_calls") or ():
            if not isinstance(call, dict) or not {"name", "arguments"} <= call.keys():
                raise BadRequest(f"messages[{index}].tool_calls: each needs name and arguments", key="messages")
        checked.append({**message, "content": content or "", "tool_calls": message.get("tool_calls") or []})
    return checked


def _final(messages: list[dict[str, Any]]) -> str:
    """Text of the final message, which the reply is to go on with."""
    final = messages[-1]
    if final["role"] != "assistant" or final["tool_calls"] or len(messages) < 2:
        raise BadRequest(
            "continue_final_message: the final message must be an assistant's, of text alone, with one before it",
            key="continue_final_message",
        )
    return str(final["content"])


def _choice(request: ChatRequest) -> tuple[Sequence[ToolSpec], bool]:
    """(tools the reply may call, whether it must call one)."""
    if request.tool_choice == "none" or (not request.tools and request.tool_choice == "auto"):
        return (), False
    if request.json_schema is not None and request.tools:
        raise BadRequest("json_schema and tools exclude each other", key="json_schema")
    if request.tool_choice in ("auto", "required"):
        if not request.tools:
            raise BadRequest("tool_choice is required, but there are no tools", key="tool_choice")
        return request.tools, request.tool_choice == "required"
    chosen = [tool for tool in request.tools if tool.name == request.tool_choice]
    if not chosen:
        accepted = ["auto", "none", "required", *(tool.name for tool in request.tools)]
        raise BadRequest(
            f"tool_choice {request.tool_choice!r}: must be one of {', '.join(accepted)}", key="tool_choice"
        )
    return chosen, True

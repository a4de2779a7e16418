"""A chat completion's request: what of OpenAI's form is understood, and what llm.chat makes of it."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from aios_kernel.errors import BadRequest
from aios_kernel.serving import NOT_JSON

# As llm.chat has it, where OpenAI has 1: a repeated question gets the same answer, bit for bit, and a small model
# makes far more sense. Whoever wants variety asks for it.
DEFAULT_TEMPERATURE: Final = 0.0

TASK_CHARS: Final = 200  # of the last user message, for `ps`
NUM_SEEDS: Final = 0xFFFF_FFFF  # llm.chat takes those below

_Unit = Annotated[float, Meta(ge=0, le=1)]
_Count = Annotated[int, Meta(ge=1)]


@dataclass(frozen=True, slots=True)
class TextPart:
    type: Literal["text"]  # this kernel's models read nothing else
    text: str


@dataclass(frozen=True, slots=True)
class CalledFunction:
    name: str
    arguments: str  # JSON


@dataclass(frozen=True, slots=True)
class Call:
    function: CalledFunction
    id: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        content = self.content or ""
        return content if isinstance(content, str) else "".join(part.text for part in content)


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    type: Literal["function"]
    function: Function


@dataclass(frozen=True, slots=True)
class ChosenFunction:
    name: str


@dataclass(frozen=True, slots=True)
class ChosenTool:
    type: Literal["function"]
    function: ChosenFunction


@dataclass(frozen=True, slots=True)
class NamedSchema:
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None


@dataclass(frozen=True, slots=True)
class StreamOptions:
    include_usage: bool | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """The body of POST /v1/chat/completions. null is as good as left out; other fields are not looked at."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_completion_tokens: _Count | None = None
    max_tokens: _Count | None = None  # the older name
    n: _Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: _Unit | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | ChosenTool | None = None
    response_format: ResponseFormat | None = None
    # extensions, as llama.cpp's server names them
    top_k: Annotated[int, Meta(ge=0)] | None = None  # 0: off
    min_p: _Unit | None = None
    repeat_penalty: Annotated[float, Meta(gt=0)] | None = None  # 1: off

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def max_reply(self) -> int | None:
        """Tokens that the reply may have. None: as many as fit into the window."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def task(self) -> str:
        """The beginning of the last user message, on one line."""
        said = next((message.text for message in reversed(self.messages) if message.role == "user"), "")
        return " ".join(said[: 2 * TASK_CHARS].split())[:TASK_CHARS]


_DECODER: Final = msgspec.json.Decoder(Completion)


def parse(body: bytes) -> Completion:
    """Raises BadRequest, whose `key` is the parameter that is wrong, if one is."""
    try:
        completion = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        raise _bad_value(str(error)) from error
    except NOT_JSON as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if completion.n not in (None, 1):
        raise BadRequest(f"n = {completion.n}: this server gives one choice", key="n")
    return completion


def _bad_value(message: str) -> BadRequest:
    """As msgspec words it: "Expected `int` >= 1 - at `$.n`", "Object missing required field `messages`"."""
    what, _, where = message.partition(" - at ")
    missing = re.search(r"missing required field `(\w+)`", what)
    path = where.strip("`").removeprefix("$") + (f".{missing[1]}" if missing else "")
    param = path.removeprefix(".")
    return BadRequest(f"{param}: {'needed' if missing else what}" if param else what, key=param or None)


def chat_args(completion: Completion) -> dict[str, Any]:
    """The arguments of llm.chat, but for max_tokens.

    Where a field is left out, OpenAI's default holds, but for the temperature. Raises BadRequest.
    """
    stop = completion.stop or []
    choice = completion.tool_choice or "auto"
    tools = completion.tools or []
    return {
        "messages": _messages(completion.messages),
        "tools": [
            {"name": f.name, "description": f.description or "", "parameters": f.parameters or {"type": "object"}}
            for f in (tool.function for tool in tools)
        ],
        "tool_choice": choice if isinstance(choice, str) else choice.function.name,
        "json_schema": _schema(completion.response_format),
        "temperature": _given(completion.temperature, DEFAULT_TEMPERATURE),
        "top_p": _given(completion.top_p, 1.0),
        "top_k": _given(completion.top_k, 0),
        "min_p": _given(completion.min_p, 0.0),
        "repeat_penalty": _given(completion.repeat_penalty, 1.0),
        "seed": secrets.randbelow(NUM_SEEDS) if completion.seed is None else completion.seed % NUM_SEEDS,
        "stop": [stop] if isinstance(stop, str) else stop,
        "overflow": "refuse",  # the client keeps the conversation: it must hear when that is too long
    }


def _given(value: Any, default: Any) -> Any:
    return default if value is None else value


def _schema(wanted: ResponseFormat | None) -> dict[str, Any] | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return {"type": "object"}
    if wanted.json_schema is None:
        raise BadRequest("response_format.json_schema: needed for this type", key="response_format.json_schema")
    return wanted.json_schema.schema


def _messages(messages: list[Message]) -> list[dict[str, Any]]:
    """In llm.chat's form: text alone, calls with arguments as values, a tool's result with the tool's name."""
    called: dict[str, str] = {}  # id of a call -> the tool's name
    plain = []
    for index, message in enumerate(messages):
        role = "system" if message.role == "developer" else message.role
        form: dict[str, Any] = {"role": role, "content": message.text}
        if message.tool_calls:
            form["tool_calls"] = [_call(call, f"messages[{index}].tool_calls") for call in message.tool_calls]
            called.update((call.id, call.function.name) for call in message.tool_calls)
        if message.tool_call_id is not None:
            form["tool_call_id"] = message.tool_call_id
        name = message.name or called.get(message.tool_call_id or "")
        plain.append({**form, "name": name} if name else form)
    return plain


def _call(call: Call, where: str) -> dict[str, Any]:
    try:
        arguments = json.loads(call.function.arguments or "{}")
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"{where}: the arguments of {call.function.name} are not JSON: {error}", key=where) from error
    if not isinstance(arguments, dict):
        raise BadRequest(f"{where}: the arguments of {call.function.name} are not an object", key=where)
    return {"name": call.function.name, "arguments": arguments, "id": call.id}

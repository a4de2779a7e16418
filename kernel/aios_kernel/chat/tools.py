"""Tools for any model: what it is told about them, and how its calls are read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aios_kernel.chat.grammar import CALL_CLOSE, CALL_OPEN
from aios_kernel.protocol import ToolCall, ToolSpec

_PROTOCOL = """You have these tools:
{tools}

To call a tool, write only
{open}
{{"name": "...", "arguments": {{...}}}}
{close}
and its result comes in the next message. Without need of a tool, answer in plain text."""


def function_form(tool: ToolSpec) -> dict[str, Any]:
    """A tool as chat templates expect it."""
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
    }


def with_protocol(messages: Sequence[dict[str, Any]], tools: Sequence[ToolSpec]) -> list[dict[str, Any]]:
    """`messages` for a template that knows no tools: the protocol in the system text, calls and results as text."""
    plain = [_plain(message) for message in messages]
    if not tools:
        return plain
    listing = "\n".join(json.dumps(function_form(tool)["function"], ensure_ascii=False) for tool in tools)
    protocol = _PROTOCOL.format(tools=listing, open=CALL_OPEN, close=CALL_CLOSE)
    if plain and plain[0]["role"] == "system":
        first = {**plain[0], "content": f"{plain[0]['content']}\n\n{protocol}"}
        return [first, *plain[1:]]
    return [{"role": "system", "content": protocol}, *plain]


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    role, content = message["role"], message["content"]
    if role == "tool":
        return {"role": "user", "content": f"<tool_response>\n{content}\n</tool_response>"}
    calls = "\n".join(_call_text(call) for call in message.get("tool_calls", ()))
    return {"role": role, "content": "\n".join(filter(None, [content, calls]))}


def _call_text(call: dict[str, Any]) -> str:
    body = json.dumps({"name": call["name"], "arguments": call["arguments"]}, ensure_ascii=False)
    return f"{CALL_OPEN}\n{body}\n{CALL_CLOSE}"


def parse_calls(text: str, first_id: int) -> tuple[str, list[ToolCall]]:
    """(the text around the calls, the calls). What is not a whole call stays text. Ids count from `first_id`."""
    calls: list[ToolCall] = []
    around: list[str] = []
    at = 0
    while (start := text.find(CALL_OPEN, at)) >= 0:
        body = start + len(CALL_OPEN)
        parsed = _parse_call(text, body)
        if parsed is None:
            around.append(text[at:body])
            at = body
            continue
        name, arguments, end = parsed
        around.append(text[at:start])
        calls.append(ToolCall(name=name, arguments=arguments, id=f"call_{first_id + len(calls)}"))
        at = end
    around.append(text[at:])
    return ("".join(around).strip() if calls else text), calls


def _parse_call(text: str, at: int) -> tuple[str, dict[str, Any], int] | None:
    at += len(text[at:]) - len(text[at:].lstrip())
    try:
        body, end = json.JSONDecoder().raw_decode(text, at)
        json.dumps(body, ensure_ascii=False).encode()  # half a surrogate pair cannot leave here
    except (ValueError, RecursionError):
        return None
    close = text.find(CALL_CLOSE, end)
    if not isinstance(body, dict) or close < 0 or text[end:close].strip():
        return None
    name, arguments = body.get("name"), body.get("arguments")
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    return name, arguments, close + len(CALL_CLOSE)


class CallFilter:
    """Keeps calls out of the streamed text: from <tool_call> to </tool_call> nothing is shown."""

    def __init__(self) -> None:
        self._held = ""
        self._marker = CALL_OPEN

    def feed(self, delta: str) -> str:
        """The part of the text so far that can be shown now."""
        self._held += delta
        shown = ""
        while (at := self._held.find(self._marker)) >= 0:
            shown += self._visible(at)
            self._held = self._held[at + len(self._marker) :]
            self._marker = CALL_CLOSE if self._marker == CALL_OPEN else CALL_OPEN
        keep = next((n for n in range(len(self._marker) - 1, 0, -1) if self._held.endswith(self._marker[:n])), 0)
        certain = len(self._held) - keep
        shown += self._visible(certain)
        self._held = self._held[certain:]
        return shown

    def flush(self) -> str:
        """What was held back, when the text ended without completing a marker."""
        shown, self._held = self._visible(len(self._held)), ""
        return shown

    def _visible(self, length: int) -> str:
        return self._held[:length] if self._marker == CALL_OPEN else ""

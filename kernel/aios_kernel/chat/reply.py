"""From what the model produced to the reply that the process gets."""

from __future__ import annotations

import json
from typing import Any

from aios_kernel.chat.request import Ask
from aios_kernel.chat.tools import CallFilter, parse_calls
from aios_kernel.errors import ModelFailed
from aios_kernel.protocol import ChatReply, ToolCall
from aios_kernel.scheduler.request import GenResult


def read_reply(ask: Ask, result: GenResult, window: str | None) -> ChatReply:
    """A reply's text is what follows the part that was given; its calls are those of the whole message.

    Raises ModelFailed when it is complete and breaks its schema.
    """
    text = result.text
    calls: list[ToolCall] = []
    if ask.tools:
        earlier = sum(len(message["tool_calls"]) for message in ask.messages)
        around, calls = parse_calls(ask.given + result.text, earlier + 1)
        if calls:
            text = around.removeprefix(CallFilter().feed(ask.given).strip()).strip()
    if ask.json_schema is not None and result.finish_reason == "stop" and not result.cut:
        _check_json(ask.given + text, ask.json_schema)
    return ChatReply(
        text=text,
        tool_calls=calls,
        finish_reason="tool_calls" if calls and result.finish_reason == "stop" else result.finish_reason,
        tokens_in=result.tokens_in,
        tokens_cached=result.tokens_cached,
        tokens_out=len(result.tokens),
        wait_ms=result.wait_ms,
        prefill_ms=result.prefill_ms,
        decode_ms=result.decode_ms,
        exact=result.exact,
        logits_hash=result.logits_hash,
        window=window,
    )


def _check_json(text: str, schema: dict[str, Any]) -> None:
    """The grammar knows not every keyword of JSON Schema (multipleOf, say); a reply that breaks one is an error."""
    import jsonschema  # late: 60 ms, and few ask for JSON

    try:
        jsonschema.validate(json.loads(text), schema)
    except (ValueError, jsonschema.ValidationError) as error:
        reason = error.message if isinstance(error, jsonschema.ValidationError) else str(error)
        raise ModelFailed(f"the reply does not validate: {reason}") from error

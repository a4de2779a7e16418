"""GBNF grammars: JSON of a schema, and tool calls within text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aios_kernel.chat.request import Ask
from aios_kernel.errors import BadRequest
from aios_kernel.protocol import ToolSpec

CALL_OPEN: Final = "<tool_call>"
CALL_CLOSE: Final = "</tool_call>"

MAX_GRAMMAR_CHARS: Final = 200_000  # llama.cpp's parser takes 0.1 s or so for this many

_REPETITIONS: Final = re.compile(r'"(?:min|max)(?:Length|Items)": (\d{1,18})')

# The converter's strings may hold raw control characters, which JSON forbids (RFC 8259, section 7).
_LOOSE_CHAR: Final = r'[^"\\]'
_JSON_CHAR: Final = r'[^"\\\x7F\x00-\x1F]'


def json_grammar(schema: Mapping[str, Any]) -> str:
    """A grammar for JSON texts of `schema`, at most one space between tokens. Raises BadRequest, with the reason."""
    import jsonschema  # late: 60 ms, and few ask for JSON

    text = json.dumps(schema)
    # Each repetition is written out, so a few bytes of schema can ask for gigabytes of grammar.
    if max(len(text), sum(map(int, _REPETITIONS.findall(text)))) > MAX_GRAMMAR_CHARS:
        raise BadRequest("the grammar of this JSON Schema is too large")
    try:
        from llama_cpp.llama_grammar import json_schema_to_gbnf  # late: its package loads llama.cpp

        jsonschema.Draft202012Validator.check_schema(dict(schema))
        grammar: str = json_schema_to_gbnf(text)
    except jsonschema.SchemaError as error:
        raise BadRequest(f"not a JSON Schema: {error.message}") from error
    except Exception as error:  # the converter raises whatever its code runs into
        raise BadRequest(f"no grammar for this JSON Schema: {type(error).__name__}: {error}") from error
    if len(grammar) > MAX_GRAMMAR_CHARS:
        raise BadRequest(f"the grammar of this JSON Schema is too large: {len(grammar)} characters")
    return re.sub(
        r"^(char ::= )(.*)$",
        lambda match: match[1] + match[2].replace(_LOOSE_CHAR, _JSON_CHAR),
        grammar,
        flags=re.MULTILINE,
    )


def grammar_of(ask: Ask) -> str:
    """The grammar of a reply that has to be JSON, or may call tools. Raises BadRequest."""
    if ask.json_schema is not None:
        return json_grammar(ask.json_schema)
    return call_grammar(ask.tools, text_allowed=not ask.must_call)


def call_grammar(tools: Sequence[ToolSpec], *, text_allowed: bool) -> str:
    """A grammar for calls of `tools`.

    text_allowed: any text, but where it says <tool_call> a valid call must follow, any number of times.
    Otherwise: exactly one call. Raises BadRequest when a tool's parameters are no usable schema.
    """
    rules = [_rename_root(json_grammar({"anyOf": [_call_schema(tool) for tool in tools]}), "call-json")]
    rules.append(rf'call ::= "\n"? call-json "\n"? "{CALL_CLOSE}"')
    if text_allowed:
        rules += ["root ::= text0", *_text_rules(CALL_OPEN, then="call text0")]
    else:
        rules.append(f'root ::= "{CALL_OPEN}" call')
    return "\n".join(rules)


def _call_schema(tool: ToolSpec) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {}, **tool.parameters}
    return {
        "type": "object",
        "properties": {"name": {"const": tool.name}, "arguments": parameters},
        "required": ["name", "arguments"],
    }


def _rename_root(grammar: str, name: str) -> str:
    return re.sub(r"^root ::=", f"{name} ::=", grammar, flags=re.MULTILINE)


def _text_rules(marker: str, then: str) -> list[str]:
    """Text as an automaton that watches for `marker`: text<i> is the state with its first i characters seen.

    The marker's first character occurs in it once, so that a mismatch falls back to state 1 or 0.
    """
    first, last = marker[0], len(marker) - 1
    assert marker.count(first) == 1
    rules = [f"text0 ::= | [^{first}] text0 | [{first}] text1"]
    for seen in range(1, len(marker)):
        char = marker[seen]
        onward = then if seen == last else f"text{seen + 1}"
        rules.append(f"text{seen} ::= | [{char}] {onward} | [{first}] text1 | [^{first}{char}] text0")
    return rules

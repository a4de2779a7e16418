"""From messages to the prompt: the model's template, then tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from operator import eq
from typing import Any, Final

import msgspec

from aios_kernel.chat.conversation import Memory, Tokenize
from aios_kernel.chat.request import Ask
from aios_kernel.chat.template import ChatTemplate
from aios_kernel.chat.tools import function_form, with_protocol
from aios_kernel.core import ModelSpec

_CHARS_PER_TOKEN: Final = 4  # or so
# Longer texts are not tokenized. llama.cpp's search for markers such as <|im_end|> takes time with their number times
# the text's length: 26 s for a million characters of 32,000 messages, and nothing can stop it.
MAX_CHARS_PER_TOKEN: Final = 64
NUM_HEADS: Final = 64  # kept: agents of one kind begin alike


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is given: a prompt, and what the reply begins with. Both as tokens too."""

    text: str
    tokens: list[int]
    given: list[int]
    head: int = 0  # of the tokens: those before the first thing the user says, which other prompts begin with too
    about: int = 0  # tokens, of a text so much longer than the window that they are not counted: it has none

    def __len__(self) -> int:
        """In tokens."""
        return self.about or len(self.tokens) + len(self.given)


class Renderer:
    """Makes prompts for one model. Any thread."""

    def __init__(self, spec: ModelSpec, template: ChatTemplate, tokenize: Tokenize) -> None:
        self._spec = spec
        self._template = template
        self._tokenize = tokenize
        self._heads: dict[bytes, tuple[str, list[int]]] = {}  # text and tokens, by what they are rendered from

    def prompt(self, ask: Ask, memory: Memory) -> Prompt:
        """Raises BadRequest when the template objects to the messages."""
        text = self._render(ask)
        if len(text) > MAX_CHARS_PER_TOKEN * self._spec.window:
            return Prompt(text, [], [], about=len(text) // _CHARS_PER_TOKEN)
        tokens, given = memory.tokens(text, ask.given, self._tokenize)
        return Prompt(text, tokens, given, self._head(ask, text, tokens))

    def _head(self, ask: Ask, text: str, tokens: list[int]) -> int:
        """How many of `tokens` come before what the user says first: system prompt, tools, the template's own words.

        It depends on the request alone, so that whatever runs beside it, its prompt is fed in the same pieces.
        """
        first = next((n for n, message in enumerate(ask.messages) if message["role"] == "user"), None)
        if first is None:
            return 0
        key = msgspec.json.encode((ask.messages[:first], ask.tools), enc_hook=str)
        known = self._heads.get(key)
        if known is None or not text.startswith(known[0]):  # templates may tell the time
            user = ask.messages[first]
            other = {**user, "content": "1" if str(user["content"]).lstrip().startswith("0") else "0"}
            length = _shared(text, self._render(replace(ask, messages=[*ask.messages[:first], other])))
            known = text[:length], self._tokenize(text[:length])
            if len(self._heads) >= NUM_HEADS:
                self._heads = {}
            self._heads[key] = known
        return _shared(known[1], tokens[:-1])  # what is left over is fed for its logits

    def _render(self, ask: Ask) -> str:
        if self._template.has_tools:
            native = [_native(message) for message in ask.messages]
            text = self._template.render(native, [function_form(tool) for tool in ask.tools])
        else:
            text = self._template.render(with_protocol(ask.messages, ask.tools))
        if self._spec.add_bos and not text.startswith(self._spec.bos):
            text = self._spec.bos + text
        return text


def _shared(one: Sequence[object], other: Sequence[object]) -> int:
    """How many items two sequences begin with in common."""
    return sum(1 for _ in takewhile(bool, map(eq, one, other)))


def _native(message: dict[str, Any]) -> dict[str, Any]:
    """A message as templates with tools expect it."""
    calls = [
        {"type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
        for call in message["tool_calls"]
    ]
    rest = {key: value for key, value in message.items() if key != "tool_calls"}
    return {**rest, "tool_calls": calls} if calls else rest

"""From messages to the prompt: the model's template, then tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aios_kernel.chat.conversation import Memory, Tokenize
from aios_kernel.chat.request import Ask
from aios_kernel.chat.template import ChatTemplate
from aios_kernel.chat.tools import function_form, with_protocol
from aios_kernel.core import ModelSpec


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is given: a prompt, and what the reply begins with. Both as tokens too."""

    text: str
    tokens: list[int]
    given: list[int]

    def __len__(self) -> int:
        """In tokens."""
        return len(self.tokens) + len(self.given)


class Renderer:
    """Makes prompts for one model. Any thread."""

    def __init__(self, spec: ModelSpec, template: ChatTemplate, tokenize: Tokenize) -> None:
        self._spec = spec
        self._template = template
        self._tokenize = tokenize

    def prompt(self, ask: Ask, memory: Memory) -> Prompt:
        """Raises BadRequest when the template objects to the messages."""
        text = self._render(ask)
        return Prompt(text, *memory.tokens(text, ask.given, self._tokenize))

    def _render(self, ask: Ask) -> str:
        if self._template.has_tools:
            native = [_native(message) for message in ask.messages]
            text = self._template.render(native, [function_form(tool) for tool in ask.tools])
        else:
            text = self._template.render(with_protocol(ask.messages, ask.tools))
        if self._spec.add_bos and not text.startswith(self._spec.bos):
            text = self._spec.bos + text
        return text


def _native(message: dict[str, Any]) -> dict[str, Any]:
    """A message as templates with tools expect it."""
    calls = [
        {"type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
        for call in message["tool_calls"]
    ]
    rest = {key: value for key, value in message.items() if key != "tool_calls"}
    return {**rest, "tool_calls": calls} if calls else rest

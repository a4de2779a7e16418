"""Chat templates as models carry them: Jinja, run in a sandbox."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import jinja2
import jinja2.meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from aios_kernel.clock import Clock
from aios_kernel.errors import BadRequest

CHATML: Final = (  # for models without a template; the most common form
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class ChatTemplate:
    """One model's template, with the functions and filters that Hugging Face gives templates."""

    def __init__(self, source: str | None, *, bos: str, eos: str, clock: Clock) -> None:
        """Raises BadRequest when the template is not valid Jinja."""
        self._tokens = {"bos_token": bos, "eos_token": eos}
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = lambda form: datetime.fromtimestamp(clock.now()).strftime(form)
        source = source or CHATML
        try:
            self._template = environment.from_string(source)
            variables = jinja2.meta.find_undeclared_variables(environment.parse(source))
        except jinja2.TemplateError as error:
            raise BadRequest(f"the model's chat template is broken: {error}") from error
        # Templates with another call format than <tool_call>{json}</tool_call> get our protocol as text instead.
        self.has_tools = "tools" in variables and "<tool_call>" in source

    def render(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] | None = None) -> str:
        """The prompt text, up to where the assistant's reply begins. Raises BadRequest when the template objects."""
        try:
            return self._template.render(
                messages=messages, tools=tools or None, add_generation_prompt=True, **self._tokens
            )
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            raise BadRequest(f"the model's chat template refuses these messages: {error}") from error


def _tojson(value: Any, indent: int | None = None) -> str:
    """Like Hugging Face's filter, and unlike Jinja's: no HTML escapes."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)

"""ReAct: think, act with a tool, look at what came of it, and so on until there is an answer.

Source: Yao et al., "ReAct: Synergizing Reasoning and Acting in Language Models", arXiv 2210.03629.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from aios_agents.generation import Message, assistant, system, user
from aios_agents.schema import object_of, text_of
from aios_agents.sdk import Agent, AgentFailed
from aios_agents.tool import Tool
from aios_agents.toolbox import Toolbox
from aios_kernel.protocol import ToolSpec

Step = dict[str, Any]  # {"thought", "tool", "arguments"}, or {"thought", "answer"}, as the model writes it

MAX_THOUGHT = 120  # characters
MAX_ANSWER = 400
STEP_TOKENS = 256  # enough for a step of these lengths


class ReAct(Agent):
    """Answers a question with tools. Subclass it and give `tools`; a small model wants an example or two as well."""

    system: ClassVar[str] = "Answer the question. Think first; then call a tool, or give the answer when you know it."
    tools: ClassVar[Sequence[Tool | str]] = ()  # functions with @tool, and names of kernel tools
    examples: ClassVar[Sequence[tuple[str, Sequence[Step | str]]]] = ()  # question, steps, and as texts their results
    rounds: ClassVar[int] = 4  # calls; then it has to answer

    async def run(self) -> None:
        """Print the answer; the steps to it are told on standard error. Exit 2 without a question."""
        question = await self.input()
        if not question:
            raise AgentFailed("what is the question?", code=2)
        self.write(f"{await self.solve(question)}\n")

    async def solve(self, question: str) -> str:
        """The answer."""
        box = await self.toolbox(self.tools)
        messages = [*self._begin(), user(question)]
        steps = {"anyOf": [*map(_call_schema, box.specs), _ANSWER]}
        for _ in range(self.rounds):
            step = await self._step(messages, steps)
            if "answer" in step:
                return str(step["answer"])
            messages.append(user(await self._act(box, step)))
        return str((await self._step(messages, _ANSWER))["answer"])

    async def _step(self, messages: list[Message], schema: dict[str, Any]) -> Step:
        step: Step = await self.ask_json(messages, schema, max_tokens=STEP_TOKENS)
        messages.append(assistant(_json(step)))
        return step

    async def _act(self, box: Toolbox, step: Step) -> str:
        result = await box.run(step["tool"], step["arguments"])
        self.note(f"{step['thought']} {step['tool']}({_json(step['arguments'])}) = {result}")
        return result

    def _begin(self) -> list[Message]:
        """The system prompt and the examples."""
        messages = [system(self.system)]
        for question, steps in self.examples:
            messages.append(user(question))
            messages += [user(step) if isinstance(step, str) else assistant(_json(step)) for step in steps]
        return messages


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _call_schema(spec: ToolSpec) -> dict[str, Any]:
    return object_of(thought=text_of(MAX_THOUGHT), tool={"const": spec.name}, arguments=spec.parameters)


_ANSWER = object_of(thought=text_of(MAX_THOUGHT), answer=text_of(MAX_ANSWER))

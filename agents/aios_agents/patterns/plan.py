"""Plan and execute: first a list of steps, then each step with the results of those before it.

Source: Wang et al., "Plan-and-Solve Prompting", arXiv 2305.04091.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from aios_agents.generation import ChatOptions, Message, assistant, system, user
from aios_agents.schema import list_of, object_of, text_of
from aios_agents.sdk import Agent, AgentFailed

MAX_STEP = 80  # characters
PLAN_TOKENS = 200


class PlanAndExecute(Agent):
    """Plans a task and does it step by step. Subclass it and say in `planner` and `worker` what a step is."""

    planner: ClassVar[str] = "Break the task into a few short steps, in order."
    worker: ClassVar[str] = "You work on one step of a task. Write its result in one or two sentences."
    examples: ClassVar[tuple[tuple[str, tuple[str, ...]], ...]] = ()  # (task, steps): what a plan looks like
    worked: ClassVar[tuple[tuple[str, str], ...]] = ()  # (prompt, result) of a step
    steps: ClassVar[tuple[int, int]] = (2, 5)  # at least, at most
    options: ClassVar[ChatOptions] = {"max_tokens": 80}  # of a step's result

    async def run(self) -> None:
        """Print each step and its result. Exit 2 without a task."""
        task = await self.input()
        if not task:
            raise AgentFailed("what is the task?", code=2)
        plan = await self.plan(task)
        done: list[tuple[str, str]] = []
        for number, step in enumerate(plan, 1):
            self.write(f"{number}. {step}\n")
            done.append((step, await self.step(task, step, done)))
        await self.finish(task, done)

    async def plan(self, task: str) -> list[str]:
        """The steps, in order, none twice."""
        messages: list[Message] = [system(self.planner)]
        for example, steps in self.examples:
            messages += [user(example), assistant(json.dumps({"steps": steps}))]
        schema = object_of(steps=list_of(text_of(MAX_STEP), *self.steps))
        found: dict[str, Any] = await self.ask_json([*messages, user(task)], schema, max_tokens=PLAN_TOKENS)
        return list(dict.fromkeys(step.strip() for step in found["steps"]))

    async def step(self, task: str, step: str, done: list[tuple[str, str]]) -> str:
        """Do one step, streaming its result, which is returned. done: (step, result) pairs so far."""
        turns = [turn for asked, result in self.worked for turn in (user(asked), assistant(result))]
        messages = [system(self.worker), *turns, user(self.prompt(task, step, done))]
        reply = await self.answer(messages, whole_after=0, **self.options)
        return reply.text.strip()

    def prompt(self, task: str, step: str, done: list[tuple[str, str]]) -> str:
        """What the worker is told of a step."""
        so_far = "".join(f"\n{number}. {name}: {result}" for number, (name, result) in enumerate(done, 1))
        return f"Task: {task}\n" + (f"Done:{so_far}\n" if so_far else "") + f"Now: {step}"

    async def finish(self, task: str, done: list[tuple[str, str]]) -> None:
        """After the last step: nothing, unless a subclass sums up."""

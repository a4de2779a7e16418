"""Reflexion: try, have it checked, say in words what went wrong, try again with that in mind.

Source: Shinn et al., "Reflexion: Language Agents with Verbal Reinforcement Learning", arXiv 2303.11366.
"""

from __future__ import annotations

from typing import Any, ClassVar

from aios_agents.generation import ChatOptions, Message, assistant, system, user
from aios_agents.schema import object_of, text_of
from aios_agents.sdk import Agent, AgentFailed

MAX_LESSON = 160  # characters
LESSON_TOKENS = 80
RETRY_TEMPERATURE = 0.7  # the most likely attempt has failed: draw others


class Reflexion(Agent):
    """Works on a task until an attempt passes `check`. Subclass it and write that: code, a tool, another model call."""

    system: ClassVar[str] = "Do the task. Answer with the result alone."
    examples: ClassVar[tuple[tuple[str, str], ...]] = ()  # (task, result)
    trials: ClassVar[int] = 4
    options: ClassVar[ChatOptions] = {"max_tokens": 160}  # of an attempt

    async def check(self, task: str, attempt: str) -> str | None:
        """What is wrong with the attempt, as one line for the model; None: nothing."""
        raise NotImplementedError(f"{type(self).__name__} has no method `check`")

    async def run(self) -> None:
        """Print the attempt that passed. Exit 1 with the last one on standard error when none did, 2 without a task."""
        task = await self.input()
        if not task:
            raise AgentFailed("what is the task?", code=2)
        self.write(f"{await self.solve(task)}\n")

    async def solve(self, task: str) -> str:
        """The first attempt that passes. Raises AgentFailed when none of the trials does."""
        lessons: list[str] = []
        for trial in range(self.trials):
            attempt = await self.attempt(task, lessons, trial)
            wrong = await self.check(task, attempt)
            if wrong is None:
                return attempt
            self.note(f"trial {trial + 1}: {attempt!r}: {wrong}")
            if trial + 1 < self.trials:
                lessons.append(await self.reflect(task, attempt, wrong))
        raise AgentFailed(f"none of {self.trials} trials passed; of the last one: {wrong}")

    async def attempt(self, task: str, lessons: list[str], trial: int) -> str:
        """One attempt, with what the former ones have taught."""
        options = self.options
        if trial:
            options = {**options, "temperature": RETRY_TEMPERATURE, "seed": trial}
        return (await self.chat([*self._begin(lessons), user(task)], **options)).text.strip()

    async def reflect(self, task: str, attempt: str, wrong: str) -> str:
        """One sentence of advice for the next trial."""
        question = f"Task: {task}\nAttempt: {attempt}\nIt failed: {wrong}\nWhat should the next attempt do differently?"
        found: dict[str, Any] = await self.ask_json(question, _LESSON, max_tokens=LESSON_TOKENS)
        return f"{wrong} {found['lesson']}"

    def _begin(self, lessons: list[str]) -> list[Message]:
        """The system prompt with the lessons, and the examples."""
        turns = [turn for task, result in self.examples for turn in (user(task), assistant(result))]
        return [system("\n".join([self.system, *lessons])), *turns]


_LESSON = object_of(lesson=text_of(MAX_LESSON))

"""Agentic notes, after A-MEM (Xu et al., arXiv 2502.12110): the model says what a note is about, and what its nearest
notes are about now that it is there. Each question is answered in JSON that fits a schema, so any model can."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from aios_kernel.chat.generations import show_nothing
from aios_kernel.errors import ModelFailed
from aios_kernel.life import Life
from aios_kernel.llm import Llm
from aios_kernel.memory.text import Text
from aios_kernel.process import Process
from aios_kernel.protocol import ChatRequest, Note, RunRequest
from aios_kernel.supervisor import Supervisor

AGENT: Final = "memory"  # what `ps` calls the process that asks the model
MAX_TOKENS: Final = 512  # of a reply; the schemas allow fewer
MAX_SHOWN: Final = 2_000  # characters of a note in a prompt

# One keyword or tag: small models put into it whatever the schema lets them, punctuation first.
_WORD: Final = {"type": "string", "pattern": r"^[^\x00-\x1F\"\\\[\]{}<>()#,;:.|*/=_]{2,24}$"}
_WORDS: Final = {"type": "array", "items": _WORD, "minItems": 1}
_ANALYSIS: Final = {
    "type": "object",
    "properties": {
        "keywords": {**_WORDS, "maxItems": 5},
        "context": {"type": "string", "minLength": 1, "maxLength": 120},
        "tags": {**_WORDS, "maxItems": 3},
    },
    "required": ["keywords", "context", "tags"],
}
# The instruction, then an example: without one a small model copies the instruction.
_ANALYSE: Final = (
    "You file notes. For each note reply in JSON: `keywords`, its most telling words; `context`, one sentence on what "
    "it is about; `tags`, broad subjects to file it under.",
    "We fixed the leak under the kitchen sink with a new washer.",
    '{"keywords": ["leak", "kitchen sink"], "context": "A repair in the kitchen.", "tags": ["home", "repair"]}',
)
_EVOLVE: Final = (
    "You keep the tags of notes in order. A new note has come in, and there are notes near it. Reply in JSON: for each "
    "of the near notes, in their order, the tags that it should have now.",
    'New note: {"text": "The new washer leaks too.", "tags": ["repair"]}\n'
    'Near note 1: {"text": "We fixed the leak under the kitchen sink.", "tags": ["home"]}',
    '{"tags": [["home", "repair"]]}',
)
Instruction = tuple[str, str, str]  # what to do, a prompt, the reply to it


class Model(Protocol):
    """Answers one prompt with JSON of a schema."""

    async def __call__(self, instruction: Instruction, prompt: str, schema: dict[str, Any]) -> Any: ...


async def analyse(ask: Model, text: Text) -> Text:
    """`text` with the keywords, context and tags that it lacks. Raises what `ask` does."""
    if text.keywords and text.context and text.tags:
        return text
    said = await ask(_ANALYSE, text.content[:MAX_SHOWN], _ANALYSIS)
    return replace(
        text,
        keywords=text.keywords or _distinct(said["keywords"]),
        context=text.context or said["context"].strip(),
        tags=text.tags or _distinct(said["tags"]),
    )


async def evolve(ask: Model, text: Text, near: Sequence[Note]) -> list[list[str]]:
    """The tags that each of the notes near a new one should have now. Raises what `ask` does."""
    if not near:
        return []
    shown = [f"New note: {_shown(text.content, text.tags)}"]
    shown += [f"Near note {number}: {_shown(note.content, note.tags)}" for number, note in enumerate(near, 1)]
    exactly = {"type": "array", "items": {**_WORDS, "maxItems": 4}, "minItems": len(near), "maxItems": len(near)}
    schema = {"type": "object", "properties": {"tags": exactly}, "required": ["tags"]}
    said = await ask(_EVOLVE, "\n".join(shown), schema)
    return [_distinct(tags) for tags in said["tags"]]


def _shown(content: str, tags: Sequence[str]) -> str:
    return json.dumps({"text": content[: MAX_SHOWN // 4], "tags": list(tags)}, ensure_ascii=False)


def _distinct(words: Sequence[str]) -> list[str]:
    """Small models repeat themselves."""
    return list(dict.fromkeys(word for each in words if (word := each.strip().casefold())))


class Enricher:
    """Lets the model work on a process's notes."""

    def __init__(self, supervisor: Supervisor, llm: Llm) -> None:
        self._supervisor = supervisor
        self._llm = llm

    @contextlib.asynccontextmanager
    async def model(self, life: Life) -> AsyncIterator[Model]:
        """The model for a process: asked by another one, so that the process's own context stays what it was.

        That one runs at the asker's nice value, class and program; what it produces counts as the asker's.

        Raises:
            LimitHit, KernelStopping: there can be no such process; Cancelled: a signal has ended it.
        """
        asker = life.process
        request = RunRequest(
            AGENT,
            f"a note of {asker.request.agent}, process {asker.pid}",
            nice=asker.nice,
            group=asker.request.group,
            policy_class=asker.policy_class,
        )
        async with self._supervisor.virtual(request) as own:
            own.process.program = asker.program
            yield functools.partial(self._ask, asker, own)

    async def _ask(
        self, asker: Process, own: Life, instruction: Instruction, prompt: str, schema: dict[str, Any]
    ) -> Any:
        """Raises ModelFailed, LimitHit, and what Llm.chat raises."""
        roles = ("system", "user", "assistant", "user")
        texts = (*instruction, prompt)
        messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
        with asker.granted(MAX_TOKENS) as max_tokens:
            request = ChatRequest(messages, json_schema=schema, max_tokens=max_tokens, repeat_penalty=1.1)
            reply = await self._llm.chat(
                own.process.pid,
                request,
                asker.nice,
                show_nothing,
                asker.program,
                policy_class=asker.policy_class,
                on_window=show_nothing,
                grant=asker.granted,
            )
        asker.count(reply.tokens_out, ended=True)
        asker.tokens_in += reply.tokens_in - reply.tokens_cached
        try:
            return json.loads(reply.text)
        except ValueError as error:  # cut off: the schema itself ends in time
            raise ModelFailed(f"the model did not finish what it says of a note ({reply.finish_reason})") from error

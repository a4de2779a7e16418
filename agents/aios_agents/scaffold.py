"""What `aios agents new` writes: an agent that runs, and a test of it that needs no model."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aios_agents import manifest

_MANIFEST: Final = """\
name = "{name}"
description = "Answers in one sentence."
entry = "agent:{entry}"
"""

_FUNCTION: Final = '''\
"""What this agent does, in a sentence."""

from aios_agents import Agent, AgentFailed

SYSTEM = "Answer in one sentence of plain words."


async def main(agent: Agent) -> None:
    question = await agent.input()  # the task, and what comes on standard input
    if not question:
        raise AgentFailed("what is the question?", code=2)
    await agent.answer(
        [{{"role": "system", "content": SYSTEM}}, {{"role": "user", "content": question}}],
        max_tokens=120,
    )
'''

_CLASS: Final = '''\
"""What this agent does, in a sentence."""

from aios_agents import Agent, AgentFailed


class {entry}(Agent):
    system = "Answer in one sentence of plain words."

    async def run(self) -> None:
        question = await self.input()  # the task, and what comes on standard input
        if not question:
            raise AgentFailed("what is the question?", code=2)
        await self.answer(
            [{{"role": "system", "content": self.system}}, {{"role": "user", "content": question}}],
            max_tokens=120,
        )
'''

_TEST: Final = '''\
"""Run with pytest. The kernel is real and the test's own; what the model says is written here."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aios_agents.testing import Lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(Path(__file__).parent) as lab:
        yield lab


def test_it_answers(lab: Lab) -> None:
    run = lab.run("{name}", "Why is the sky blue?", replies=["Air scatters blue light the most."])
    assert (run.exit_code, run.stdout) == (0, "Air scatters blue light the most.\\n")
    assert run.asked[0].last == "Why is the sky blue?"


def test_it_wants_a_question(lab: Lab) -> None:
    run = lab.run("{name}")
    assert (run.exit_code, run.asked) == (2, [])
'''


def write(folder: Path, name: str, *, as_class: bool) -> None:
    """Make the agent `name` in `folder`, which must not be there. Raises ManifestError for a bad name, OSError."""
    manifest.check_name(name)
    entry = "".join(part.capitalize() for part in name.replace("-", "_").split("_")) if as_class else "main"
    folder.mkdir(parents=True)
    for file, text in (
        (manifest.FILE, _MANIFEST),
        ("agent.py", _CLASS if as_class else _FUNCTION),
        (f"test_{name.replace('-', '_')}.py", _TEST),
    ):
        (folder / file).write_text(text.format(name=name, entry=entry), encoding="utf-8")

"""The patterns, on a scripted model: what they ask, in which order, and that they end."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from system import LIGHT

from aios_agents.testing import Lab

PROGRAM = """
from aios_agents import tool
from aios_agents.patterns import PlanAndExecute, ReAct, Reflexion

@tool
def look_up(word: str) -> str:
    "What a word means."
    return {"shell": "a program that runs others"}[word]

class Asks(ReAct):
    tools = (look_up, "calculator")
    rounds = 2

class Tries(Reflexion):
    trials = 3

    async def check(self, task, attempt):
        return None if "b" in attempt else "There is no b."

class Plans(PlanAndExecute):
    examples = (("make tea", ("Boil water", "Pour it")),)

    async def finish(self, task, done):
        self.write(f"{len(done)} steps for {task}\\n")
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folders = []
    for name, entry in (("asks", "Asks"), ("tries", "Tries"), ("plans", "Plans")):
        folder = tmp_path_factory.mktemp("patterns") / name
        folder.mkdir()
        (folder / "agent.py").write_text(PROGRAM)
        (folder / "agent.toml").write_text(f'name = "{name}"\ndescription = "A test."\nentry = "agent:{entry}"\n')
        folders.append(folder)
    with Lab(*folders) as lab:
        yield lab


def act(tool: str, **arguments: str) -> str:
    return json.dumps({"thought": "I wonder.", "tool": tool, "arguments": arguments})


def answer(text: str) -> str:
    return json.dumps({"thought": "I know.", "answer": text})


def test_react_acts_until_it_can_answer(lab: Lab) -> None:
    replies = [act("look_up", word="shell"), act("calculator", expression="6 * 7"), answer("So be it.")]
    run = lab.run("asks", "What is a shell?", replies=replies)
    assert (run.exit_code, run.stdout) == (0, "So be it.\n")
    assert run.stderr.splitlines()[0] == 'I wonder. look_up({"word": "shell"}) = a program that runs others'
    assert [asked.last for asked in run.asked] == ["What is a shell?", "a program that runs others", "42"]


def test_react_goes_on_after_a_tool_that_fails(lab: Lab) -> None:
    run = lab.run("asks", "What is a cat?", replies=[act("look_up", word="cat"), answer("I do not know.")])
    assert (run.stdout, run.asked[1].last) == ("I do not know.\n", "error: look_up: KeyError: 'cat'")


def test_react_has_to_answer_after_its_rounds(lab: Lab) -> None:
    steps = [act("look_up", word="shell")] * 2
    run = lab.run("asks", "What?", replies=[*steps, answer("Enough.")])
    assert (run.stdout, run.syscalls.count("llm.chat ok")) == ("Enough.\n", 3)
    run = lab.run("asks", "What?", replies=[*steps, steps[0]])  # a grammar forbids it; a script can say it
    assert (run.exit_code, "does not validate" in run.stderr) == (1, True)


def test_reflexion_learns_from_what_was_wrong(lab: Lab) -> None:
    run = lab.run("tries", "Write.", replies=["aaa", '{"lesson": "Use a b."}', "abc"])
    assert (run.exit_code, run.stdout, run.stderr) == (0, "abc\n", "trial 1: 'aaa': There is no b.\n")
    assert run.asked[2].messages[0][1].endswith("\nThere is no b. Use a b.")


def test_reflexion_gives_up_after_its_trials(lab: Lab) -> None:
    run = lab.run("tries", "Write.", replies=["x", '{"lesson": "y"}', "x", '{"lesson": "y"}', "x"])
    assert (run.exit_code, run.stdout) == (1, "")
    assert run.stderr.splitlines()[-1] == "tries: none of 3 trials passed; of the last one: There is no b."


def test_a_plan_is_made_and_done_step_by_step(lab: Lab) -> None:
    plan = json.dumps({"steps": ["Dig a hole", "Plant it", "Dig a hole"]})
    run = lab.run("plans", "plant a tree", replies=[plan, "It is deep.", "It stands."])
    assert run.stdout == "1. Dig a hole\nIt is deep.\n2. Plant it\nIt stands.\n2 steps for plant a tree\n"
    assert run.asked[2].last == "Task: plant a tree\nDone:\n1. Dig a hole: It is deep.\nNow: Plant it"


@pytest.mark.parametrize("name", ["asks", "tries", "plans", "planets", "slogan", "primer"])
def test_without_a_task_there_is_nothing_to_do(lab: Lab, name: str) -> None:
    run = lab.run(name)
    assert (run.exit_code, run.stdout, len(run.stderr.splitlines())) == (2, "", 1)


@pytest.mark.model
def test_the_bundled_ones_work_on_the_embedded_model() -> None:
    with Lab(real_model=True, config=LIGHT) as lab:
        assert lab.run("planets", "How many moons does Mars have?").stdout == "Mars has 2 moons.\n"
        slogan = lab.run("slogan", "a shop for old books")
        assert (slogan.exit_code, "book" in slogan.stdout.lower()) == (0, True)
        primer = lab.run("primer", "volcanoes").stdout.splitlines()
        assert [line for line in primer if line[:2] in ("1.", "2.", "3.")]

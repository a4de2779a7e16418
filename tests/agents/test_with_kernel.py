"""The SDK and the bundled agents against a real kernel and the embedded model."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from system import System

pytestmark = pytest.mark.model

TEXT = (
    "The canal was dug between 1822 and 1832 by soldiers. It joins two lakes and saves ships a voyage of three days. "
    "In its first years it carried timber and iron. When the railway came, trade fell by half."
)


def install(home: System, name: str, code: str, **keys: Any) -> None:
    """An agent of the user's; without `code` it is a prompt."""
    folder = home.home / "data" / "agents" / name
    folder.mkdir(parents=True, exist_ok=True)
    keys = {"name": name, "description": "A test.", **({"entry": "agent:main"} if code else {}), **keys}
    (folder / "agent.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()))
    (folder / "agent.py").write_text(code)


def run_code(system: System, body: str) -> Any:
    """What an agent whose main has this body printed as JSON (after the last | if there is one)."""
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    install(system, "t", f"import json\nfrom aios_agents import *\n\nasync def main(agent):\n{lines}")
    return json.loads(system.ok("run", "t").rpartition("|")[2])


def test_math_computes_what_the_model_writes_down(system: System) -> None:
    assert system.ok("run", "math", "What is 12*7?") == "12 * 7 = 84\n"
    done = system.run("run", "math", "hello")
    assert (done.returncode, done.stdout) == (2, "")


def test_rec_recommends_what_there_is(system: System) -> None:
    lines = system.ok("run", "rec", "something funny").splitlines()
    assert [line[:2] for line in lines] == ["1.", "2.", "3."]
    assert all("(film, " in line or "(book, " in line for line in lines)


def test_travel_adds_up(system: System) -> None:
    plan = system.ok("run", "travel", "two days in Rome")
    assert plan.startswith("Rome, 2 days\nDay 1: ")
    sums = [line.rsplit(": ", 1)[1].removesuffix(" euros") for line in plan.splitlines()[-2:]]
    for total in sums:
        left, right = total.split(" = ")
        flight, nights, fees = left.split(" + ")
        num, _, night = nights.partition(" * ")
        assert int(flight) + int(num) * int(night) + int(fees) == int(right)


def test_summarize_reads_standard_input(system: System) -> None:
    summary = system.ok("run", "summarize", stdin=TEXT)
    assert "canal" in summary.lower()
    done = system.run("run", "summarize", stdin="")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_narrate_ends_with_a_whole_sentence(system: System) -> None:
    story = system.ok("run", "narrate", "a fox")
    assert "fox" in story
    assert story.endswith(".\n")


def test_chat_answers_its_task_or_each_line(system: System) -> None:
    assert "Paris" in system.ok("run", "chat", "What is the capital of France?")
    said = system.ok("run", "chat", stdin="What is the capital of France?\n\nWhat is the capital of Italy?\n")
    assert ["Paris" in said, "Rome" in said] == [True, True]


def test_a_conversation_gives_the_model_its_earlier_turns(system: System) -> None:
    body = """
talk = agent.conversation("Answer briefly.", max_tokens=16)
await talk.say("Name a colour.")
reply = await talk.say("And another one.")
again = await agent.chat([{"role": "system", "content": "Answer briefly."}, *talk.turns[:3]], max_tokens=16)
agent.write("|" + json.dumps([[turn["role"] for turn in talk.turns], reply.text == again.text]))
"""
    assert run_code(system, body) == [["user", "assistant"] * 2, True]


def test_a_prompt_is_an_agent(system: System) -> None:
    install(system, "geo", "", system="Answer in one word.")
    assert "Paris" in system.ok("run", "geo", "What is the capital of France?")


def test_streamed_pieces_are_the_reply(system: System) -> None:
    body = """
generation = agent.stream("Count to five.", max_tokens=24)
pieces = [piece async for piece in generation]
whole = await agent.chat("Count to five.", max_tokens=24)
agent.write(json.dumps([len(pieces), "".join(pieces), generation.reply.text, whole.text]))
"""
    num, pieces, streamed, whole = run_code(system, body)
    assert num > 1
    assert pieces == streamed == whole


def test_all_calls_of_a_reply_run_and_errors_go_back_to_the_model(system: System) -> None:
    body = """
@tool
def fail(reason: str) -> str:
    "Fail."
    raise ValueError(reason)
messages = [{"role": "user", "content": "Call the tool fail with a reason."}]
reply = await agent.run_tools(messages, [fail, "calculator"], rounds=1, tool_choice="fail", max_tokens=60)
agent.write(json.dumps(messages))
"""
    user, call, result, answer = run_code(system, body)
    assert call["tool_calls"][0]["name"] == "fail"
    assert result["role"] == "tool"
    assert result["content"].startswith("error: fail: ValueError: ")
    assert (user["role"], answer["role"], "tool_calls" in answer) == ("user", "assistant", False)


def test_children_and_their_messages(system: System) -> None:
    install(system, "echo", "async def main(agent):\n    agent.write((await agent.recv()).text)\n    return 5\n")
    body = """
pid = await agent.spawn("echo")
await agent.send(pid, "hello")
child = await agent.wait(pid)
mail = await agent.recv(timeout_s=0.01)
agent.write(json.dumps([child.exit_code, child.output, mail, (await agent.me()).pid == agent.pid]))
"""
    assert run_code(system, body) == [5, "hello", None, True]


def test_json_of_a_schema(system: System) -> None:
    body = """
schema = {"type": "object", "properties": {"n": {"enum": [1, 2, 3]}}, "required": ["n"], "additionalProperties": False}
agent.write(json.dumps(await agent.ask_json("Say one, two or three.", schema)))
"""
    assert run_code(system, body)["n"] in (1, 2, 3)


def test_a_conversation_hears_messages_too(system: System) -> None:
    with system.popen("run", "chat", stdin=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write("Say hello.\n")
        process.stdin.flush()
        first = process.stdout.readline()
        pid = next(row["pid"] for row in system.json("ps") if row["agent"] == "chat")
        system.ok("send", str(pid), "What is the capital of France?")
        assert "Paris" in process.stdout.readline()
        process.stdin.close()
        assert (first != "", process.wait(60)) == (True, 0)

"""Contexts kept, copied, compared and carried to another machine, by the command line and the real model."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from system import LIGHT, System

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

# Its task is the options of its one chat.
TELLER = """
import json

async def main(agent):
    await agent.answer("Tell a long story about a fox and a river.", **json.loads(agent.task))
"""

GREEDY: dict[str, Any] = {"max_tokens": 250}
SAMPLED: dict[str, Any] = {"max_tokens": 250, "temperature": 0.8, "seed": 7, "repeat_penalty": 1.2}

TEXTS = {"type": "array", "items": {"type": "string", "maxLength": 60}, "minItems": 12, "maxItems": 16}
JSON: dict[str, Any] = {
    **SAMPLED,
    "json_schema": {"type": "object", "properties": {"lines": TEXTS}, "required": ["lines"]},
}


def install(system: System, name: str, code: str) -> None:
    folder = system.home / "data" / "agents" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "agent.toml").write_text(f'name = "{name}"\ndescription = "A test."\nentry = "agent:main"\n')
    (folder / "agent.py").write_text(code)


def another() -> Iterator[System]:
    """Another machine, as far as one can tell: a home and a kernel of its own."""
    with tempfile.TemporaryDirectory(prefix="aios-") as folder:
        other = System(Path(folder))
        other.configure(LIGHT)
        try:
            yield other
        finally:
            other.run("kernel", "stop")


elsewhere = pytest.fixture(scope="module")(another)
small = pytest.fixture(scope="module")(another)


def in_the_middle(system: System, pid: int, tokens: int = 40) -> None:
    """Wait until the process is so far into its reply."""
    client = system.client()
    deadline = time.monotonic() + 100
    while (info := client.proc(pid)).tokens_out < tokens:
        assert info.exit_code is None, f"it ended: {system.ok('logs', str(pid))}"
        assert time.monotonic() < deadline, "it makes no progress"
        time.sleep(0.01)


def reply_in(system: System, id: str) -> str:
    """The reply as far as it has come, as it was shown."""
    text: str = system.json("snap", "show", id)["messages"][-1]["content"]
    return text.lstrip()


def tell(system: System, options: dict[str, Any]) -> int:
    install(system, "teller", TELLER)
    return system.start("teller", json.dumps(options))


@pytest.mark.parametrize(
    ("name", "options"), [("greedy", GREEDY), ("sampled", SAMPLED), ("json", JSON)], ids=["greedy", "sampled", "json"]
)
def test_a_story_goes_on_elsewhere_as_it_would_have_here(
    system: System, elsewhere: System, tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    pid = tell(system, options)
    in_the_middle(system, pid)
    assert system.ok("snap", "save", str(pid), "--name", name) == f"{name}\n"
    file = str(tmp_path / "story.aios")
    system.ok("snap", "export", name, file)
    assert system.run("wait", str(pid)).returncode == 0
    whole = system.ok("logs", str(pid), "--output")

    assert elsewhere.ok("snap", "import", file) == f"{name}\n"
    told = reply_in(elsewhere, name)
    assert 0 < len(told) < len(whole)
    assert told + elsewhere.ok("snap", "restore", name) == whole
    restored = elsewhere.json("ps", "--all")[-1]
    assert restored["tokens_in"] <= 2, "what was computed is computed again"
    assert restored["exact"]


def test_a_restored_story_can_be_kept_and_restored_again(system: System) -> None:
    pid = tell(system, SAMPLED)
    in_the_middle(system, pid, 30)
    system.ok("snap", "save", str(pid), "--name", "early")
    assert system.run("wait", str(pid)).returncode == 0
    whole = system.ok("logs", str(pid), "--output")
    second = int(system.json("snap", "restore", "early", "--bg")["pid"])
    in_the_middle(system, second, 30)
    system.ok("suspend", str(second))  # kept while it is suspended
    system.ok("snap", "save", str(second), "--name", "later")
    (row,) = [snap for snap in system.json("snap", "ls") if snap["pid"] == second and not snap["saved"]]
    assert (row["agent"], row["tier"]) == ("chat", "ram")
    told = reply_in(system, "later")
    assert told == reply_in(system, row["id"])
    assert len(told) > len(reply_in(system, "early"))
    assert told + system.ok("snap", "restore", "later") == whole
    system.ok("resume", str(second))
    system.run("wait", str(second))


def test_a_chat_forks_and_goes_on_two_ways(system: System) -> None:
    chat = int(system.json("run", "chat", "--bg")["pid"])
    refused = system.run("snap", "fork", str(chat), "Hello?")
    assert (refused.returncode, refused.stderr) == (1, f"aios: process {chat} has no context yet\n")
    system.ok("send", str(chat), "My name is Ada. Remember it. Say hello.")
    in_the_middle(system, chat, 3)
    system.ok("wait", str(chat), "--state", "waiting")
    said = system.ok("logs", str(chat), "--output")
    here = system.ok("snap", "fork", str(chat), "What is the capital of France?")
    there = system.ok("snap", "fork", str(chat), "What is the capital of Italy?")
    assert here != there
    forks = system.json("ps", "--all")[-2:]
    assert all(fork["tokens_in"] < 30 for fork in forks), "only the new question is fed"
    system.ok("send", str(chat), "What is the capital of Italy?")  # the original answers as its fork did
    in_the_middle(system, chat, system.ps(chat)["tokens_out"] + 1)
    system.ok("wait", str(chat), "--state", "waiting")
    assert system.ok("logs", str(chat), "--output") == said + there
    system.ok("kill", str(chat))


def test_a_copy_of_a_conversation_that_outgrew_its_window_goes_on_like_it(small: System) -> None:
    small.configure("[model]\nwindow = 256\n")
    chat = int(small.json("run", "chat", "--bg")["pid"])
    for number in range(6):
        before = small.ps(chat)["tokens_out"]
        small.ok("send", str(chat), f"Tell me in one sentence about the number {number}.")
        in_the_middle(small, chat, before + 1)
        small.ok("wait", str(chat), "--state", "waiting")
    assert "window" in small.ok("logs", str(chat)), "it has not outgrown the window"
    small.ok("snap", "save", str(chat), "--name", "grown")
    said = small.ok("logs", str(chat), "--output")
    copies = [small.ok("snap", verb, id, "And now?") for verb, id in (("restore", "grown"), ("fork", str(chat)))]
    small.ok("send", str(chat), "And now?")
    in_the_middle(small, chat, small.ps(chat)["tokens_out"] + 1)
    small.ok("wait", str(chat), "--state", "waiting")
    assert [small.ok("logs", str(chat), "--output").removeprefix(said)] * 2 == copies
    small.ok("kill", str(chat))


def test_a_child_begins_with_a_copy_of_its_parents_context(system: System) -> None:
    install(
        system,
        "parent",
        """
import json

async def main(agent):
    if agent.history is not None:
        reply = await agent.chat([*agent.history.messages, {"role": "user", "content": agent.task}], max_tokens=8)
        agent.write(json.dumps([len(agent.history.messages), agent.history.unfinished, reply.tokens_cached]))
        return
    reply = await agent.chat([{"role": "system", "content": "Be brief. " * 30}, {"role": "user", "content": "Hi!"}])
    child = await agent.fork("Say it again.")
    agent.write((await agent.wait(child)).output + "|" + str(reply.tokens_in + reply.tokens_out))
""",
    )
    told, _, tokens = system.ok("run", "parent").partition("|")
    num_messages, unfinished, cached = json.loads(told)
    assert (num_messages, unfinished) == (3, False)
    assert cached >= int(tokens) - 2


def test_contexts_are_compared_by_token(system: System) -> None:
    pid = tell(system, GREEDY)
    in_the_middle(system, pid, 20)
    system.ok("snap", "save", str(pid), "--name", "a")
    in_the_middle(system, pid, 60)
    system.ok("snap", "save", str(pid), "--name", "b")
    assert system.run("wait", str(pid)).returncode == 0
    same = system.run("snap", "diff", "a", "a")
    assert (same.returncode, "@" in same.stdout) == (0, False)
    differ = system.run("snap", "diff", "a", "b", "--json")
    assert differ.returncode == 1
    compared = json.loads(differ.stdout)
    a, b = (system.json("snap", "show", id) for id in "ab")
    (stretch,) = compared["stretches"]
    assert compared["shared"] == len(a["token_ids"]) == stretch["a_start"]
    assert stretch["b"] == "".join(b["pieces"][compared["shared"] :])
    assert "".join(b["pieces"]).startswith("".join(a["pieces"]))
    assert system.run("snap", "diff", "a", "gone").returncode == 1


def test_files_that_are_not_sound_are_refused_in_one_line(system: System, tmp_path: Path) -> None:
    pid = tell(system, {"max_tokens": 8})
    in_the_middle(system, pid, 3)
    good, bad = tmp_path / "good.aios", tmp_path / "bad.aios"
    if system.run("snap", "export", str(pid), str(good)).returncode:  # it has ended meanwhile
        system.ok("snap", "export", "a", str(good))
    data = good.read_bytes()
    kept = system.json("snap", "ls")
    bads = [b"", b"%PDF-1.7 and so on", data[:-100], data + b"\0", bytes([*data[:8], 9, *data[9:]])]
    for number in range(0, len(data), len(data) // 12):
        bads.append(data[:number] + bytes([data[number] ^ 1]) + data[number + 1 :])
    for content in bads:
        bad.write_bytes(content)
        done = system.run("snap", "import", str(bad))
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1), done.stderr
        assert done.stderr.startswith(f"aios: {bad}: ")
    assert system.json("snap", "ls") == kept
    assert system.run("snap", "export", "a", str(good)).stderr.endswith("--force replaces it\n")
    assert system.run("snap", "import", "/dev/zero").stderr == "aios: /dev/zero: not a snapshot\n"


def test_what_is_saved_survives_the_kernels_death(system: System) -> None:
    kept = {snap["id"]: snap for snap in system.json("snap", "ls") if snap["saved"]}
    shown = system.json("snap", "show", "b")
    os.kill(system.json("kernel", "status")["pid"], signal.SIGKILL)
    assert {snap["id"]: snap for snap in system.json("snap", "ls")} == kept
    assert system.json("snap", "show", "b") == shown
    assert len(system.ok("snap", "restore", "b", "Who is in the story?")) > 10
    assert system.run("snap", "rm", "a", "b").returncode == 0
    assert system.run("snap", "rm", "a").returncode == 1

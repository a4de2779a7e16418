"""The lab that agents are tested in: a real kernel whose model says what the test wants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aios_agents.testing import Lab, Reply, call, record, replay
from aios_kernel.errors import BadRequest

PROGRAM = """
from aios_agents import Agent, tool

@tool
def shout(text: str) -> str:
    "Say it loudly."
    return text.upper()

class T(Agent):
    greeting = "Hello"

    async def run(self):
        return await getattr(self, f"do_{self.task}")()

    async def do_greet(self):
        self.write(f"{self.greeting}, {await self.stdin.read()} {(await self.recv()).text}\\n")
        return 3

    async def do_tools(self):
        messages = [{"role": "user", "content": "Shout and reckon."}]
        self.write((await self.run_tools(messages, [shout, "calculator"])).text)

    async def do_turns(self):
        talk = self.conversation("Be kind.", max_tokens=4)
        await talk.say("one")
        await talk.say("two")

    async def do_json(self):
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        self.write(str((await self.ask_json("A number?", schema))["n"]))

    async def do_everything(self):
        await self.do_turns()
        await self.do_json()
        messages = [{"role": "user", "content": "Shout hello."}]
        await self.run_tools(messages, [shout], rounds=1, tool_choice="required", max_tokens=64)
        self.write(str(messages[1:]))

    async def do_stream(self):
        self.write("".join([piece async for piece in self.stream("Count.")]))

    async def do_go_on(self):
        messages = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "One, "}]
        self.write((await self.chat(messages, continue_final_message=True)).text)

    async def do_keep(self):
        await self.files.write("notes/a.txt", "one\\n")
        await self.files.append("notes/a.txt", "two\\n")
        assert await self.files.read("notes/a.txt") == "one\\ntwo\\n"
        assert await self.files.read("notes/a.txt", -1) == "one\\n"
        assert await self.files.read_bytes("notes/a.txt") == b"one\\ntwo\\n"
        assert [entry.path for entry in await self.files.entries("notes")] == ["notes/a.txt"]
        assert len(await self.files.history("notes/a.txt")) == 2
        assert "+two" in await self.files.diff("notes/a.txt")
        assert (await self.files.search("two")).hits[0].path == "notes/a.txt"
        await self.files.create("b.bin", b"\\xff\\x00")
        assert await self.files.read_bytes("b.bin") == b"\\xff\\x00"

    async def do_remember(self):
        note = await self.memory.add("Ada likes rain in April.", tags=["weather"])
        await self.memory.add("The kettle is in the kitchen.")
        hits = await self.memory.search("rain")
        assert [hit.note.id for hit in hits][:1] == [note.id]
        assert (await self.memory.update(note.id, content="Ada likes snow.")).version == 2
        assert (await self.memory.get(note.id)).content == "Ada likes snow."
        await self.memory.remove(note.id)
        assert [each.content for each in await self.memory.newest()] == ["The kettle is in the kitchen."]

    async def do_throw_away(self):
        await self.files.append("a.txt", "one\\n")
        self.write(str(await self.files.delete("a.txt")))

    async def do_rights(self):
        await self.request_access("file:read", "a.txt", why="to read it")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("lab") / "t"
    made.mkdir()
    (made / "agent.toml").write_text('name = "t"\ndescription = "A test."\nentry = "agent:T"\nreads_stdin = true\n')
    (made / "agent.py").write_text(PROGRAM)
    return made


@pytest.fixture(scope="module")
def lab(folder: Path) -> Iterator[Lab]:
    with Lab(folder) as lab:
        yield lab
    assert not lab.home.exists()


def test_a_subclass_is_an_agent(lab: Lab) -> None:
    run = lab.run("t", "greet", stdin="world", messages=["and you"])
    assert (run.exit_code, run.stdout, run.asked) == (3, "Hello, world and you\n", [])


def test_replies_are_given_in_order_and_what_was_asked_is_told(lab: Lab) -> None:
    run = lab.run("t", "turns", replies=["First.", "Second."])
    assert run.stdout == "First.\nSecond.\n"
    assert run.asked[1].messages == [
        ("system", "Be kind."),
        ("user", "one"),
        ("assistant", "First."),
        ("user", "two"),
    ]
    assert [asked.reply for asked in run.asked] == ["First.", "Second."]
    assert run.syscalls == ["llm.chat ok", "llm.chat ok"]


def test_a_reply_may_wait_for_its_question(lab: Lab) -> None:
    replies = [Reply("To two.", when=("two",)), Reply("To one.", when=("Be kind.", "one"))]
    assert lab.run("t", "turns", replies=replies).stdout == "To one.\nTo two.\n"


def test_tools_are_called_as_the_model_calls_them(lab: Lab) -> None:
    replies = [call("shout", text="hey"), call("calculator", expression="6 * 7"), "Done."]
    run = lab.run("t", "tools", replies=replies)
    assert (run.stdout, [asked.last for asked in run.asked[1:]]) == ("Done.", ["HEY", "42"])


def test_json_streams_and_replies_that_go_on(lab: Lab) -> None:
    assert lab.run("t", "json", replies=['{"n": 7}']).stdout == "7"
    assert lab.run("t", "stream", replies=["one two"]).stdout == "one two"
    assert lab.run("t", "go_on", replies=["One, two, three."]).stdout == "two, three."


def test_max_tokens_and_a_reply_that_is_cut(lab: Lab) -> None:
    run = lab.run("t", "turns", replies=["one two three four five", Reply("And so", cut=True)])
    assert run.stdout == "one two three four\nAnd so\n"


def test_a_question_without_a_reply_fails_that_call_and_says_which(lab: Lab) -> None:
    run = lab.run("t", "turns", replies=["First."])
    assert (run.exit_code, run.syscalls) == (1, ["llm.chat ok", "llm.chat EIO"])
    assert "the script has no reply to 'two'" in run.stderr
    assert [asked.reply for asked in run.asked] == ["First.", None]


def test_json_that_breaks_its_schema_fails_as_on_a_real_model(lab: Lab) -> None:
    run = lab.run("t", "json", replies=['{"n": "x"}'])
    assert (run.exit_code, "does not validate" in run.stderr) == (1, True)


@pytest.mark.parametrize("what", ["keep", "remember", "rights"])
def test_files_memory_and_rights(lab: Lab, what: str) -> None:
    run = lab.run("t", what, allow=True)
    assert (run.exit_code, run.stderr) == (0, "")


def test_a_person_says_no_unless_the_test_says_yes(lab: Lab) -> None:
    run = lab.run("t", "throw_away")
    assert (run.exit_code, run.questions) == (126, ["delete a.txt (to the bin)"])
    run = lab.run("t", "throw_away", allow=True)
    assert (run.exit_code, run.stdout) == (0, "1")


@pytest.mark.model
def test_what_the_model_said_once_can_be_replayed(lab: Lab, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "everything.json"
    recorded = record(folder, "everything", file)
    replies = replay(file)
    run = lab.run("t", "everything", replies=replies)
    assert (run.exit_code, run.stdout, run.stderr) == (0, recorded.stdout, recorded.stderr)
    assert run.syscalls == recorded.syscalls
    assert [reply.cut for reply in replies[:2]] == [True, True]
    assert [asked.reply for asked in run.asked] == [reply.say for reply in replies]
    assert any("<tool_call>" in reply.say for reply in replies)


def test_a_manifest_limits_every_process_of_its_agent(tmp_path: Path) -> None:
    for name, more in (
        ("slow", "[limits]\ndeadline_s = 0.2\n"),
        ("low", 'group = "guest"\n'),
        ("odd", 'group = "x"\n'),
    ):
        (tmp_path / name).mkdir()
        manifest = f'name = "{name}"\ndescription = "A test."\nentry = "agent:main"\n{more}'
        (tmp_path / name / "agent.toml").write_text(manifest)
    (tmp_path / "slow" / "agent.py").write_text("async def main(agent): await agent.recv()\n")
    (tmp_path / "low" / "agent.py").write_text("async def main(agent): agent.write((await agent.me()).group)\n")
    with Lab(*(tmp_path / name for name in ("slow", "low", "odd"))) as lab:
        assert lab.run("slow").exit_code == 124
        assert lab.run("slow", messages=["go on"], deadline_s=60.0).exit_code == 0
        assert [lab.run("low", group=group).stdout for group in ("guest", "user", "operator")] == ["guest"] * 3
        with pytest.raises(BadRequest, match="group 'x'"):
            lab.run("odd")

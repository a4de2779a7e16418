"""The transcript and the contexts over a real kernel with real agents."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factories import live
from system import System
from textual import on
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.screen import Screen

from aios_kernel.client import KernelClient
from aios_shell.tui.acts import Acts
from aios_shell.tui.messages import Act, Notice, Say
from aios_shell.tui.record import Kind
from aios_shell.tui.screens.dialogs import Choose
from aios_shell.tui.widgets.contexts import Contexts
from aios_shell.tui.widgets.transcript import Transcript

pytestmark = [pytest.mark.anyio, pytest.mark.model]

PATIENCE = 600  # times 0.1 s


class Reading(App[None]):
    """Both, and what is said goes to the mailbox."""

    def __init__(self, client: KernelClient) -> None:
        super().__init__()
        self.client = client
        self.live = live(*client.procs(all=True))

    def compose(self) -> ComposeResult:
        yield Transcript(self.live)
        yield Contexts(self.live)

    @on(Say)
    def _say(self, event: Say) -> None:
        self.client.send(event.pid, event.text)

    def texts(self, pid: int, kind: Kind) -> list[str]:
        return [part.text for part in self.query_one(Transcript)._records[pid].parts if part.kind is kind]


async def until_told(pilot: Pilot[None], app: Reading, pid: int, kind: Kind) -> list[str]:
    for _ in range(PATIENCE):
        if texts := app.texts(pid, kind):
            return texts
        await pilot.pause(0.1)
    pytest.fail(f"process {pid} told no {kind}")


RUNNER = """
from aios_kernel.errors import NotPermitted

async def main(agent):
    try:
        agent.write(str(await agent.tool("python", code=agent.task)))
    except NotPermitted as error:
        agent.write(error.message)
        return 126
"""


@pytest.mark.parametrize(("answer", "status"), [("once", 0), ("no", 126)])
async def test_code_is_read_before_it_is_allowed(system: System, answer: str, status: int) -> None:
    folder = system.home / "data" / "agents" / "runner"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "agent.toml").write_text('name = "runner"\ndescription = "Runs code."\nentry = "agent:main"\n')
    (folder / "agent.py").write_text(RUNNER)
    pid = system.start("runner", "x = 40\n\n\nprint(x + 2)")
    system.ok("wait", str(pid), "--state", "asking", "--timeout", "60")
    client, posted, seen = system.client(), list[object](), list[Screen[str | None]]()

    async def choose(screen: Screen[str | None]) -> str | None:
        seen.append(screen)
        return answer

    procs = {proc.pid: proc for proc in client.procs()}
    stale = {pid: replace(procs[pid], reason="run python: print(42)")}
    await Acts(client, stale, choose, posted.append).perform(Act("approve", (pid,)))
    assert [event.text.partition(":")[0] for event in posted if isinstance(event, Notice)] == [
        f"process {pid} asks something else now"
    ]
    await Acts(client, procs, choose, posted.append).perform(Act("approve", (pid,)))
    (screen,) = seen
    assert isinstance(screen, Choose)
    assert "allow tool:exec python until it ends" in [does for _, _, does in screen._answers]
    assert screen._detail == "x = 40\n\n\nprint(x + 2)"
    assert system.run("wait", str(pid)).returncode == status
    assert ("42" in system.ok("logs", str(pid), "--output")) == (status == 0)


async def test_a_talk_is_read_and_its_context_shown(system: System) -> None:
    talk, story = system.start("chat", ""), system.start("narrate", "a fox")
    app = Reading(system.client())
    async with app.run_test(size=(100, 40)) as pilot:
        transcript = app.query_one(Transcript)
        transcript.watch_pid(story)
        assert "ended" in await until_told(pilot, app, story, Kind.END)
        assert "".join(app.texts(story, Kind.OUTPUT)) == system.ok("logs", str(story), "--output")
        transcript.watch_pid(talk)
        transcript.query_one("#say").focus()
        await pilot.press(*"hello", "enter")
        assert await until_told(pilot, app, talk, Kind.OUTPUT)
        system.ok("snap", "save", str(talk), "--name", "talk")
        contexts = app.query_one(Contexts)
        contexts.reload()
        for _ in range(PATIENCE):
            if contexts._shown is not None and contexts._shown.id == "talk":
                break
            await pilot.pause(0.1)
        said = [part.text.strip() for part in contexts._page._parts if part.kind is Kind.OUTPUT]
        assert "hello" in said

"""The transcript and the contexts over a real kernel with real agents."""

from __future__ import annotations

import pytest
from factories import live
from system import System
from textual import on
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from aios_kernel.client import KernelClient
from aios_shell.tui.messages import Say
from aios_shell.tui.record import Kind
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

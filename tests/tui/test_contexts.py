"""The list of contexts, the conversation of the chosen one, and the command lines that its keys run."""

from __future__ import annotations

from typing import Any

import pytest
from factories import NOW, live, proc
from textual import on
from textual.app import App, ComposeResult
from textual.events import Key
from textual.message import Message
from textual.pilot import Pilot
from textual.widgets import DataTable

from aios_kernel.client import KernelClient
from aios_kernel.errors import NoSuchSnapshot
from aios_kernel.protocol import SnapshotDetail, SnapshotInfo, Tier
from aios_shell.tui.live import Live
from aios_shell.tui.messages import Act, Notice, Run
from aios_shell.tui.widgets.contexts import REST_S, Contexts

pytestmark = pytest.mark.anyio


def snap(id: str, pid: int, **changes: Any) -> SnapshotInfo:
    fields: dict[str, Any] = {"tokens": 1200, "bytes": 29_000_000, "tier": Tier.DISK, "created_at": NOW, "exact": True}
    return SnapshotInfo(id, pid, **(fields | {"agent": "chat", "saved": True} | changes))


STORY, OTHER, OFF = snap("story", 3), snap("other one's", 4), snap("12", 12, saved=False, tier=Tier.RAM)


class Kept(KernelClient):
    """A kernel's contexts, made by hand."""

    def __init__(self, *snapshots: SnapshotInfo, said: str = "Tell me of *Rome*") -> None:
        super().__init__("/nowhere")
        self.kept = list(snapshots)
        self._said = said

    def snapshots(self) -> list[SnapshotInfo]:
        return self.kept

    def snapshot(self, id: str) -> SnapshotDetail:
        found = next((snap for snap in self.kept if snap.id == id), None)
        if found is None:
            raise NoSuchSnapshot(f"no snapshot is called '{id}'", id=id)
        return SnapshotDetail(
            **{name: getattr(found, name) for name in SnapshotInfo.__slots__},
            task="",
            model="small.gguf",
            messages=[
                {"role": "user", "content": self._said},
                {"role": "assistant", "content": f"Of {id}", "tool_calls": [{"name": "calculator"}]},
            ],
            unfinished=True,
            options={},
            prompt_tokens=1190,
            reply_tokens=10,
            kv_bytes=1,
            build="",
            fits=True,
            token_ids=[],
            pieces=[],
        )


class Host(App[None]):
    """An app that has only the contexts."""

    def __init__(self, live: Live, client: KernelClient) -> None:
        super().__init__()
        self.live, self.client = live, client
        self.posted: list[Message] = []

    def compose(self) -> ComposeResult:
        yield Contexts(self.live)

    @on(Act)
    @on(Run)
    @on(Notice)
    def _note(self, event: Message) -> None:
        self.posted.append(event)

    def screen_text(self) -> str:
        return "\n".join(
            "".join(segment.text for segment in strip) for strip in self.screen._compositor.render_strips()
        )

    def lines(self) -> list[str]:
        return [event.line for event in self.posted if isinstance(event, Run)]


async def settled(pilot: Pilot[Any]) -> None:
    """Wait for the list and then for the conversation."""
    for _ in range(3):
        await pilot.app.workers.wait_for_complete()
        await pilot.pause(REST_S + 0.05)


async def test_it_lists_by_process_and_previews_the_first() -> None:
    app = Host(live(proc(12)), Kept(OFF, STORY, OTHER))
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        text = app.screen_text()
        assert text.index("story") < text.index("other one's") < text.index("of 12, off its slot")
        assert all(part in text for part in ("1,200", "29.0 MB", "disk", "Tell me of Rome", "Of story"))
        assert "assistant (unfinished)" in text
        assert "1,190 prompt and 10 reply tokens · small.gguf" in text
        app.query_one(DataTable).focus()
        await pilot.press("j")
        await settled(pilot)
        assert "Of other one's" in app.screen_text()


async def test_keys_run_the_shells_lines() -> None:
    app = Host(live(proc(12)), Kept(STORY, OTHER))
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        app.query_one(DataTable).focus()
        await pilot.press("D", "space", "R", "e", "down", "space", "D", "F")
        assert app.lines() == [
            "snap restore --bg story",
            "snap export story story.aios",
            "snap diff story 'other one'\\''s'",
            "snap restore --bg 'other one'\\''s'",
        ]
        assert [event.text for event in app.posted if isinstance(event, Notice)] == [
            "mark two contexts with space to compare them"
        ]


async def test_a_living_process_is_forked_resumed_and_saved() -> None:
    app = Host(live(proc(12)), Kept(OFF))
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        app.query_one(DataTable).focus()
        await pilot.press("w", "F", "R")
        acts = [(event.verb, event.pids) for event in app.posted if isinstance(event, Act)]
        assert acts == [("save", (12,)), ("fork", (12,)), ("resume", (12,))]


async def test_removing_asks_first() -> None:
    app = Host(live(), Kept(STORY))
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        app.query_one(DataTable).focus()
        await pilot.press("delete", "n")
        await pilot.pause()
        assert app.lines() == []
        await pilot.press("delete", "y")
        await pilot.pause()
        assert app.lines() == ["snap rm story"]


async def test_the_cursor_stays_at_its_context_and_a_removed_one_goes() -> None:
    client = Kept(STORY, OTHER)
    app = Host(live(), client)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        app.query_one(DataTable).focus()
        await pilot.press("down")
        client.kept = [snap("earlier", 1), STORY, OTHER]
        app.query_one(Contexts).reload()
        await settled(pilot)
        await pilot.press("e")
        client.kept = []
        app.query_one(Contexts).reload()
        await settled(pilot)
        await pilot.press("e")
        assert app.lines() == ["snap export 'other one'\\''s' 'other one'\\''s.aios'"]
        assert "no contexts yet" in app.screen_text()


@pytest.mark.parametrize("width", [20, 80, 1000])
async def test_names_and_conversations_are_made_safe(width: int) -> None:
    bad = snap("x\x1b[31m[red]" + "漢" * 300, 3, agent="[/oops]\x9b", error="\x1b]0;t\x07[bold")
    app = Host(live(), Kept(bad, said="\x1b[2J[@click=app.quit]x[/]\n" + "y" * 100_000))
    async with app.run_test(size=(width, 30)) as pilot:
        await settled(pilot)
        text = app.screen_text()
        assert not [char for char in text if char != "\n" and (char < " " or "\x7f" <= char <= "\x9f")]
        assert "no contexts yet" not in text


async def test_keys_typed_at_once_are_for_the_row_under_the_cursor() -> None:
    app = Host(live(proc(12)), Kept(STORY, OTHER))
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        app.query_one(DataTable).focus()
        for key in ("space", "j", "space", "D", "F"):
            app.post_message(Key(key, " " if key == "space" else key))
        await settled(pilot)
        assert app.lines() == ["snap diff story 'other one'\\''s'", "snap restore --bg 'other one'\\''s'"]

"""The transcript on a screen: follows, pauses, finds, copies, asks, and lets nothing through."""

from __future__ import annotations

from typing import Any

import pytest
from factories import live, proc
from streams import HOSTILE, ScriptedClient, out, told
from textual import on
from textual.app import App, ComposeResult
from textual.events import Key
from textual.message import Message
from textual.pilot import Pilot
from textual.widgets import Input

from aios_kernel.client import KernelClient
from aios_kernel.protocol import Event, EventKind, ProcState
from aios_shell.tui.live import Live
from aios_shell.tui.messages import Act, Notice, Say
from aios_shell.tui.widgets.page import Page
from aios_shell.tui.widgets.transcript import REST_S, Transcript

pytestmark = pytest.mark.anyio


class Host(App[None]):
    """An app that has only a transcript."""

    def __init__(self, live: Live, *events: Event) -> None:
        super().__init__()
        self.live = live
        self.client: KernelClient = ScriptedClient((list(events), "silence"))
        self.posted: list[Message] = []

    def compose(self) -> ComposeResult:
        yield Transcript(self.live)

    @on(Act)
    @on(Say)
    @on(Notice)
    def _note(self, event: Message) -> None:
        self.posted.append(event)

    @property
    def transcript(self) -> Transcript:
        return self.query_one(Transcript)

    @property
    def page(self) -> Page:
        return self.query_one(Page)

    def screen_text(self) -> list[str]:
        return ["".join(segment.text for segment in strip) for strip in self.screen._compositor.render_strips()]


async def read(pilot: Pilot[Any], pid: int = 12) -> Host:
    """Choose the process and wait until all that there is has been drawn."""
    host = pilot.app
    assert isinstance(host, Host)
    host.transcript.watch_pid(pid)
    await pilot.pause(REST_S)
    reader = None
    for _ in range(200):
        reader = host.transcript._reader
        if reader is not None and isinstance(host.client, ScriptedClient):
            opened = host.client.opened
            if opened and reader._after >= max((e.seq for e in opened[-1]._events), default=-1):
                break
        await pilot.pause(0.02)
    for _ in range(200):
        if reader is not None and not reader._events and host.transcript._drawing is None:
            break
        await pilot.pause(0.02)
    await pilot.pause()
    return host


def lines(num: int, start: int = 0) -> bytes:
    return b"".join(b"line %d\n\n" % number for number in range(start, start + num))


async def test_without_a_process_it_says_what_to_do() -> None:
    async with Host(live()).run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert any("choose a process" in line for line in pilot.app.screen_text())  # type: ignore[attr-defined]


async def test_it_follows_pauses_and_resumes() -> None:
    app = Host(live(proc(12)), out(0, lines(200)))
    async with app.run_test(size=(80, 24)) as pilot:
        await read(pilot)
        assert any("line 199" in line for line in app.screen_text())
        assert "following" in app.screen_text()[0]
        app.page.focus()
        await pilot.press("pageup")
        assert "paused, End resumes" in app.screen_text()[0]
        before = [line[:-1] for line in app.screen_text()[3:-2]]  # without the scrollbar
        app.transcript._records[12].add([out(1, lines(50, 200))])
        app.page.settle()
        await pilot.pause()
        assert [line[:-1] for line in app.screen_text()[3:-2]] == before
        await pilot.press("end")
        assert "following" in app.screen_text()[0]
        assert any("line 249" in line for line in app.screen_text())


async def test_it_stays_at_the_same_line_when_the_terminal_changes() -> None:
    app = Host(live(proc(12)), out(0, lines(200)))
    async with app.run_test(size=(80, 24)) as pilot:
        await read(pilot)
        app.page.focus()
        for _ in range(4):
            await pilot.press("pageup")
        top = app.screen_text()[2].strip(" ▁▂▃▄▅▆▇█")
        for width in (20, 1000, 33, 120, 80):
            await pilot.resize_terminal(width, 24)
            await pilot.pause()
            assert app.screen_text()[2].strip(" ▁▂▃▄▅▆▇█").startswith(top)


async def test_it_is_drawn_anew_in_another_theme() -> None:
    app = Host(live(proc(12)), out(0, b"# hello\n"))
    async with app.run_test(size=(80, 24)) as pilot:
        await read(pilot)
        former = app.page.look
        app.theme = "textual-light"
        await pilot.pause()
        assert app.page.look != former
        app.page.focus()
        await pilot.pause()
        assert any("hello" in line for line in app.screen_text())


async def test_nothing_hostile_reaches_the_screen_or_breaks_it() -> None:
    task, agent = "task \x1b[2J [red]x[/] [/oops]\n" * 3, "ch\x1b]0;x\x07at[/]"
    events = [
        out(seq, data, kind)
        for seq, (data, kind) in enumerate(
            (data, kind) for data in HOSTILE for kind in (EventKind.STDOUT, EventKind.STDERR)
        )
    ]
    events.append(told(99, EventKind.WINDOW, "\x1b[31m[bold]dropped[/bold]\x9b"))
    asking = proc(12, state=ProcState.ASKING, reason="may \x1b[31m[red]rm[/] \u202e", task=task, agent=agent)
    app = Host(live(asking), *events)
    async with app.run_test(size=(80, 24)) as pilot:
        await read(pilot)
        app.page.focus()
        for key in ("e", "m", "home", "pagedown", "m", "end"):
            await pilot.press(key)
            await pilot.pause()
            text = "\n".join(app.screen_text())
            assert not [char for char in text if char != "\n" and (char < " " or "\x7f" <= char <= "\x9f")]
            assert "\u202e" not in text


async def test_ten_megabytes_in_one_stream_keep_the_keys_alive() -> None:
    block = (b"x" * 79 + b"\n") * 800
    app = Host(live(proc(12)), *(out(seq, block) for seq in range(160)))
    async with app.run_test(size=(80, 24)) as pilot:
        await read(pilot)
        app.page.focus()
        await pilot.press("home")
        assert any("characters before this are left out" in line for line in app.screen_text())


async def test_a_link_is_shown_and_no_click_opens_it(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(App, "open_url", lambda self, url, **_: opened.append(url))
    app = Host(live(proc(12)), out(0, b"[safe](http://evil.example/x) ![cat](http://evil.example/y.png)\n"))
    async with app.run_test(size=(100, 24)) as pilot:
        await read(pilot)
        assert "safe (http://evil.example/x) [image: cat] (http://evil.example/y.png)" in app.screen_text()[2]
        for x in (4, 12, 45, 60):
            await pilot.click(Page, offset=(x, 0))
        assert opened == []


async def test_search_goes_from_hit_to_hit() -> None:
    app = Host(live(proc(12)), out(0, lines(300)))
    async with app.run_test(size=(80, 24)) as pilot:
        await read(pilot)
        app.page.focus()
        await pilot.press("slash", *"Line 7", "enter")
        await pilot.pause()
        assert "11 found" in app.screen_text()[0]
        assert any("line 79" in line for line in app.screen_text())
        await pilot.press("N")
        assert any("line 78" in line for line in app.screen_text())
        await pilot.press("n", "n")
        assert any("line 7 " in line for line in app.screen_text())
        await pilot.press("slash", "escape")
        assert app.page._pattern is None


async def test_copy_takes_the_reply_and_the_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Host(
        live(proc(12)), out(0, b"first\n"), told(1, EventKind.SYSCALL, "llm.chat ok"), out(2, b"*sec*ond\n\nrest\n")
    )
    async with app.run_test(size=(80, 24)) as pilot:
        await read(pilot)
        app.page.focus()
        await pilot.press("y")
        assert app.clipboard == "*sec*ond\n\nrest"
        await pilot.mouse_down(Page, offset=(3, 0))
        await pilot.hover(Page, offset=(6, 2))
        await pilot.mouse_up(Page, offset=(6, 2))
        await pilot.press("y")
        assert "first" in app.clipboard
        assert "sec" in app.clipboard
        assert "rest" not in app.clipboard


async def test_marks_unfold_by_key_and_click() -> None:
    app = Host(live(proc(12)), out(0, b"hello\n"), told(1, EventKind.SYSCALL, "tool.call EPERM"))
    async with app.run_test(size=(80, 24)) as pilot:
        await read(pilot)
        app.page.focus()
        assert any("▸ tool.call EPERM" in line for line in app.screen_text())
        await pilot.press("e")
        assert any("syscall tool.call EPERM" in line for line in app.screen_text())
        await pilot.click(Page, offset=(4, 1))
        assert not any("syscall tool.call EPERM" in line for line in app.screen_text())


async def test_it_answers_for_the_process_that_asked() -> None:
    app = Host(live(proc(12, state=ProcState.ASKING, reason="fs.write a.txt")))
    async with app.run_test(size=(80, 24)) as pilot:
        await read(pilot)
        app.page.focus()
        await pilot.press("a")
        await pilot.press("d")
        assert [(e.verb, e.pids) for e in app.posted if isinstance(e, Act)] == [("approve", (12,)), ("deny", (12,))]
        app.live.procs[12] = proc(12)
        app.transcript.show()
        await pilot.press("a")
        assert len(app.posted) == 2


async def test_a_line_is_sent_and_shown() -> None:
    app = Host(live(proc(12)), out(0, b"hello\n"))
    async with app.run_test(size=(80, 24)) as pilot:
        await read(pilot)
        app.page.focus()
        await pilot.press("enter", *"and you")
        shown = {active.binding.description for active in app.screen.active_bindings.values() if active.binding.show}
        assert shown >= {"Done", "Leave"}
        assert "Find" not in shown
        await pilot.press("enter")
        assert [(e.pid, e.text) for e in app.posted if isinstance(e, Say)] == [(12, "and you")]
        assert any("› and you" in line for line in app.screen_text())
        await pilot.press("escape")
        assert app.focused is app.page


async def test_lines_typed_ahead_are_sent_one_by_one() -> None:
    app = Host(live(proc(12)), out(0, b"hello\n"))
    async with app.run_test(size=(80, 24)) as pilot:
        await read(pilot)
        app.transcript.action_write()
        for key in (*"one", "enter", *"two", "enter", *"thr"):
            app.post_message(Key(key, "\r" if key == "enter" else key))
        await pilot.pause()
        await pilot.pause()
        assert [e.text for e in app.posted if isinstance(e, Say)] == ["one", "two"]
        assert app.query_one("#say", Input).value == "thr"
        assert app.transcript.writing
        await pilot.press("escape")
        assert not app.transcript.writing


async def test_an_ended_process_is_not_written_to() -> None:
    app = Host(live(proc(12, state=ProcState.EXITED, exit_code=0)), out(0, b"x\n"), told(1, EventKind.EXIT, "0"))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        app.transcript.watch_pid(12)
        await pilot.pause(REST_S + 0.3)
        assert app.query_one("#say", Input).disabled
        assert any(line.strip() == "ended" for line in app.screen_text())


async def test_switching_back_reads_only_what_is_new() -> None:
    app = Host(live(proc(12), proc(13)), out(0, b"one\n"), out(1, b"two\n"))
    client = app.client
    assert isinstance(client, ScriptedClient)
    client._streams += [([out(0, b"other\n")], "silence"), ([out(2, b"three\n")], "silence")]
    async with app.run_test(size=(80, 24)) as pilot:
        await read(pilot, 12)
        await read(pilot, 13)
        assert any("other" in line for line in app.screen_text())
        await read(pilot, 12)
        assert client.asked == [-1, -1, 1]
        assert all(any(word in line for line in app.screen_text()) for word in ("one", "two", "three"))
        assert all(script.closed.is_set() for script in client.opened[:2])

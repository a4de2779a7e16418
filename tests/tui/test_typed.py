"""Keys that come faster than they are looked at, and what is pasted."""

from __future__ import annotations

from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.events import Key, Paste
from textual.pilot import Pilot
from textual.widgets import Input

from aios_shell.tui.screens.dialogs import Ask, Choose
from aios_shell.tui.widgets.typed import LineInput

pytestmark = pytest.mark.anyio

CHARACTERS = {"enter": "\r", "backspace": "\x7f", "escape": "\x1b", "ctrl+c": "\x03", "left": None}


async def type_at_once(pilot: Pilot[Any], *keys: str) -> None:
    """All are there before the first is looked at."""
    for key in keys:
        pilot.app.post_message(Key(key, CHARACTERS.get(key, key)))
    for _ in range(3):
        await pilot.pause()


class Host(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.submitted: list[str] = []

    def compose(self) -> ComposeResult:
        yield LineInput()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.submitted.append(event.value)


async def test_keys_have_their_effect_in_order() -> None:
    host = Host()
    async with host.run_test() as pilot:
        await type_at_once(pilot, *"hoo", "backspace", *"w", "left", "left", "left", *"s", "enter", *"!")
        assert host.submitted == ["show"]
        assert host.query_one(LineInput).value == "s!how"


async def test_a_paste_of_several_lines_loses_none() -> None:
    host = Host()
    async with host.run_test() as pilot:
        host.post_message(Paste("one\r\ntwo\n\nthree\n"))
        await pilot.pause()
        assert host.query_one(LineInput).value == "one two  three"


@pytest.mark.parametrize(
    ("keys", "answers"),
    [("kkk", ["kill"]), (("enter", "enter"), ["kill"]), (("escape", "escape"), [None]), (("ctrl+c",), [None])],
)
async def test_a_question_is_answered_once(keys: tuple[str, ...], answers: list[str | None]) -> None:
    host = Host()
    given: list[str | None] = []
    async with host.run_test() as pilot:
        host.push_screen(
            Choose("End 12", ["12 chat"], [("k", "kill", "end it"), ("t", "term", "ask it")]), given.append
        )
        await pilot.pause()
        await type_at_once(pilot, *keys)
        assert given == answers


async def test_a_typed_answer_is_given_once() -> None:
    host = Host()
    given: list[str | None] = []
    async with host.run_test() as pilot:
        host.push_screen(Ask("Nice", "a number"), given.append)
        await pilot.pause()
        await type_at_once(pilot, *"12", "enter", "enter")
        assert given == ["12"]

"""Questions over the app: choose one of a few, or type a line. Escape leaves them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from aios_shell.text import one_line
from aios_shell.tui.record import readable
from aios_shell.tui.widgets.typed import LineInput

Check = Callable[[str], str]  # a typed line to what is wrong with it, "" when nothing is


class Dialog(ModalScreen[str | None]):
    """Answered once: a key that was pressed twice answers no more than this."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+c", "leave", "Leave", id="dialog.leave")]

    def answer(self, result: str | None) -> None:
        if self.is_current:
            self.dismiss(result)

    def action_leave(self) -> None:
        self.answer(None)


class Choose(Dialog):
    """One of a few answers. Each has a key of its own; the result is its name, None when left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "turn(-1)", "Up", show=False, priority=True, id="dialog.up"),
        Binding("pagedown", "turn(1)", "Down", show=False, priority=True, id="dialog.down"),
    ]

    def __init__(
        self, title: str, lines: Sequence[str], answers: Sequence[tuple[str, str, str]], detail: str = ""
    ) -> None:
        """
        Args:
            answers: (key, name, what it does) each; the first one is highlighted.
            detail: a text that may be longer than the screen.
        """
        super().__init__()
        self._title, self._lines, self._answers, self._detail = title, lines, answers, detail

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = one_line(self._title)
            for line in self._lines:
                yield Static(Content(one_line(line)))
            if self._detail:
                with VerticalScroll(can_focus=False, classes="detail"):
                    yield Static(Content(readable(self._detail)))
            options = [Option(Content(f"{key}  {text}"), id=name) for key, name, text in self._answers]
            yield OptionList(*options)

    def action_turn(self, pages: int) -> None:
        for detail in self.query(VerticalScroll):
            detail.scroll_relative(y=pages * max(1, detail.size.height - 1), animate=False)

    def key_pressed(self, key: str) -> str | None:
        return next((name for of, name, _ in self._answers if of == key), None)

    def on_key(self, event: object) -> None:
        name = self.key_pressed(getattr(event, "key", ""))
        if name is not None:
            self.answer(name)

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.answer(event.option_id)


class Ask(Dialog):
    """A line to type; the result is what was typed, None when left."""

    def __init__(self, title: str, hint: str, value: str = "", check: Check | None = None) -> None:
        super().__init__()
        self._title, self._hint, self._value, self._check = title, hint, value, check

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = one_line(self._title)
            yield LineInput(self._value, placeholder=one_line(self._hint))
            yield Static(Content(one_line(self._hint)), classes="hint")

    @on(Input.Submitted)
    def _typed(self, event: Input.Submitted) -> None:
        problem = self._check(event.value) if self._check else ""
        if problem:
            self.query_one(".hint", Static).update(Content(one_line(problem)))
            self.query_one(".hint").add_class("-wrong")
        else:
            self.answer(event.value)

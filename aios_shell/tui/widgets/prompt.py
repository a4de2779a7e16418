"""The text of the command line: colours as it is typed, history, and the keys of a shell."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import ClassVar, Final

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import TextArea

from aios_shell.language.highlight import highlight
from aios_shell.tui.widgets.typed import InOrder

KINDS: Final = ("command", "agent", "string", "variable", "operator", "comment")


class Recall:
    """Walks through what was typed before: only entries that begin as the line did when the walk began."""

    def __init__(self, entries: list[str]) -> None:
        """entries: the oldest first."""
        self._entries = entries
        self._index: int | None = None  # None: no walk
        self._start = ""

    def add(self, entry: str) -> bool:
        """A line that was run. False when it is only the last one again."""
        self._index = None
        fresh = not self._entries or self._entries[-1] != entry
        if fresh:
            self._entries.append(entry)
        return fresh

    def stop(self) -> None:
        """The line was edited: the next walk begins with it."""
        self._index = None

    def walk(self, text: str, step: int) -> str | None:
        """The entry before (step -1) or after (1) in the walk; past the newest, what was typed. None: no further."""
        if self._index is None:
            if step > 0:
                return None
            self._index, self._start = len(self._entries), text
        index = self._index + step
        while 0 <= index < len(self._entries):
            entry = self._entries[index]
            if entry.startswith(self._start) and entry != text:
                self._index = index
                return entry
            index += step
        if step > 0:
            self._index = None
            return self._start
        return None

    def suggest(self, text: str) -> str:
        """What the newest entry that begins with `text` goes on with."""
        if not text.strip():
            return ""
        return next((e[len(text) :] for e in reversed(self._entries) if e.startswith(text) and e != text), "")

    def search(self, text: str) -> list[str]:
        """Entries with all of the words in them, each once, the oldest first."""
        words = text.lower().split()
        found = dict.fromkeys(e for e in reversed(self._entries) if all(word in e.lower() for word in words))
        return list(found)[::-1]


class Prompt(InOrder, TextArea):
    """One command line, which may be several rows long. It edits; what a key means is the command line's to say."""

    DEFAULT_CSS = """
    Prompt { width: 1fr; height: auto; max-height: 6; padding: 0; background: transparent; }
    Prompt > .prompt--command { color: $text-success; text-style: bold; }
    Prompt > .prompt--agent { color: $text-secondary; text-style: bold; }
    Prompt > .prompt--string { color: $text-warning; }
    Prompt > .prompt--variable { color: $text-accent; }
    Prompt > .prompt--operator { color: $text-primary; text-style: bold; }
    Prompt > .prompt--comment { color: $text-muted; }
    Prompt > .text-area--suggestion { color: $foreground-disabled; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"prompt--{kind}" for kind in KINDS}
    HELP_TITLE = "Command line"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "press('enter')", "Run", id="line.run"),
        Binding("ctrl+j", "press('enter')", show=False),  # Enter, as a terminal tells it before the app has begun
        Binding("tab", "press('tab')", "Complete", id="line.complete"),
        Binding("shift+tab", "press('back')", "Complete backwards", show=False, id="line.back"),
        Binding("up", "press('up')", "Line before", show=False, id="line.before"),
        Binding("down", "press('down')", "Line after", show=False, id="line.after"),
        Binding("ctrl+r", "press('search')", "History", id="line.search"),
        Binding("escape", "press('escape')", "Close, clear, leave", show=False, id="line.leave"),
        Binding("ctrl+c", "press('interrupt')", "Copy, interrupt, clear", show=False, id="line.stop"),
        Binding("ctrl+l", "press('clear')", "Clear the output", show=False, id="line.clear"),
        Binding("ctrl+d", "press('end')", "Delete; leave when empty", show=False, id="line.end"),
    ]

    def __init__(
        self, agents: Container[str], recall: Recall, placeholder: str, pressed: Callable[[str], None]
    ) -> None:
        """pressed: told of a key that does more than edit, before the next one is looked at."""
        super().__init__(compact=True, highlight_cursor_line=False, placeholder=placeholder)
        self._agents, self._recall, self._pressed = agents, recall, pressed
        self._colored: tuple[str, list[list[tuple[str, str]]]] = ("", [[]])

    def action_press(self, key: str) -> None:
        self._pressed(key)

    def get_line(self, line_index: int) -> Text:
        """A row of the text in colours. Called by TextArea when it draws."""
        if self._colored[0] != self.text or not self.text:
            self._colored = self.text, highlight(self.text, self._agents)
        line = Text(end="", no_wrap=True)
        for kind, part in self._colored[1][line_index]:
            line.append(part, self.get_component_rich_style(f"prompt--{kind}", partial=True) if kind else "")
        return line

    def update_suggestion(self) -> None:
        """What the line may go on with, from what was typed before. Called by TextArea after each edit."""
        self.suggestion = self._recall.suggest(self.text) if self.cursor_at_end_of_text else ""

    @property
    def before_cursor(self) -> str:
        return self.get_text_range((0, 0), self.cursor_location)

    def put(self, text: str) -> None:
        """Another line, the cursor at its end."""
        self.text = text
        self.move_cursor(self.document.end)
        self.suggestion = ""

    def splice(self, replaced: int, text: str) -> None:
        """`text` for the last characters before the cursor."""
        self.replace(text, self._location(len(self.before_cursor) - replaced), self.cursor_location)

    def point_at(self, position: int) -> None:
        """The cursor on a character of the text."""
        self.move_cursor(self._location(position))

    def _location(self, position: int) -> tuple[int, int]:
        before = self.text[:position]
        return before.count("\n"), len(before) - before.rfind("\n") - 1

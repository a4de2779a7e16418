"""The app's command line: the shell's grammar, completion, history, and what is wrong with a line right below it."""

from __future__ import annotations

import os.path
from dataclasses import replace
from pathlib import Path
from typing import Final

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static, TextArea

from aios_kernel.client import paths
from aios_shell import history
from aios_shell.complete import World, at_cursor
from aios_shell.language.parse import Incomplete, SyntaxProblem, quote
from aios_shell.session import Session
from aios_shell.text import one_line
from aios_shell.tui.glyphs import UNICODE, glyphs
from aios_shell.tui.messages import Act, Notice
from aios_shell.tui.running import Runner, RunningLine, read_lines
from aios_shell.tui.widgets.candidates import Candidates, Choice
from aios_shell.tui.widgets.output import Output
from aios_shell.tui.widgets.prompt import Prompt, Recall

HINT: Final = "a command, an agent and its task, or a program; ? asks"
MARK_CELLS: Final = 2


class CommandLine(Vertical):
    """Takes lines and runs them. What they write is shown by the app's `Output`."""

    DEFAULT_CSS = """
    CommandLine { height: auto; background: $background; padding: 0 1; }
    CommandLine > Horizontal { height: auto; }
    CommandLine .mark { width: 2; color: $text-muted; }
    CommandLine:focus-within .mark { color: $primary; text-style: bold; }
    CommandLine .problem { display: none; height: auto; color: $text-error; }
    """

    class Left(Message):
        """`exit` was run, or ctrl+d pressed on an empty line."""

        def __init__(self, status: int) -> None:
            super().__init__()
            self.status = status

    class Dismissed(Message):
        """Escape was pressed on an empty line: the keys are for somebody else again."""

    class Found(Message):
        """Completion has answered: candidates for the text before the cursor."""

        def __init__(self, text: str, choices: list[Choice], *, backwards: bool) -> None:
            super().__init__()
            self.text, self.choices, self.backwards = text, choices, backwards

    def __init__(self, session: Session) -> None:
        super().__init__()
        here = paths()
        here.make()
        self._path = here.history
        self._session = session
        self._world = World(session)
        self._recall = Recall(_history(self._path))
        self._runner = Runner(session, self)
        self.prompt = Prompt(session.agents, self._recall, HINT, self._pressed)
        self.candidates = Candidates()
        self._problem = Static(classes="problem")
        self._searching = False  # the open list is of the history

    def compose(self) -> ComposeResult:
        yield self.candidates
        with Horizontal():
            yield Static(Content("❯ " if glyphs() is UNICODE else "> "), classes="mark")
            yield self.prompt
        yield self._problem

    def on_unmount(self) -> None:
        self._runner.close()

    # --- for the app

    def focus(self, scroll_visible: bool = True) -> CommandLine:
        self.prompt.focus(scroll_visible)
        return self

    def begin(self, text: str) -> None:
        """A line for the person to finish."""
        self.prompt.put(text)
        self.focus()

    def execute(self, text: str) -> RunningLine | None:
        """Run a line; None when there is nothing in it."""
        if not text.strip():
            return None
        output = self.screen.query_one(Output)
        line = self._runner.start(text, output.columns)
        output.add(line)
        return line

    def interrupt(self) -> bool:
        """Ctrl-C for the line that was begun last. False: none runs."""
        return self._runner.interrupt()

    # --- for the runner, in its threads: `post_message` may be called there

    def look_at(self, pid: int) -> None:
        self.post_message(Act("focus", (pid,)))

    def left(self, status: int) -> None:
        self.post_message(self.Left(status))

    def told(self, text: str) -> None:
        self.post_message(Notice(one_line(text)))

    # --- keys

    def _pressed(self, key: str) -> None:
        getattr(self, f"_press_{key}")()

    def _press_enter(self) -> None:
        if self.candidates.moved and self.candidates.choice is not None:
            self._accept(self.candidates.choice)
            return
        text = self.prompt.text
        try:
            read_lines(text)
        except Incomplete:
            self.prompt.insert("\n", self.prompt.document.end)
            return
        except SyntaxProblem as problem:
            self._show_problem(problem)
            return
        self._close()
        self.prompt.put("")
        if text.strip():
            if self._recall.add(text):
                self._remember(text)
            self.execute(text)

    def _press_tab(self) -> None:
        if self.candidates.open:
            if self.candidates.moved or len(self.candidates.choices) > 1:
                self.candidates.move(1 if self.candidates.moved else 0)
            elif self.candidates.choice is not None:
                self._accept(self.candidates.choice)
        else:
            self._complete(self.prompt.before_cursor, backwards=False)

    def _press_back(self) -> None:
        if self.candidates.open:
            self.candidates.move(-1)
        else:
            self._complete(self.prompt.before_cursor, backwards=True)

    def _press_up(self) -> None:
        self._walk(-1, at_edge=self.prompt.cursor_at_first_line)

    def _press_down(self) -> None:
        self._walk(1, at_edge=self.prompt.cursor_at_last_line)

    def _walk(self, step: int, *, at_edge: bool) -> None:
        """Through the open list, else through the rows of the line, else through the history."""
        if self.candidates.open:
            self.candidates.move(step)
        elif not at_edge:
            self.prompt.move_cursor_relative(rows=step)
        else:
            entry = self._recall.walk(self.prompt.text, step)
            if entry is not None:
                with self.prompt.prevent(TextArea.Changed):
                    self.prompt.put(entry)

    def _press_search(self) -> None:
        """What was typed before and has the words of the line in it, the newest at the bottom. Again: further up."""
        if self._searching:
            self.candidates.move(-1)
            return
        self.prompt.move_cursor(self.prompt.document.end)
        self._search()

    def _search(self) -> None:
        text = self.prompt.text
        choices = [Choice(entry, "", entry, len(text)) for entry in self._recall.search(text)]
        self.candidates.offer(choices, MARK_CELLS, last=True)
        self._searching = self.candidates.moved = bool(choices)

    def _close(self) -> None:
        self._searching = False
        self.candidates.close()

    def _press_escape(self) -> None:
        if self.candidates.open:
            self._close()
        elif self.prompt.text:
            self.prompt.put("")
        else:
            self.post_message(self.Dismissed())

    def _press_interrupt(self) -> None:
        """As in a shell; what is selected is copied, though."""
        if self.prompt.selected_text:
            self.prompt.action_copy()
        elif self.prompt.text:
            self._close()
            self.prompt.put("")
        elif not self.interrupt():
            self.post_message(Notice("nothing runs here; exit leaves, and agents go on"))

    def _press_clear(self) -> None:
        self.screen.query_one(Output).action_clear()

    def _press_end(self) -> None:
        if self.prompt.text:
            self.prompt.action_delete_right()
        else:
            self.post_message(self.Left(0))

    # --- completion

    @work(thread=True, exclusive=True, group="complete")
    def _complete(self, text: str, *, backwards: bool) -> None:
        """Ask in a thread: the kernel may take its time."""
        choices = []
        for candidate, replaced in at_cursor(text, self._world):
            inserted = candidate.value if candidate.value.startswith("~") else quote([candidate.value])
            ends = not candidate.value.endswith("/")  # in a folder one may go on
            choices.append(Choice(candidate.value, candidate.help, inserted, replaced, ends=ends))
        self.post_message(self.Found(text, choices, backwards=backwards))

    @on(Found)
    def _found(self, event: Found) -> None:
        """Insert the only candidate, or what all have in common; offer several."""
        event.stop()
        text, choices = event.text, event.choices
        if text != self.prompt.before_cursor or not choices:
            return  # one typed on
        if len(choices) == 1:
            self._accept(choices[0])
            return
        replaced = choices[0].replaced
        common = os.path.commonprefix([choice.text for choice in choices])  # noqa: RUF071 -- of characters
        if common.startswith(text[len(text) - replaced :]) and len(common) > replaced:
            with self.prompt.prevent(TextArea.Changed):  # which would close the list
                self.prompt.splice(replaced, common)
            choices = [replace(choice, replaced=len(common)) for choice in choices]
        column = self.prompt.cursor_screen_offset.x - self.region.x - choices[0].replaced
        self.candidates.offer(choices, column, last=event.backwards)

    def _accept(self, choice: Choice) -> None:
        self._close()
        self.prompt.splice(choice.replaced, choice.text)
        if choice.ends and self.prompt.cursor_at_end_of_text:
            self.prompt.insert(" ")

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._accept(self.candidates.choices[event.option_index])

    @on(TextArea.Changed)
    def _changed(self, event: TextArea.Changed) -> None:
        event.stop()
        self._recall.stop()
        self._problem.display = False
        searching = self._searching
        self._close()
        if searching:
            self._search()

    # --- what is wrong

    def _show_problem(self, problem: SyntaxProblem) -> None:
        """The cursor goes to the place, a caret stands under it."""
        self.prompt.point_at(problem.position)
        indent = self.prompt.cursor_screen_offset.x - self.region.x - 1
        self._problem.update(Content(f"{' ' * max(0, indent)}^ {one_line(problem.message)}"))
        self._problem.display = True

    def _remember(self, text: str) -> None:
        try:
            history.append(self._path, text)
        except OSError as error:
            self.post_message(Notice(f"history: {error.strerror}", error=True))


def _history(path: Path) -> list[str]:
    try:
        return history.load(path)
    except OSError:  # told when a line cannot be added to it
        return []

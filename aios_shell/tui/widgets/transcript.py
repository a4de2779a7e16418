"""What one process says and does: read as it comes, searched, copied, answered."""

from __future__ import annotations

import contextlib
from typing import ClassVar, Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Button, Input, Static

from aios_kernel.protocol import ProcInfo, ProcState
from aios_shell.text import one_line
from aios_shell.tui.glyphs import glyphs
from aios_shell.tui.live import Live
from aios_shell.tui.messages import Act, Notice, Say
from aios_shell.tui.reader import Reader, client_of
from aios_shell.tui.record import Kind, Record, readable
from aios_shell.tui.widgets.page import Page
from aios_shell.tui.widgets.typed import LineInput

DRAW_S: Final = 0.08  # what comes within this time is drawn together
REST_S: Final = 0.15  # a cursor that moves on sooner has only passed by
NUM_RECORDS: Final = 8  # processes that are not read anew when somebody comes back to them
_ENDED: Final = (ProcState.ZOMBIE, ProcState.EXITED)


class _Line(LineInput):
    """A line to type in; Escape leaves it."""

    HELP_TITLE = "Lines of the transcript"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Done", id="transcript.done"),
        Binding("escape", "leave", "Leave", id="transcript.leave"),
    ]

    class Left(Message):
        def __init__(self, line: _Line) -> None:
            super().__init__()
            self.line = line

    async def action_submit(self) -> None:
        await super().action_submit()
        if self.id == "say":  # what is typed next is the next thing to say
            self.value = ""

    def action_leave(self) -> None:
        self.post_message(self.Left(self))


class Transcript(Widget):
    """The chosen process's transcript."""

    DEFAULT_CSS = """
    Transcript {
        layout: vertical;
        & > #head { height: auto; max-height: 2; padding: 0 1; background: $surface; }
        & > Page { height: 1fr; padding: 0 0 0 1; }
        & > #approval {
            height: 1; display: none;
            & > Static { width: 1fr; padding: 0 1; color: $warning; text-style: bold; text-wrap: nowrap; }
            & > Button { min-width: 11; margin-right: 1; }
        }
        & > Input { padding: 0 1 !important; background: $surface; }
        & > #find { display: none; }
        &.-asking > #approval { display: block; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "find", "Find", key_display="/", id="transcript.find"),
        Binding("n", "next(1)", "Next", show=False, id="transcript.next"),
        Binding("N", "next(-1)", "Former", show=False, id="transcript.former"),
        Binding("y", "copy", "Copy", id="transcript.copy"),
        Binding("m", "raw", "Raw", id="transcript.raw"),
        Binding("e", "folds", "Events", id="transcript.events"),
        Binding("enter", "write", "Write", id="transcript.write"),
        Binding("a", "answer('approve')", "Approve", id="transcript.approve"),
        Binding("d", "answer('deny')", "Deny", id="transcript.deny"),
    ]

    class Told(Message, bubble=False):
        """The reader has something."""

    def __init__(self, live: Live) -> None:
        super().__init__()
        self._live = live
        self._pid: int | None = None
        self._records: dict[int, Record] = {}  # the one looked at last is the last
        self._reader: Reader | None = None
        self._drawing: Timer | None = None
        self._resting: Timer | None = None
        self._note = ""  # of a search
        self._num_lines = -1  # line breaks in the head
        self._asked: int | None = None  # the process that the approval bar is about

    def compose(self) -> ComposeResult:
        yield Static(id="head", markup=False)
        yield Page(placeholder="choose a process to read what it says")
        with Horizontal(id="approval"):
            yield Static(markup=False)
            yield Button("Approve", variant="success", compact=True, action="answer('approve')")
            yield Button("Deny", variant="error", compact=True, action="answer('deny')")
        yield _Line(id="find", placeholder="find", select_on_focus=True, compact=True)
        yield _Line(id="say", disabled=True, compact=True)

    def on_mount(self) -> None:
        self.watch(self._page, "following", self.show, init=False)
        self.show()

    def on_unmount(self) -> None:
        self._stop()

    @property
    def writing(self) -> bool:
        """Whether somebody is about to say something to the process."""
        say = self.query_one("#say", Input)
        return say.has_focus and bool(say.value)

    @property
    def _page(self) -> Page:
        return self.query_one(Page)

    @property
    def _proc(self) -> ProcInfo | None:
        return self._live.procs.get(self._pid) if self._pid is not None else None

    # --- the process

    def watch_pid(self, pid: int | None) -> None:
        """Read this process from now on; None: no process."""
        if pid == self._pid:
            return
        self._stop()
        self._pid = pid
        self._note = ""
        if pid is None:
            self._page.read(())
        else:
            record = self._records[pid] = self._records.pop(pid) if pid in self._records else Record()
            for old in list(self._records)[:-NUM_RECORDS]:
                del self._records[old]
            self._page.read(record.parts, "nothing yet")
            if record.exit_code is None:
                self._resting = self.set_timer(REST_S, self._start)
        self.query_one("#say", Input).value = ""
        self.show()

    def _start(self) -> None:
        assert self._pid is not None
        after = self._records[self._pid].last_seq
        self._reader = Reader(client_of(self.app), self._pid, after, self._tell)

    def _tell(self) -> None:
        """On the reader's thread."""
        with contextlib.suppress(RuntimeError):  # the app has ended meanwhile
            self.post_message(self.Told())

    def _stop(self) -> None:
        for timer in (self._resting, self._drawing):
            if timer is not None:
                timer.stop()
        self._resting = self._drawing = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    @on(Told)
    def _hear(self) -> None:
        if self._drawing is None and self._reader is not None:
            self._drawing = self.set_timer(DRAW_S, self._draw)

    def _draw(self) -> None:
        self._drawing = None
        if self._reader is not None and self._pid is not None:
            self._records[self._pid].add(self._reader.take())
            self._page.settle()
            if self._reader.why_not:
                self._note = one_line(self._reader.why_not)
                self.show()

    # --- what is shown around the page

    def show(self) -> None:
        """Draw what `live` says of the process."""
        if not self.is_mounted:
            return
        proc = self._proc
        head, text = self.query_one("#head", Static), self._head(proc)
        num_lines = text.plain.count("\n")
        head.update(text, layout=num_lines != self._num_lines)  # a new layout takes longer than all else here
        self._num_lines = num_lines
        asking = proc is not None and proc.state is ProcState.ASKING
        self.set_class(asking, "-asking")
        former, self._asked = self._asked, proc.pid if proc is not None and asking else None
        if proc is not None and asking:
            self.query_one("#approval > Static", Static).update(Text(f"asks: {one_line(proc.reason)}"), layout=False)
        say = self.query_one("#say", Input)
        say.disabled = proc is None or proc.state in _ENDED
        say.placeholder = "" if proc is None else "it has ended" if say.disabled else f"send to {proc.pid}"
        if self._asked != former:  # the footer is made anew: 40 ms
            self.refresh_bindings()

    def _head(self, proc: ProcInfo | None) -> Text:
        if self._pid is None:
            return Text()
        width = max(1, self.size.width - 2)
        if proc is None:
            return Text(set_cell_size(f"process {self._pid} is not known any more", width))
        page, look = self._page, self._page.look
        state = proc.reason if proc.reason.startswith(proc.state) else f"{proc.state.value} {proc.reason}"
        left = Text.assemble((f"{proc.pid} {one_line(proc.agent)}", look.heading), "  ")
        left.append(f"{glyphs().states[proc.state]} {one_line(state)}", look.faint)
        right = "paused, End resumes" if not page.following else "" if proc.state in _ENDED else "following"
        right = self._note or right
        left.truncate(max(1, width - cell_len(right) - 1), overflow="ellipsis", pad=True)
        head = Text.assemble(left, " ", (right, look.notice if not page.following else look.faint))
        task = Text(one_line(proc.task))
        task.truncate(width, overflow="ellipsis")
        return Text("\n").join([head, task]) if proc.task.strip() else head

    def on_resize(self) -> None:
        self.show()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's
        if action == "find":  # in a line to type in it is a character
            return not isinstance(self.screen.focused, Input)
        return self._asked is not None if action == "answer" else True

    def action_answer(self, verb: str) -> None:
        if self._asked is not None:
            self.post_message(Act(verb, (self._asked,)))

    # --- search

    def action_find(self) -> None:
        self.search()

    def search(self) -> None:
        """Open the search. It has the focus at once: keys that wait already are words, not verbs."""
        self._find.display = True
        self.screen.set_focus(self._find)

    @property
    def _find(self) -> Input:
        return self.query_one("#find", Input)

    @on(Input.Submitted, "#find")
    def _found(self, event: Input.Submitted) -> None:
        event.stop()
        count = self._page.find(event.value)
        self._note = f"{count:,} found" if event.value else ""
        self._find.display = False
        self._page.focus()
        self.show()

    @on(_Line.Left)
    def _left(self, event: _Line.Left) -> None:
        if event.line.id == "find":
            self._page.find("")
            self._note = ""
            self._find.display = False
        self._page.focus()
        self.show()

    def action_next(self, direction: int) -> None:
        self._page.find_next(direction)

    # --- the rest

    def action_copy(self) -> None:
        """The selection, else the last reply, through OSC 52."""
        text = self.screen.get_selected_text() or ""
        if not text and self._pid is not None:
            text = self._records[self._pid].reply()
        if not text:
            self.post_message(Notice("nothing to copy"))
            return
        self.app.copy_to_clipboard(text)
        self.post_message(Notice(f"copied {len(text):,} characters"))

    def action_raw(self) -> None:
        self._page.raw = not self._page.raw

    def action_folds(self) -> None:
        self._page.toggle_folds()

    def action_write(self) -> None:
        self.screen.set_focus(self.query_one("#say"))

    @on(Input.Submitted, "#say")
    def _said(self, event: Input.Submitted) -> None:
        event.stop()
        if self._pid is None or not event.value.strip():
            return
        self.post_message(Say(self._pid, event.value))
        self._records[self._pid].begin(Kind.SAID, readable(event.value))
        self._page.action_end()

"""The process table: its keys, its filter, and the rows below."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Final

from textual import on
from textual.actions import SkipAction
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Static

from aios_kernel.protocol import ProcState
from aios_shell.tui.live import Live
from aios_shell.tui.messages import Act
from aios_shell.tui.widgets.process_rows import ProcessRows
from aios_shell.tui.widgets.typed import LineInput

ANSWERS: Final = ("approve", "deny")


class ProcessTable(Vertical):
    """All processes, and verbs for those that are marked or under the cursor.

    It decides nothing: a verb is posted as `Act` with the pids of the moment when the key was pressed.
    """

    Chosen = ProcessRows.Chosen

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "attach", "Attach", id="table.attach"),
        Binding("space", "mark", "Mark", show=False, id="table.mark"),
        Binding("a", "act('approve')", "Approve", id="table.approve"),
        Binding("d", "act('deny')", "Deny", id="table.deny"),
        Binding("s", "act('suspend')", "Suspend", id="table.suspend"),
        Binding("r", "act('resume')", "Resume", id="table.resume"),
        Binding("x", "act('kill')", "Kill", id="table.kill"),
        Binding("i", "act('int')", "Interrupt", show=False, id="table.interrupt"),
        Binding("n", "act('renice')", "Nice", id="table.nice"),
        Binding("left_square_bracket", "nice(-1)", "Favour", key_display="[", show=False, id="table.favour"),
        Binding("right_square_bracket", "nice(1)", "Put back", key_display="]", show=False, id="table.yield"),
        Binding("f", "act('fork')", "Fork", show=False, id="table.fork"),
        Binding("w", "act('save')", "Save its context", show=False, id="table.save"),
        Binding("slash", "filter", "Filter", key_display="/", id="table.filter"),
        Binding("o", "sort", "Sort by the next column", show=False, id="table.sort"),
        Binding("O", "reverse", "Sort the other way", show=False, id="table.reverse"),
        Binding("t", "tree", "Tree", show=False, id="table.tree"),
        Binding("A", "ended", "Show ended ones", show=False, id="table.ended"),
        Binding("up,k", "move(-1)", "Up", show=False, id="table.up"),
        Binding("down,j", "move(1)", "Down", show=False, id="table.down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="table.page_up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="table.page_down"),
        Binding("home,g", "end(-1)", "First", show=False, id="table.first"),
        Binding("end,G", "end(1)", "Last", show=False, id="table.last"),
        Binding("escape", "back", "Clear the filter, then the marks", show=False, id="table.back"),
    ]
    DEFAULT_CSS = """
    ProcessTable .filter { height: 1; display: none; }
    ProcessTable.-filtered .filter { display: block; }
    ProcessTable .filter Static { width: auto; color: $text-muted; padding: 0 1; }
    ProcessTable .filter Input { width: 1fr; }
    """

    def __init__(self, live: Live, clock: Callable[[], float] = time.time) -> None:
        """clock: Unix seconds."""
        super().__init__()
        self.live = live
        self.rows = ProcessRows(live, clock)
        self._words = LineInput(compact=True, placeholder="words; !word: without it")
        self._count = Static(markup=False)
        self._answerable = False

    def compose(self) -> ComposeResult:
        yield self.rows
        with Horizontal(classes="filter"):
            yield Static("/", markup=False)
            yield self._words
            yield self._count

    def focus(self, scroll_visible: bool = True) -> ProcessTable:
        self.rows.focus(scroll_visible)
        return self

    def show(self) -> None:
        """Bring the screen up to what `live` says."""
        self.rows.show()
        self._say_count()
        self._offer_answers()

    def _say_count(self) -> None:
        text = f"{len(self.rows.rows)} of {len(self.live.procs)}"
        if self.has_class("-filtered") and self._count.content != text:  # its width is laid out anew
            self._count.update(text)

    def _offer_answers(self) -> None:
        """Approve and deny are keys only while somebody asks."""
        if self._answerable != bool(self._asking):
            self._answerable = not self._answerable
            self.refresh_bindings()

    @property
    def _asking(self) -> tuple[int, ...]:
        procs = self.live.procs
        return tuple(pid for pid in self.rows.targets if pid in procs and procs[pid].state is ProcState.ASKING)

    @on(ProcessRows.Chosen)
    def _chosen(self) -> None:
        self._offer_answers()

    @on(ProcessRows.Opened)
    def _opened(self, event: ProcessRows.Opened) -> None:
        self.post_message(Act("attach", (event.pid,)))

    # --- verbs

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "filter":
            return not self._words.has_focus
        return bool(self._asking) if action == "act" and parameters[0] in ANSWERS else True

    def action_act(self, verb: str) -> None:
        pids = self._asking if verb in ANSWERS else self.rows.targets
        self.rows.hold_order()
        if pids:
            self.post_message(Act(verb, pids))

    def action_nice(self, more: int) -> None:
        """Each from where it is."""
        self.rows.hold_order()
        for pid in self.rows.targets:
            self.post_message(Act("renice", (pid,), self.live.procs[pid].nice + more))

    def action_attach(self) -> None:
        if self.rows.cursor is not None:
            self.post_message(Act("attach", (self.rows.cursor,)))

    def action_mark(self) -> None:
        """And on to the next row, so that several are marked by holding the key."""
        if self.rows.cursor is not None:
            self.rows.toggle_mark(self.rows.cursor)
            self.rows.move(1)

    # --- moving

    def action_move(self, num_rows: int) -> None:
        self.rows.move(num_rows)

    def action_page(self, num_pages: int) -> None:
        self.rows.move(num_pages * self.rows.page)

    def action_end(self, direction: int) -> None:
        self.rows.move(direction * len(self.rows.rows))

    # --- which rows, and how

    def _choose(self, **changes: Any) -> None:
        self.rows.choose(replace(self.rows.choice, **changes))

    def action_sort(self) -> None:
        self.rows.sort_by_next()

    def action_reverse(self) -> None:
        self._choose(reverse=not self.rows.choice.reverse)

    def action_tree(self) -> None:
        self._choose(tree=not self.rows.choice.tree)

    def action_ended(self) -> None:
        self._choose(ended=not self.rows.choice.ended)

    def action_filter(self) -> None:
        self.search()

    def search(self) -> None:
        """Open the filter. It has the focus at once: keys that wait already are words, not verbs."""
        self.add_class("-filtered")
        self._say_count()
        self.screen.set_focus(self._words)

    def action_back(self) -> None:
        """Raises SkipAction when there is nothing to clear."""
        if self.has_class("-filtered"):
            self._words.value = ""
            self.remove_class("-filtered")
            self.rows.focus()
        elif self.rows.marked:
            self.rows.unmark()
        else:
            raise SkipAction

    @on(Input.Changed)
    def _filter(self, event: Input.Changed) -> None:
        event.stop()
        self._choose(words=event.value)
        self._say_count()

    @on(Input.Submitted)
    def _filtered(self, event: Input.Submitted) -> None:
        """The filter stays; the keys go back to the rows."""
        event.stop()
        self.set_class(bool(event.value.strip()), "-filtered")
        self.rows.focus()

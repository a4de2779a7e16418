"""The app: what is where, which key does what, and the way from a message to the kernel."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import ClassVar, Final

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.containers import Container, Vertical
from textual.events import Resize
from textual.widgets import Footer, Input, TextArea

from aios_kernel.client import KernelClient
from aios_kernel.errors import InvalidState, KernelError
from aios_kernel.protocol import Frame
from aios_shell.session import Session
from aios_shell.settings import Layout
from aios_shell.tui.acts import Acts
from aios_shell.tui.link import Follower
from aios_shell.tui.live import Link, Live
from aios_shell.tui.messages import Act, Notice, Run, Say
from aios_shell.tui.palette_commands import ShellCommands
from aios_shell.tui.screens.help import HelpScreen
from aios_shell.tui.themes import Themed
from aios_shell.tui.widgets.command_line import CommandLine
from aios_shell.tui.widgets.contexts import Contexts
from aios_shell.tui.widgets.gauges import Gauges
from aios_shell.tui.widgets.output import Output
from aios_shell.tui.widgets.process_rows import ProcessRows
from aios_shell.tui.widgets.process_table import ProcessTable
from aios_shell.tui.widgets.scheduler import Scheduler
from aios_shell.tui.widgets.side import VIEWS, Side, Tabs
from aios_shell.tui.widgets.transcript import Transcript

WIDE: Final = 110  # columns from which the side stands beside the table
LOW: Final = 16  # rows below which only one of them is shown
LARGE: Final = (170, 44)  # columns and rows from which the scheduler has a place of its own


class AiosApp(Themed):
    """One terminal's view of the kernel. Its result is the exit status."""

    TITLE = "aios"
    CSS_PATH = "app.tcss"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {ShellCommands}
    # Those with priority are done before the next key goes anywhere: what is typed right after them is for the line or
    # the view that they open, never for the table's verbs. `check_action` leaves them to whoever takes text.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave", "Quit", id="app.quit"),
        Binding("colon", "command", "Command", key_display=":", priority=True, id="app.command"),
        Binding("slash", "search", "Search", show=False, priority=True, id="app.search"),
        Binding("question_mark", "help", "Help", key_display="?", priority=True, id="app.help"),
        Binding("z", "zoom", "Zoom", priority=True, id="app.zoom"),
        *(
            Binding(str(number), f"view('{view}')", view.capitalize(), show=False, priority=True, id=f"app.{view}")
            for number, view in enumerate(VIEWS, 1)
        ),
        Binding("0", "table", "Processes", show=False, priority=True, id="app.table"),
        Binding("escape", "processes", "Back to the table", show=False, id="app.back"),
        Binding("ctrl+c", "interrupt", "Interrupt", show=False, id="app.interrupt"),
        Binding("ctrl+q", "leave", "Quit", show=False, priority=True, id="app.leave"),
        Binding("ctrl+z", "background", "To the background", show=False, id="app.background"),
        Binding("K", "start_kernel", "Start the kernel", show=False, id="app.kernel"),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.client = KernelClient()
        self.live = Live()
        self._follower = Follower(lambda: self.call_later(self._hear))
        self._zoomed = self._large = False
        self._asked: frozenset[int] = frozenset()

    def compose(self) -> ComposeResult:
        yield Gauges(self.live)
        with Container(id="main"):
            with Vertical(id="processes"):
                yield ProcessTable(self.live)
                yield Scheduler(self.live)  # below the table, where there is room for it beside everything else
            yield Side(
                {
                    "transcript": Transcript(self.live),
                    "scheduler": Scheduler(self.live),
                    "contexts": Contexts(self.live),
                    "output": Output(),
                }
            )
        yield CommandLine(self.session)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self.set_keymap(self.settings.keys)
        self.screen.set_focus(self.query_one(ProcessTable).rows)  # now: keys may wait already, and `:` among them
        self._follower.start()

    def on_unmount(self) -> None:
        self._follower.close()

    # --- what the kernel tells

    def _hear(self) -> None:
        """Take in what the follower heard, then draw once."""
        for told in self._follower.take():
            if isinstance(told, Frame):
                self._link(Link.LIVE if told.status.model_state == "ready" else Link.LOADING, _model_note(told))
                self.live.apply(told)
            else:
                self._link(*told)
        self._ring()
        self.query_one(Gauges).show()
        self.query_one(ProcessTable).show()
        for view in (self.query_one(Transcript), *self.query(Scheduler), self.query_one(Contexts)):
            if view.display:
                view.show()

    def _link(self, link: Link, note: str) -> None:
        was = self.live.link
        self.live.link, self.live.note = link, note
        if link is Link.LOST and was is not Link.LOST:
            self.notify(note, title="No kernel", severity="warning", markup=False)
        if was is Link.LOST and link in (Link.LOADING, Link.LIVE):
            self.live.begin()
            self.notify("connected again", markup=False)

    def _ring(self) -> None:
        """A process that begins to ask rings once."""
        asking = frozenset(proc.pid for proc in self.live.asking)
        if asking - self._asked:
            self.bell()
        self._asked = asking

    # --- what a person wants

    @on(ProcessRows.Chosen)
    def _cursor_moved(self, event: ProcessRows.Chosen) -> None:
        if not self.query_one(Transcript).writing:  # what is being typed is for another
            self.query_one(Transcript).watch_pid(event.pid)

    @on(Act)
    def _act(self, event: Act) -> None:
        if event.verb in ("attach", "focus", "logs"):
            self.query_one(Transcript).watch_pid(event.pids[0])
            typing = event.verb == "focus" and bool(self.query_one(CommandLine).prompt.text)
            self.action_view("transcript", keys=not typing)
        elif event.pids:
            self._perform(event)

    @work
    async def _perform(self, act: Act) -> None:
        await Acts(self.client, self.live.procs, self.push_screen_wait, self.post_message).perform(act)

    @on(Run)
    def _run(self, event: Run) -> None:
        self.query_one(CommandLine).execute(event.line)

    @on(Say)
    @work
    async def _say(self, event: Say) -> None:
        """To its standard input; a process that reads none, or has closed it, has a mailbox."""
        try:
            try:
                await asyncio.to_thread(self.client.feed, event.pid, (event.text + "\n").encode())
            except InvalidState:
                await asyncio.to_thread(self.client.send, event.pid, event.text)
        except KernelError as error:
            self.notify(error.message, severity="error", markup=False)

    @on(Output.Spoke)
    def _spoke(self, event: Output.Spoke) -> None:
        """What a line writes is shown, unless it only starts an agent; the keys stay where they are."""
        if event.line.text.startswith("snap"):
            self.query_one(Contexts).reload()
        if event.line.quiet and not event.line.status:
            self.query_one(Side).mark("output")
            return
        self.query_one(Side).choose("output")
        if not self.query_one(Side).display:
            self._lay_out(self.size.width, self.size.height, table=False)

    @on(CommandLine.Left)
    def _left(self, event: CommandLine.Left) -> None:
        self.exit(event.status)

    @on(CommandLine.Dismissed)
    def _dismissed(self) -> None:
        self.action_table()

    @on(Notice)
    def _notice(self, event: Notice) -> None:
        self.notify(event.text, severity="error" if event.error else "information", markup=False)

    @on(Tabs.Chosen)
    def _tab(self, event: Tabs.Chosen) -> None:
        self.action_view(event.view)

    # --- keys

    def action_view(self, view: str, *, keys: bool = True) -> None:
        """Show a view of the side and give it the keys."""
        if view == "scheduler" and self._large:
            self.screen.set_focus(self.query_one("#processes > Scheduler", Scheduler))
            return
        side = self.query_one(Side)
        side.choose(view)
        self._lay_out(self.size.width, self.size.height, table=False)
        if not keys:
            return
        widget = side.query_one(f"#{view}")
        inside = (other for other in self.screen.focus_chain if widget in other.ancestors_with_self)
        self.screen.set_focus(next(inside, None))

    def action_table(self) -> None:
        self._lay_out(self.size.width, self.size.height, table=True)
        self.screen.set_focus(self.query_one(ProcessTable).rows)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("command", "search", "help", "zoom", "view", "table"):
            typing = isinstance(self.focused, (Input, TextArea)) or len(self.screen_stack) > 1
            return not typing and (action != "search" or self._searchable is not None)
        return super().check_action(action, parameters)

    def action_processes(self) -> None:
        """As `table`, for a key that others may have a use for first."""
        self.action_table()

    def action_command(self) -> None:
        self.screen.set_focus(self.query_one(CommandLine).prompt)

    def action_search(self) -> None:
        """Filter or search what has the keys. Focus moves at once, not after the keys that wait already."""
        if self._searchable is not None:
            self._searchable.search()

    @property
    def _searchable(self) -> ProcessTable | Transcript | None:
        above = self.focused.ancestors_with_self if self.focused is not None else ()
        return next((widget for widget in above if isinstance(widget, (ProcessTable, Transcript))), None)

    def action_zoom(self) -> None:
        self._zoomed = not self._zoomed
        self._lay_out(self.size.width, self.size.height, table=self.query_one(ProcessTable).has_focus_within)

    def action_interrupt(self) -> None:
        if not self.query_one(CommandLine).interrupt():
            self.notify("q quits; the agents go on", markup=False)

    def action_background(self) -> None:
        """As ctrl+z anywhere; but nobody would wake the first process of a terminal again."""
        if os.getsid(0) != os.getpgrp():
            self.action_suspend_process()

    def action_help(self) -> None:
        self.push_screen(HelpScreen(self.screen, self.settings.keys))

    def action_start_kernel(self) -> None:
        self._follower.start_kernel()

    def action_leave(self) -> None:
        self.exit(0)

    # --- room

    def on_resize(self, event: Resize) -> None:
        alone = not self.query_one("#processes").display  # what is read stays
        table = not (alone or self.query_one(Side).has_focus_within)
        self._lay_out(event.size.width, event.size.height, table=table)

    def _lay_out(self, width: int, height: int, *, table: bool) -> None:
        """Side by side, one above the other, or, zoomed or in a low terminal, only one. table: which one then."""
        main = self.query_one("#main")
        beside = width >= WIDE if self.settings.layout is Layout.AUTO else self.settings.layout is Layout.BESIDE
        main.set_class(beside, "-wide")
        alone = self._zoomed or height < LOW
        self._large = beside and not self._zoomed and width >= LARGE[0] and height >= LARGE[1]
        self.query_one("#processes").display = table or not alone
        self.query_one("#processes > Scheduler").display = self._large
        self.query_one(Side).display = not (table and alone)


def _model_note(frame: Frame) -> str:
    state = frame.status.model_state
    return "" if state == "ready" else f"model {state}"

"""The contexts that are kept: a list of them, what the chosen one says, and the verbs of `snap`."""

from __future__ import annotations

import time
from itertools import islice
from typing import Any, ClassVar, Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import DataTable, Static
from textual.worker import get_current_worker

from aios_kernel.errors import KernelError
from aios_kernel.protocol import SnapshotInfo, Tier
from aios_shell import render
from aios_shell.language.parse import quote
from aios_shell.text import one_line
from aios_shell.tui.live import Link, Live
from aios_shell.tui.messages import Act, Notice, Run
from aios_shell.tui.reader import client_of
from aios_shell.tui.record import Kind, Record, readable
from aios_shell.tui.screens.dialogs import Choose
from aios_shell.tui.widgets.page import Page

REST_S: Final = 0.15  # a cursor that moves on sooner has only passed by
LOOK_S: Final = 3.0  # another shell may save and remove: no frame tells of that
NAME_WIDTH: Final = 32
_EMPTY: Final = "no contexts yet: w saves the one of a process, a suspended process leaves its own here"
_COLUMNS: Final = ("", "ID", "AGENT", "TOKENS", "SIZE", "TIER", "AGE", "EXACT", "")
_SPARE: Final = (
    "EXACT",
    "TIER",
    "AGENT",
    "SIZE",
    "AGE",
    "TOKENS",
)  # what a narrow pane does without, the first one first
_RIGHT: Final = tuple(map(_COLUMNS.index, ("TOKENS", "SIZE", "AGE")))


class Contexts(Widget):
    """Snapshots by process: those saved under a name, and those of processes that are off their slots."""

    DEFAULT_CSS = """
    Contexts {
        layout: vertical;
        & > DataTable { height: auto; max-height: 50%; overflow-x: hidden; scrollbar-size-vertical: 1; }
        & > #facts { height: 1; padding: 0 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
        & > Page { height: 1fr; padding: 0 0 0 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", id="contexts.mark"),
        Binding("w", "save", "Save", id="contexts.save"),
        Binding("D", "diff", "Diff", id="contexts.diff"),
        Binding("R", "restore", "Restore", id="contexts.restore"),
        Binding("F", "fork", "Fork", id="contexts.fork"),
        Binding("e", "export", "Export", id="contexts.export"),
        Binding("delete,backspace", "remove", "Remove", id="contexts.remove"),
        Binding("j", "down", "Down", show=False, id="contexts.down"),
        Binding("k", "up", "Up", show=False, id="contexts.up"),
    ]

    class Listed(Message, bubble=False):
        def __init__(self, snapshots: list[SnapshotInfo]) -> None:
            super().__init__()
            self.snapshots = snapshots

    class Read(Message, bubble=False):
        """The chosen one's conversation."""

        def __init__(self, id: str, record: Record, facts: str) -> None:
            super().__init__()
            self.id, self.record, self.facts = id, record, facts

    def __init__(self, live: Live) -> None:
        super().__init__()
        self._live = live
        self._snapshots: dict[str, SnapshotInfo] = {}
        self._marked: list[str] = []
        self._chosen: str | None = None
        self._shown: SnapshotInfo | None = None  # whose conversation is on the page
        self._resting: Timer | None = None
        self._seen: object = None  # what the list depends on, as it was when it was asked for

    def compose(self) -> ComposeResult:
        yield DataTable(cursor_type="row", show_header=True, cell_padding=1, header_height=1)
        yield Static(id="facts", markup=False)
        yield Page(follow=False, placeholder=_EMPTY)

    def on_mount(self) -> None:
        self.set_interval(LOOK_S, self._look_again)
        self._draw()

    def on_show(self) -> None:
        self.reload()

    def on_resize(self) -> None:
        self._draw()

    @property
    def _table(self) -> DataTable[Text]:
        return self.query_one(DataTable)

    @property
    def _at_cursor(self) -> str | None:
        """The id under the cursor as it is now; `_chosen` follows when the table has told."""
        return next(islice(self._snapshots, self._table.cursor_row, None), None)

    # --- what there is

    def show(self) -> None:
        """Ask again when a context has moved, or one was saved or removed."""
        status = self._live.status
        moved = tuple((proc.pid, proc.tier) for proc in self._live.procs.values() if proc.tier in (Tier.RAM, Tier.DISK))
        seen = (moved, status.disk_bytes if status else 0, self._live.link)
        if seen != self._seen:
            self._seen = seen
            self.reload()

    def _look_again(self) -> None:
        if self._live.link in (Link.LIVE, Link.LOADING) and self.display:
            self.reload()

    def reload(self) -> None:
        """Ask the kernel what there is."""
        self._list()

    @work(thread=True, exclusive=True, group="list")
    def _list(self) -> None:
        try:
            self.post_message(self.Listed(client_of(self.app).snapshots()))
        except KernelError:
            return  # the app tells of a kernel that is away

    @on(Listed)
    def _listed(self, event: Listed) -> None:
        order = sorted(event.snapshots, key=lambda snap: (snap.pid, snap.created_at))
        if order == list(self._snapshots.values()):
            self._grow_older()
            return
        self._chosen = self._at_cursor
        self._snapshots = {snap.id: snap for snap in order}
        self._marked = [id for id in self._marked if id in self._snapshots]
        if self._chosen not in self._snapshots:
            self._chosen = next(iter(self._snapshots), None)
        self._draw()
        self._choose(self._chosen)

    # --- the list

    def _draw(self) -> None:
        """Fill the table anew; its cursor stays at the id."""
        table, chosen = self._table, self._chosen
        rows = [[Text(name) for name in _COLUMNS], *map(self._cells, self._snapshots.values())]
        widths = [max(cells[index].cell_len for cells in rows) for index in range(len(_COLUMNS))]
        for cells in rows:
            for index in _RIGHT:
                cells[index].pad_left(widths[index] - cells[index].cell_len)
        columns = self._fitting(widths)
        with self.prevent(DataTable.RowHighlighted):
            table.clear(columns=True)
            for index in columns:
                table.add_column(rows[0][index], key=str(index))
            for id, cells in zip(self._snapshots, rows[1:], strict=True):
                table.add_row(*(cells[index] for index in columns), key=id)
            if chosen in self._snapshots:
                table.move_cursor(row=list(self._snapshots).index(chosen), animate=False)
        table.display = bool(self._snapshots)
        if not self._snapshots:
            self._page.read((), _EMPTY)
            self.query_one("#facts", Static).update("")
            self._shown = None

    def _grow_older(self) -> None:
        """Bring the ages up to date and leave all else."""
        column = _COLUMNS.index("AGE")
        if str(column) not in self._table.columns:
            return
        for id, snap in self._snapshots.items():
            age = self._cells(snap)[column]
            former = self._table.get_cell(id, str(column))
            age.pad_left(max(0, former.cell_len - age.cell_len))
            if age != former:
                self._table.update_cell(id, str(column), age, update_width=True)

    @property
    def _page(self) -> Page:
        return self.query_one(Page)

    def _cells(self, snap: SnapshotInfo) -> list[Text]:
        name = one_line(snap.id)
        why = snap.error or ("saved" if snap.saved else f"of {snap.pid}, off its slot")
        return [
            Text("*" if snap.id in self._marked else " "),
            Text(set_cell_size(name, NAME_WIDTH) if cell_len(name) > NAME_WIDTH else name),
            Text(one_line(snap.agent)),
            Text(f"{snap.tokens:,}" if snap.tokens else ""),
            Text(render.size(snap.bytes)),
            Text(snap.tier.value),
            Text(render.span(max(0.0, time.time() - snap.created_at) * 1000)),
            Text("" if snap.error else "yes" if snap.exact else "no"),
            Text(one_line(why)),
        ]

    def _fitting(self, widths: list[int]) -> list[int]:
        """Indices of the columns that there is room for."""
        columns = list(range(len(_COLUMNS)))
        for spare in _SPARE:
            if sum(2 + widths[index] for index in columns) <= self.size.width:
                break
            columns.remove(_COLUMNS.index(spare))
        return columns

    @on(DataTable.RowHighlighted)
    def _highlighted(self, event: DataTable.RowHighlighted) -> None:
        self._choose(event.row_key.value)

    def _choose(self, id: str | None) -> None:
        self._chosen = id
        if id is None or self._snapshots.get(id) == self._shown:
            return
        if self._resting is not None:
            self._resting.stop()
        self._resting = self.set_timer(REST_S, self._read)

    @work(thread=True, exclusive=True, group="read")
    def _read(self) -> None:
        """Fetch what the chosen one says. Waits, while a model loads."""
        id, worker = self._chosen, get_current_worker()
        if id is None:
            return
        record = Record()
        try:
            detail = client_of(self.app).snapshot(id)
        except KernelError as error:
            record.begin(Kind.END, one_line(error.message))
            facts = ""
        else:
            write_conversation(record, detail.messages, unfinished=detail.unfinished)
            facts = f"{detail.prompt_tokens:,} prompt and {detail.reply_tokens:,} reply tokens · {detail.model}"
        if not worker.is_cancelled:
            self.post_message(self.Read(id, record, one_line(facts)))

    @on(Read)
    def _read_done(self, event: Read) -> None:
        if event.id == self._chosen and event.id in self._snapshots:
            self._shown = self._snapshots[event.id]
            self._page.read(event.record.parts, "nothing was said")
            self.query_one("#facts", Static).update(Text(event.facts))

    # --- verbs

    def action_down(self) -> None:
        self._table.action_cursor_down()

    def action_up(self) -> None:
        self._table.action_cursor_up()

    def action_mark(self) -> None:
        """Mark or unmark; of three the first one loses its mark."""
        self._chosen = id = self._at_cursor
        if id is None:
            return
        self._marked = [mark for mark in self._marked if mark != id] if id in self._marked else [*self._marked, id][-2:]
        self._draw()

    def action_save(self) -> None:
        snap = self._one()
        if snap is not None and snap.pid in self._live.procs:
            self.post_message(Act("save", (snap.pid,)))
        elif snap is not None:
            self.post_message(Notice(f"process {snap.pid} has ended: {one_line(snap.id)} is what is kept of it"))

    def action_diff(self) -> None:
        if len(self._marked) == 2:
            self._run("snap", "diff", *self._marked)
        else:
            self.post_message(Notice("mark two contexts with space to compare them"))

    def action_restore(self) -> None:
        snap = self._one()
        if snap is None:
            return
        if snap.saved:
            self._run("snap", "restore", "--bg", snap.id)
        else:
            self.post_message(Act("resume", (snap.pid,)))

    def action_fork(self) -> None:
        snap = self._one()
        if snap is not None and snap.saved:
            self._run("snap", "restore", "--bg", snap.id)
        elif snap is not None:
            self.post_message(Act("fork", (snap.pid,)))

    def action_export(self) -> None:
        snap = self._one()
        if snap is not None:
            self._run("snap", "export", snap.id, f"{snap.id}.aios")

    @work
    async def action_remove(self) -> None:
        snap = self._one()
        if snap is None:
            return
        if not snap.saved:
            self.post_message(Notice(f"{one_line(snap.id)} is a living process's: it goes when that ends"))
            return
        answers = [("y", "yes", "remove it"), ("n", "no", "keep it")]
        lines = [f"{snap.tokens:,} tokens, {render.size(snap.bytes)}. There is no way back."]
        if await self.app.push_screen_wait(Choose(f"Remove {snap.id}", lines, answers)) == "yes":
            self._run("snap", "rm", snap.id)

    def _one(self) -> SnapshotInfo | None:
        return self._snapshots.get(self._at_cursor or "")

    def _run(self, *words: str) -> None:
        self.post_message(Run(quote(words)))


def write_conversation(record: Record, messages: list[dict[str, Any]], *, unfinished: bool) -> None:
    """Messages, in the OpenAI form, as parts: who speaks, then what they say and which tools they call."""
    for message in messages:
        ending = " (unfinished)" if unfinished and message is messages[-1] and message["role"] == "assistant" else ""
        record.begin(Kind.HEADING, one_line(f"{message['role']}{ending}"))
        content = message.get("content")
        said = content if isinstance(content, str) else str(content or "")
        calls = "\n".join(f"calls {call}" for call in message.get("tool_calls") or [])
        record.write(Kind.OUTPUT, readable("\n\n".join(filter(None, [said, calls]))) + "\n\n")

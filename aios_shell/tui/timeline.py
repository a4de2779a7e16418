"""Which process had which slot, step by step: the scheduler's steps put into columns of cells. No screen here."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise, takewhile
from typing import Final

from aios_kernel.protocol import SlotUse, StepInfo, StepPhase

NUM_COLUMNS: Final = 4096  # as many as there are steps to make them of
IDLE_S: Final = 1.0  # a pause between two steps that is shown as a gap
NUM_LOOKED_BACK: Final = 64  # columns in which a preempted process's last cell is looked for
NUM_BRIDGED: Final = 3  # idle cells after which the same process begins a new stretch
_NICE_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


@dataclass(slots=True)
class Cell:
    """What the process that had a slot last in a column did there."""

    pid: int
    phase: StepPhase  # prefill if it fed any of its prompt
    tokens: int


@dataclass(slots=True)
class Column:
    """Some neighbouring steps; or a gap: time without steps, or steps that were not told of."""

    first: int  # numbers of its first
    last: int  # and last step
    began: float  # Unix seconds
    at: float  # Unix seconds, at its end
    cells: dict[int, Cell] = field(default_factory=dict)  # by slot
    preempted: dict[int, int] = field(default_factory=dict)  # by slot: the pid that lost it after these steps
    gap: bool = False

    def take(self, step: StepInfo) -> None:
        self.last, self.at = step.step, step.at
        for use in step.uses:
            self.cells[use.slot] = _merged(self.cells.get(use.slot), use)


def _merged(cell: Cell | None, use: SlotUse) -> Cell:
    if cell is None or cell.pid != use.pid:
        return Cell(use.pid, use.phase, use.tokens)
    phase = StepPhase.PREFILL if StepPhase.PREFILL in (cell.phase, use.phase) else StepPhase.DECODE
    return Cell(use.pid, phase, cell.tokens + use.tokens)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A process's uninterrupted time in a slot: cells `start` up to but not including `end`."""

    start: int
    end: int
    pid: int


class Timeline:
    """The newest columns, each of `per_cell` steps."""

    def __init__(self, per_cell: int) -> None:
        self.per_cell = per_cell
        self.columns: deque[Column] = deque(maxlen=NUM_COLUMNS)
        self.made = 0  # columns so far, those that are forgotten too
        self._newest: StepInfo | None = None

    def follow(self, steps: Sequence[StepInfo]) -> bool:
        """Take in what is new in `steps`, the newest last. Returns whether anything is.

        Steps are told apart by identity: a kernel that was started again counts them from 0 again.
        """
        new = list(takewhile(lambda step: step is not self._newest, reversed(steps)))
        if new and len(new) == len(steps):  # none of the former ones is left
            self.columns.clear()
            self._newest = None
        for step in reversed(new):
            self._add(step)
        return bool(new)

    def _add(self, step: StepInfo) -> None:
        former, self._newest = self._newest, step
        began = step.at - step.took_ms / 1e3
        if former is not None and (step.step != former.step + 1 or began - former.at > IDLE_S):
            self._append(Column(former.step, former.step, former.at, began, gap=True))
        for pid in step.preempted:
            self._mark(pid)
        # Cut at multiples of per_cell, wherever the steps begin, so that cells stay as they are while steps come.
        if not self.columns or self.columns[-1].gap or step.step % self.per_cell == 0:
            self._append(Column(step.step, step.step, began, step.at))
        self.columns[-1].take(step)

    def _append(self, column: Column) -> None:
        self.columns.append(column)
        self.made += 1

    def _mark(self, pid: int) -> None:
        for column in islice(reversed(self.columns), NUM_LOOKED_BACK):
            for slot, cell in column.cells.items():
                if cell.pid == pid:
                    column.preempted[slot] = pid
                    return

    def window(self, width: int, back: int = 0) -> list[Column]:
        """At most `width` columns that end `back` columns before the newest, the newest last."""
        return list(islice(reversed(self.columns), back, back + width))[::-1]


def stretches(columns: Sequence[Column], slot: int) -> Iterator[Stretch]:
    """Who had `slot`, from left to right. Idle cells in between are part of no stretch, a few of them end none."""
    start = end = pid = -1
    for x, column in enumerate(columns):
        cell = column.cells.get(slot)
        if pid != -1 and (column.gap or (cell is not None and cell.pid != pid) or x - end >= NUM_BRIDGED):
            yield Stretch(start, end, pid)
            pid = -1
        if cell is not None:
            if pid == -1:
                start, pid = x, cell.pid
            end = x + 1
    if pid != -1:
        yield Stretch(start, end, pid)


def shares(columns: Sequence[Column]) -> list[tuple[int, float]]:
    """Each process's part of the cells that anyone used, the largest first."""
    counts = Counter(cell.pid for column in columns for cell in column.cells.values())
    total = counts.total()
    return [(pid, count / total) for pid, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def tick_s(columns: Sequence[Column], spacing: int, former: float = 0.0) -> float:
    """Seconds between the marks of the time axis, so that they stand about `spacing` cells apart.

    Args:
        former: what it was before; kept while it is not far off, so that the marks do not dance.
    """
    busy = [column.at - column.began for column in columns if not column.gap]
    per_cell = sum(busy) / len(busy) if busy else 0.0
    wanted = per_cell * spacing
    if former and wanted <= former <= 3 * wanted:
        return former
    return next((nice for nice in _NICE_S if nice >= wanted), _NICE_S[-1])


def ticks(columns: Sequence[Column], every: float) -> Iterator[tuple[int, float]]:
    """Where the time axis is marked: a cell, and the Unix time that falls into it."""
    for x, (before, column) in enumerate(pairwise(columns), 1):
        mark = column.at // every
        if mark > before.at // every and not column.gap:
            yield x, mark * every


def notes(columns: Sequence[Column], marks: Sequence[tuple[float, str]]) -> Iterator[tuple[int, str]]:
    """Where in `columns` each mark (Unix time, text) falls: the first cell that ends after it."""
    for at, text in marks:
        x = next((x for x, column in enumerate(columns) if column.at > at), None)
        if x is not None and (x > 0 or columns[0].began <= at):
            yield x, text

"""The process table without a screen: which processes it shows in which order, in which columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from aios_kernel.protocol import ProcInfo, ProcState
from aios_shell.tui.glyphs import glyphs

S = ProcState

LINGER_S: Final = 10.0  # an ended process stays so long, so that nobody wonders where it went
MARGIN: Final = 2  # cells before the first column, for marks
GAP: Final = 2  # cells between columns
STEM: Final = 16  # of a tree's lines: what is deeper is drawn no further to the right

# The order of states in a table that is sorted by them: what a person may have to do something about comes first.
_STATES: Final = {
    state: rank
    for rank, state in enumerate((S.ASKING, S.RUNNING, S.READY, S.WAITING, S.SUSPENDED, S.NEW, S.ZOMBIE, S.EXITED))
}


# --- columns


@dataclass(frozen=True, slots=True)
class Column:
    """One column. Widths are cells."""

    name: str  # its heading, and what a sort is called
    least: int
    key: Callable[[ProcInfo, float], Any]  # given Unix seconds too
    right: bool = False
    falling: bool = False  # sorted with the largest first, unless reversed


PID, AGENT, STATE, RATE, CTX, TASK = "PID", "AGENT", "STATE", "TOK/S", "CTX", "TASK"
REASON, INOUT, WAIT, TIME, NICE, GROUP, SLOT, TIER = "WHY", "IN/OUT", "WAIT", "TIME", "NI", "GROUP", "SLOT", "TIER"
GLYPH: Final = 1  # width of STATE where only the glyph has room


def lasted_s(proc: ProcInfo, now: float) -> float:
    """From its start to its end, or to now: the kernel does not tell of every second that goes by."""
    return max(0.0, (proc.ended_at or now) - proc.started_at)


COLUMNS: Final[tuple[Column, ...]] = (
    Column(PID, 5, lambda p, _: p.pid, right=True),
    Column(AGENT, 10, lambda p, _: p.agent),
    Column(STATE, 11, lambda p, _: _STATES[p.state]),
    Column(REASON, 20, lambda p, _: p.reason),
    Column(RATE, 10, lambda p, _: p.tok_per_s, right=True, falling=True),
    Column(CTX, 8, lambda p, _: p.ctx_used / (p.ctx_max or 1), falling=True),
    Column(INOUT, 11, lambda p, _: p.tokens_in + p.tokens_out, right=True, falling=True),
    Column(WAIT, 6, lambda p, _: p.wait_ms, right=True, falling=True),
    Column(TIME, 6, lasted_s, right=True, falling=True),
    Column(NICE, 3, lambda p, _: p.nice, right=True),
    Column(GROUP, 6, lambda p, _: p.group),
    Column(SLOT, 4, lambda p, _: (p.slot is None, p.slot or 0), right=True),
    Column(TIER, 4, lambda p, _: p.tier),
    Column(TASK, 10, lambda p, _: p.task),
)
BY_NAME: Final = {column.name: column for column in COLUMNS}

# Who gets room first, and then who gets more of it, up to how many cells.
_RANKING: Final = (PID, AGENT, STATE, CTX, RATE, TASK, REASON, TIME, INOUT, NICE, WAIT, SLOT, TIER, GROUP)
_GROWTH: Final = ((TASK, 24), (RATE, 15), (CTX, 12), (AGENT, 18), (REASON, 32), (GROUP, 10), (TASK, 10_000))


@dataclass(frozen=True, slots=True)
class Place:
    """A column on the screen."""

    column: Column
    x: int
    width: int


@lru_cache(maxsize=64)
def layout(width: int) -> tuple[Place, ...]:
    """The columns that have room in so many cells. In a very narrow table STATE is its glyph, and AGENT the rest."""
    widths = _chosen(width)
    spare = width - MARGIN - sum(widths.values()) - GAP * (len(widths) - 1)
    for name, most in _GROWTH:
        if name in widths:
            more = max(0, min(spare, most - widths[name]))
            widths[name] += more
            spare -= more
    places, x = [], MARGIN
    for column in COLUMNS:
        if column.name in widths:
            places.append(Place(column, x, widths[column.name]))
            x += widths[column.name] + GAP
    return tuple(places)


def _chosen(width: int) -> dict[str, int]:
    widths: dict[str, int] = {}
    room = width - MARGIN + GAP
    for name in _RANKING:
        if room < BY_NAME[name].least + GAP:
            break
        widths[name] = BY_NAME[name].least
        room -= BY_NAME[name].least + GAP
    if STATE in widths:
        return widths
    agent = width - MARGIN - BY_NAME[PID].least - GLYPH - 2 * GAP
    return {PID: BY_NAME[PID].least, AGENT: max(1, agent), STATE: GLYPH}


def column_at(places: Iterable[Place], x: int) -> Column | None:
    """Whose heading is in this cell; the gap after it counts as well."""
    for place in places:
        if place.x <= x < place.x + place.width + GAP:
            return place.column
    return None


# --- rows


@dataclass(frozen=True, slots=True)
class Row:
    pid: int
    stem: str = ""  # lines of the tree, before the agent's name
    aside: bool = False  # does not match the filter: it is there for its children


@dataclass(frozen=True, slots=True)
class Choice:
    """How a person wants the table."""

    sort: str = PID
    reverse: bool = False
    tree: bool = False
    ended: bool = False
    words: str = ""  # of the filter; `!` before one: without it

    def sorted_by(self, name: str) -> Choice:
        """By another column; by the same one: the other way round."""
        return replace(self, sort=name, reverse=not self.reverse if name == self.sort else False)

    def next_sort(self, places: Iterable[Place]) -> Choice:
        """By the next column of those shown."""
        names = [place.column.name for place in places]
        at = names.index(self.sort) if self.sort in names else -1
        return replace(self, sort=names[(at + 1) % len(names)], reverse=False)

    @property
    def descending(self) -> bool:
        return BY_NAME[self.sort].falling != self.reverse


def matcher(words: str) -> Callable[[ProcInfo], bool]:
    """Whether a process has all words of a filter in what its row says, and none of those with `!` before them."""
    parts = [(word.lstrip("!"), word.startswith("!")) for word in words.lower().split()]
    wanted = [(word, without) for word, without in parts if word]

    def matches(proc: ProcInfo) -> bool:
        said = f"{proc.pid} {proc.agent} {proc.state} {proc.reason} {proc.group} {proc.tier} {proc.task}".lower()
        return all((word in said) != without for word, without in wanted)

    return matches if wanted else lambda _proc: True


def shown(procs: Mapping[int, ProcInfo], choice: Choice, now: float, kept: int | None) -> Iterator[ProcInfo]:
    """Those that are alive, and of the ended ones those asked for, those that ended just now, and `kept`.

    Args:
        now: Unix seconds.
        kept: the pid under the cursor, which must not vanish there.
    """
    for proc in procs.values():
        if proc.state is not S.EXITED or choice.ended or proc.pid == kept or now - (proc.ended_at or 0) < LINGER_S:
            yield proc


def arrange(procs: Mapping[int, ProcInfo], choice: Choice, now: float, kept: int | None = None) -> list[Row]:
    """All rows in order. Who asks comes first; in a tree, with all its ancestors."""
    ranked = sorted(shown(procs, choice, now, kept), key=lambda p: p.pid)
    key = BY_NAME[choice.sort].key
    ranked.sort(key=lambda p: key(p, now), reverse=choice.descending)
    matches = matcher(choice.words)
    if choice.tree:
        return _tree(ranked, {proc.pid for proc in ranked if matches(proc)})
    ranked.sort(key=lambda p: p.state is not S.ASKING)
    return [Row(proc.pid) for proc in ranked if matches(proc)]


def hold(rows: Iterable[Row], procs: Mapping[int, ProcInfo], choice: Choice, now: float) -> list[Row]:
    """The rows as they stand, without those the kernel has forgotten; new ones at the end."""
    kept = [row for row in rows if row.pid in procs]
    known, matches = {row.pid for row in kept}, matcher(choice.words)
    fresh = (proc for proc in shown(procs, choice, now, None) if proc.pid not in known and matches(proc))
    return kept + [Row(proc.pid) for proc in fresh]


def _tree(ranked: list[ProcInfo], matching: set[int]) -> list[Row]:
    """Children under their parents. A child whose parent is not there stands at the root."""
    by_pid = {proc.pid: proc for proc in ranked}
    wanted = _upwards(matching, by_pid)
    asking = _upwards((proc.pid for proc in ranked if proc.state is S.ASKING), by_pid)
    children: dict[int, list[int]] = {}
    for proc in sorted(ranked, key=lambda p: p.pid not in asking):
        if proc.pid in wanted:
            children.setdefault(proc.ppid if proc.ppid in wanted else 0, []).append(proc.pid)
    return list(_walk(children, matching))


def _upwards(pids: Iterable[int], by_pid: Mapping[int, ProcInfo]) -> set[int]:
    """The pids and all their ancestors."""
    found: set[int] = set()
    for each in pids:
        pid = each
        while pid in by_pid and pid not in found:
            found.add(pid)
            pid = by_pid[pid].ppid
    return found


def _walk(children: Mapping[int, list[int]], matching: set[int]) -> Iterator[Row]:
    """Down the tree, without recursion: a chain of forks may be long."""
    drawn = glyphs()
    pending = [(pid, "", "") for pid in reversed(children.get(0, []))]
    while pending:
        pid, stem, below = pending.pop()
        yield Row(pid, stem, pid not in matching)
        under = children.get(pid, [])
        for child in reversed(under):
            final = child == under[-1]
            branch = drawn.last if final else drawn.branch
            trunk = " " if final else drawn.through
            pending.append((child, f"{below}{branch} ", f"{below}{trunk} "[:STEM]))

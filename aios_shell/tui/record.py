"""What a process said and did, cut into parts that are drawn one by one. No Textual here.

Everything in a part is safe for a terminal: control characters are visible, invalid UTF-8 is replaced, tabs are spaces.
A part is at most a page long, so that drawing one never takes long, whatever a program writes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from aios_kernel.client import output_bytes
from aios_kernel.protocol import Event, EventKind, ProcState
from aios_shell.text import TerminalText, one_line, sanitize

KEEP: Final = 200_000  # characters; what is older is left out
GOOD: Final = 1_000  # a part as long ends at the next blank line,
LONG: Final = 2_000  # at the next line that begins one,
FULL: Final = (
    3_000  # here. Some Markdown takes quadratic time: "![" repeated so often takes 60 ms, ten times as often 6 s
)
EVENT_COST: Final = 100  # characters that an event counts for
TAB: Final = 4

_MARKS: Final = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_NO_WIDTH: Final = _MARKS + "\u200b-\u200f\u2060-\u2064\ufe00-\ufe0f\ufeff\U000e0000-\U000e01ef"
# A cell may hold a few combining characters. A thousand of them make a terminal crawl and are no writing.
_HEAPS: Final = re.compile(f"([{_NO_WIDTH}]{{8}})[{_NO_WIDTH}]+")
# Terminals differ in how wide a joined emoji is, and a line wider than counted breaks the screen: it is taken apart.
_JOINTS: Final = re.compile("\u200d(?=[\u2190-\u2bff\U0001f000-\U0001faff])|[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")
_SEPARATORS: Final = str.maketrans({"\u2028": "\n", "\u2029": "\n"})
_LINES: Final = re.compile(r"[^\n]*\n|[^\n]+")
_FENCE: Final = re.compile(r" {0,3}(`{3,}[^`]*|~{3,}.*)$")
_ITEM: Final = re.compile(r"[\s|>*+-]|\d+[.)]")  # how a line begins that goes on with a list, table or quote


def readable(text: str) -> str:
    """`text`, which anybody may have written, as lines of printable characters."""
    text = sanitize(text).translate(_SEPARATORS).expandtabs(TAB)
    return text if text.isascii() else _HEAPS.sub(r"\1", _JOINTS.sub("", text))


class Kind(Enum):
    HEADING = auto()  # who speaks
    OUTPUT = auto()  # Markdown
    ERROR = auto()  # standard error
    SAID = auto()  # by the person here
    MARK = auto()  # events, folded
    END = auto()
    LEFT_OUT = auto()


@dataclass(slots=True, eq=False)
class Part:
    """A piece that is drawn as a whole. `version` counts its changes."""

    kind: Kind
    text: str = ""
    fence: str = ""  # of OUTPUT that begins inside a code block: the line that opened it
    events: list[Event] = field(default_factory=list)  # of a MARK
    unfolded: bool = False
    version: int = 0

    @property
    def words(self) -> str:
        """All that a search should find."""
        return "\n".join([self.text, *(one_line(event.data) for event in self.events)])

    @property
    def cost(self) -> int:
        return len(self.text) + EVENT_COST * len(self.events)


class Record:
    """The parts of one process's life, the newest at the end. Of a long one only the last KEEP characters."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.last_seq = -1
        self.exit_code: int | None = None
        self.num_left_out = 0  # characters
        self._cost = 0
        self._fence = ""  # the line that opened the code block which the output is in
        self._held: list[Event] = []  # until the output is at the end of a line
        self._texts = {EventKind.STDOUT: TerminalText(), EventKind.STDERR: TerminalText()}

    def add(self, events: Iterable[Event]) -> None:
        """Take in what happened, in order."""
        chunks: list[tuple[Kind, str]] = []
        for event in events:
            self.last_seq = event.seq
            if event.kind in self._texts:
                kind = Kind.OUTPUT if event.kind is EventKind.STDOUT else Kind.ERROR
                text = readable(self._texts[event.kind].feed(output_bytes(event)).decode())
                if chunks and chunks[-1][0] is not kind:
                    self._write_all(chunks)
                chunks.append((kind, text))
                continue
            self._write_all(chunks)
            if event.kind is EventKind.EXIT:
                self._end(event)
            else:
                self._held.append(event)
                self._tell_held()
        self._write_all(chunks)
        self._trim()

    def _write_all(self, chunks: list[tuple[Kind, str]]) -> None:
        """Write the chunks, which are of one kind, and forget them."""
        if chunks:
            text = "".join(text for _, text in chunks)
            self.num_left_out += max(0, len(text) - KEEP)
            self.write(chunks[0][0], text[-KEEP:])
            self._tell_held()
            chunks.clear()

    def write(self, kind: Kind, text: str) -> None:
        """Add readable text. What is of one kind is one text, however it comes in."""
        for line in _LINES.findall(text):
            for start in range(0, len(line), FULL):
                self._write_line(kind, line[start : start + FULL])

    def begin(self, kind: Kind, text: str) -> None:
        """Add a line of its own."""
        self._append(Part(kind, text))

    def _write_line(self, kind: Kind, line: str) -> None:
        """Add a line, or a piece of one, to the last part or to a new one."""
        part = self.parts[-1] if self.parts else None
        if part is None or part.kind is not kind or self._is_full(part, line):
            part = self._append(Part(kind, fence=self._fence if kind is Kind.OUTPUT else ""))
        part.text += line
        part.version += 1
        self._cost += len(line)
        if kind is Kind.OUTPUT and line.endswith("\n"):
            self._note_fence(part.text[part.text.rfind("\n", 0, -1) + 1 : -1])

    def _is_full(self, part: Part, line: str) -> bool:
        """Whether `line` should not go into the part any more; a block of Markdown is kept together if it can be."""
        size = len(part.text)
        if size + len(line) > FULL:
            return True
        if size < GOOD or self._fence or not part.text.endswith("\n"):
            return False
        begins = not line[0].isspace()
        return begins and (part.text.endswith("\n\n") or (size >= LONG and not _ITEM.match(line)))

    def _note_fence(self, line: str) -> None:
        found = _FENCE.match(line)
        if found is None:
            return
        if not self._fence:
            self._fence = line + "\n"
        elif re.fullmatch(re.escape(self._fence.strip()[:3]) + r"[`~]*", line.strip()):
            self._fence = ""

    def _tell_held(self) -> None:
        """Make a mark of the events held back, but never in the middle of what is being written."""
        if not self._held:
            return
        last = self.parts[-1] if self.parts else None
        if last is not None and last.kind is Kind.OUTPUT and not self._may_break(last):
            return
        if last is None or last.kind is not Kind.MARK:
            last = self._append(Part(Kind.MARK))
        last.events += self._held
        last.version += 1
        self._cost += EVENT_COST * len(self._held)
        self._held = []

    def _may_break(self, last: Part) -> bool:
        """Whether the output is at the end of a line, and what is held back worth a line between."""
        return last.text.endswith("\n") and not self._fence and not all(map(_is_turn, self._held))

    def _end(self, event: Event) -> None:
        self._fence = ""
        if self.parts and self.parts[-1].kind is Kind.OUTPUT and not self.parts[-1].text.endswith("\n"):
            self.write(Kind.OUTPUT, "\n")
        self._tell_held()
        code = int(event.data)
        self.exit_code = code
        self.begin(Kind.END, "ended" if code == 0 else f"ended, exit code {code}")

    def _append(self, part: Part) -> Part:
        self.parts.append(part)
        self._cost += part.cost
        return part

    def _trim(self) -> None:
        """Leave out the oldest parts; the first line says how much."""
        if self._cost <= KEEP:
            return
        if self.parts[0].kind is Kind.LEFT_OUT:
            self._cost -= self.parts.pop(0).cost
        num = 0
        while self._cost > KEEP:
            self._cost -= self.parts[num].cost
            self.num_left_out += len(self.parts[num].text)
            num += 1
        self.parts[:num] = []
        notice = Part(Kind.LEFT_OUT, f"{self.num_left_out:,} characters before this are left out")
        self.parts.insert(0, notice)
        self._cost += notice.cost

    def reply(self) -> str:
        """The last thing that was written to standard output, as it was written."""
        texts: list[str] = []
        for part in reversed(self.parts):
            if part.kind is Kind.OUTPUT:
                texts.append(part.text)
            elif texts and part.kind in (Kind.SAID, Kind.MARK, Kind.HEADING):
                break
        return "".join(reversed(texts)).strip("\n")


def _is_turn(event: Event) -> bool:
    """Whether it tells only that a process got the slot, or has to wait for it: that happens all the time."""
    return event.kind is EventKind.STATE and event.data.split(" ")[0] in (ProcState.RUNNING, ProcState.READY)


def summary(events: Iterable[Event]) -> str:
    """Events in one line: syscalls, how often and what went wrong; what the window lost; a state worth telling."""
    calls: Counter[str] = Counter()
    notes: list[str] = []
    state = ""
    for event in events:
        data = one_line(event.data)
        if event.kind is EventKind.SYSCALL:
            calls[data.removesuffix(" ok")] += 1
        elif event.kind is EventKind.WINDOW:
            notes.append(data)
        elif event.kind is EventKind.STATE:
            state = data
    names = [name if count == 1 else f"{name} x{count}" for name, count in calls.items()]
    telling = not calls or state.startswith((ProcState.SUSPENDED, ProcState.ASKING))
    return " · ".join([*names, *notes, *([state] if state and telling else [])])

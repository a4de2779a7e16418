"""Keys and commands in full: the keys from the bindings of what is on the screen, the commands from the registry."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, ClassVar, Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widgets import Static

from aios_shell import registry
from aios_shell.help import LANGUAGE

WIDE: Final = 104  # columns from which keys and commands stand beside each other
MAX_LEFT: Final = 20  # cells
MIN_RIGHT: Final = 12
KEYS_SHARE: Final = 40  # per cent of the width


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and rows of two columns each."""

    title: str
    rows: tuple[tuple[str, str], ...]

    def having(self, words: Sequence[str]) -> Section:
        """The rows with all of the words in them; all rows where the heading has them."""
        if _has(self.title, words):
            return self
        return Section(self.title, tuple(row for row in self.rows if _has(" ".join((self.title, *row)), words)))


def _has(text: str, words: Sequence[str]) -> bool:
    return all(word.lower() in text.lower() for word in words)


def key_sections(screen: Screen[Any], keymap: Mapping[str, str]) -> list[Section]:
    """The keys of everything on the screen, first those that work now.

    Args:
        keymap: binding id to the keys that stand for the binding's own.
    """
    app = screen.app
    focused = screen.focused.ancestors_with_self if screen.focused is not None else [screen, app]
    others = [node for node in screen.walk_children() if node.display]
    sections: dict[str, Section] = {}
    for node in (*focused, *others):
        rows = tuple(_rows(app, node, keymap))
        if rows:
            sections.setdefault(_title(node), Section(_title(node), rows))
    return list(sections.values())


def _title(node: DOMNode) -> str:
    if isinstance(node, App):
        return "Everywhere"
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(node).__name__)
    return str(getattr(node, "HELP_TITLE", words.capitalize()))


def _rows(app: App[Any], node: DOMNode, keymap: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Keys and what they do, of the bindings that are ours."""
    for kind in type(node).__mro__:
        if not kind.__module__.startswith("textual"):
            for binding in vars(kind).get("BINDINGS", ()):
                if isinstance(binding, Binding) and binding.description:
                    keys = keymap.get(binding.id or "", binding.key).split(",")
                    own = binding.key_display if binding.id not in keymap else None
                    shown = own or " ".join(app.get_key_display(Binding(key.strip(), "", "")) for key in keys)
                    yield shown, binding.description


def command_sections() -> list[Section]:
    """The commands by category, and the language they are written in."""
    specs = registry.visible()
    sections = [
        Section(category, tuple((spec.name, spec.summary) for spec in specs if spec.category == category))
        for category in dict.fromkeys(spec.category for spec in specs)
    ]
    title, *rows = (line for line in LANGUAGE.strip().splitlines() if line)
    return [*sections, Section(title, tuple((row.strip(), "") for row in rows))]


class Help(VerticalScroll, can_focus=False):
    """Both, filtered by words."""

    DEFAULT_CSS = """
    Help { layout: vertical; height: 1fr; scrollbar-size-vertical: 1; }
    Help.-wide { layout: horizontal; }
    Help Static { width: 100%; height: auto; }
    Help > .help--title { color: $primary; text-style: bold; }
    Help > .help--left { text-style: bold; }
    Help > .help--right { color: $text-muted; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"help--title", "help--left", "help--right"}

    def __init__(self, keys: Sequence[Section], commands: Sequence[Section]) -> None:
        super().__init__()
        self._columns = ((keys, Static()), (commands, Static()))
        self._words: list[str] = []

    def compose(self) -> ComposeResult:
        for _, column in self._columns:
            yield column

    def on_resize(self) -> None:
        self.filter(self._words)

    def filter(self, words: list[str]) -> None:
        """Show what has all of the words in it."""
        self._words = words
        room = self.scrollable_content_region.width
        wide = room >= WIDE
        self.set_class(wide, "-wide")
        widths = (room * KEYS_SHARE // 100, room - room * KEYS_SHARE // 100) if wide else (room, room)
        for (sections, column), width in zip(self._columns, widths, strict=True):
            column.styles.width = width
            found = [section.having(words) for section in sections]
            column.update(self._draw([section for section in found if section.rows], width))

    def _draw(self, sections: Sequence[Section], columns: int) -> Text:
        title, left, right = (
            self.get_component_rich_style(f"help--{part}", partial=True) for part in ("title", "left", "right")
        )
        names = [name for section in sections for name, tells in section.rows if tells]
        width = min(MAX_LEFT, max(map(cell_len, names), default=0))
        indent = "\n" + " " * (width + 4)
        text = Text()
        for section in sections:
            text.append(f"{section.title}\n", title)
            for name, tells in section.rows:
                text.append(f"  {set_cell_size(name, max(width, cell_len(name)))}", left if tells else "")
                lines = wrap(tells, max(MIN_RIGHT, columns - width - 6)) or [""]
                text.append("  " + indent.join(lines) + "\n", right)
            text.append("\n")
        return text

"""`?`: every key and every command, searched as one types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen, Screen
from textual.widgets import Input

from aios_shell.tui.widgets.help import Help, command_sections, key_sections


class HelpScreen(ModalScreen[None]):
    """Over the screen whose keys it tells."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; }
    HelpScreen > Vertical {
        width: 90%; max-width: 132; height: 90%; padding: 0 1; border: round $primary; background: $surface;
    }
    HelpScreen Input { border: none; height: 1; padding: 0; margin-bottom: 1; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Close", priority=True, id="help.leave"),
        Binding("down", "scroll(1)", "Down", show=False, id="help.down"),
        Binding("up", "scroll(-1)", "Up", show=False, id="help.up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="help.page_down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="help.page_up"),
    ]

    def __init__(self, screen: Screen[Any], keymap: Mapping[str, str]) -> None:
        """keymap: binding id to the keys that the user has given it."""
        super().__init__()
        self._help = Help(key_sections(screen, keymap), command_sections())

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = "Help"
            box.border_subtitle = "esc closes"
            yield Input(placeholder="type to search keys and commands", compact=True)
            yield self._help

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._help.filter(event.value.split())
        self._help.scroll_home(animate=False)

    def action_scroll(self, rows: int) -> None:
        self._help.scroll_relative(y=rows, animate=False)

    def action_page(self, pages: int) -> None:
        self._help.scroll_relative(y=pages * max(1, self._help.size.height - 1), animate=False)

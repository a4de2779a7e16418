"""The tabbed pane beside the table: one line of names, and the view that is chosen."""

from __future__ import annotations

from typing import Final

from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.events import Click
from textual.message import Message
from textual.widget import Widget
from textual.widgets import ContentSwitcher

VIEWS: Final = ("transcript", "scheduler", "contexts", "output")


class Tabs(Widget):
    """The names, the chosen one marked; keys 1 to 4 and the mouse choose."""

    DEFAULT_CSS = "Tabs { height: 1; padding: 0 1; }"

    class Chosen(Message):
        def __init__(self, view: str) -> None:
            super().__init__()
            self.view = view

    def __init__(self) -> None:
        super().__init__()
        self.current = VIEWS[0]
        self.fresh: set[str] = set()  # have something that was not looked at

    def render(self) -> Text:
        chosen = Style(bold=True, reverse=True) if self.app.ansi_color or self.app.no_color else None
        line = Text(no_wrap=True, overflow="ellipsis")
        for number, view in enumerate(VIEWS, 1):
            style = chosen or self.get_component_rich_style("tabs--chosen") if view == self.current else ""
            mark = "*" if view in self.fresh else self._gap
            line.append(f"{number} {view.capitalize()}{mark}", style or self._dim)
        return line

    @property
    def _gap(self) -> str:
        """Two cells between names where there is room."""
        return "  " if self.size.width >= sum(len(view) + 4 for view in VIEWS) else " "

    COMPONENT_CLASSES = {"tabs--chosen", "tabs--other"}

    @property
    def _dim(self) -> Style:
        return self.get_component_rich_style("tabs--other")

    def on_click(self, event: Click) -> None:
        at = 0
        for view in VIEWS:
            at += len(view) + 2 + len(self._gap)
            if event.x < at:
                self.post_message(self.Chosen(view))
                return


class Side(Vertical):
    """The views, one shown at a time."""

    def __init__(self, views: dict[str, Widget]) -> None:
        super().__init__(id="side")
        self._views = views
        self.tabs = Tabs()
        for name, view in views.items():
            view.id = name

    def compose(self) -> ComposeResult:
        yield self.tabs
        with ContentSwitcher(initial=VIEWS[0]):
            yield from self._views.values()

    @property
    def current(self) -> str:
        return self.tabs.current

    def choose(self, view: str) -> None:
        self.tabs.current = view
        self.tabs.fresh.discard(view)
        self.tabs.refresh()
        self.query_one(ContentSwitcher).current = view

    def mark(self, view: str) -> None:
        """Say that there is something new in a view that is not shown."""
        if view != self.current and view not in self.tabs.fresh:
            self.tabs.fresh.add(view)
            self.tabs.refresh()

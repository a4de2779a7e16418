"""What one types into: each key has its effect when its turn comes, and a paste loses nothing."""

from __future__ import annotations

from textual.events import Key, Paste
from textual.widget import Widget
from textual.widgets import Input


class InOrder:
    """For a widget that takes characters, before its base: its bindings are as fast as its characters are.

    Textual hands characters to the widget and looks for bindings in the app, each with a queue of its own: of what is
    typed ahead, or while the machine is busy, Enter would run too little of a line, or the next one with it.
    """

    async def _on_key(self: Widget, event: Key) -> None:  # type: ignore[misc]
        active = None if event.is_printable else self.screen.active_bindings.get(event.key)
        if active is not None and active.node is self and await self.app.run_action(active.binding.action, self):
            event.stop()
            event.prevent_default()


class LineInput(InOrder, Input):
    """A line to type in. Of several that are pasted it makes one."""

    def _on_paste(self, event: Paste) -> None:
        event.stop()
        event.prevent_default()
        self.replace(" ".join(event.text.splitlines()), *self.selection)

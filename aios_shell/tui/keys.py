"""Every key of the app, for the page about it and for the check of ui.toml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode


@dataclass(frozen=True, slots=True)
class Key:
    where: str  # what has the focus when it works
    id: str  # what ui.toml calls it
    keys: tuple[str, ...]  # as they are shown
    does: str


def ids() -> frozenset[str]:
    """What ui.toml may give other keys."""
    return frozenset(binding.id for _, binding in _bindings() if binding.id)


def keys() -> list[Key]:
    """The app's first, then by what has the focus."""
    shown = App[None]().get_key_display
    found = []
    for kind, binding in _bindings():
        names = [shown(Binding(key.strip(), "", "")) for key in binding.key.split(",")]
        keys = (binding.key_display,) if binding.key_display else tuple(names)
        found.append(Key(_where(kind), binding.id or "", keys, binding.description))
    return sorted(found, key=lambda key: key.where != "Everywhere")


def _bindings() -> Iterator[tuple[type[DOMNode], Binding]]:
    """Those with an id, of all classes of ours that are loaded."""
    for kind in _classes(DOMNode):
        for binding in vars(kind).get("BINDINGS", ()):
            if isinstance(binding, Binding) and binding.id:
                yield kind, binding


def _classes(kind: type[DOMNode]) -> Iterator[type[DOMNode]]:
    for child in kind.__subclasses__():
        if child.__module__.startswith("aios_shell."):
            yield child
        yield from _classes(child)


def _where(kind: type[DOMNode]) -> str:
    if issubclass(kind, App):
        return "Everywhere"
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__)
    return str(getattr(kind, "HELP_TITLE", words.capitalize()))

"""ui.toml: how the app looks and which keys it takes. The kernel's own settings are in config.toml."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from aios_kernel.client import paths
from aios_kernel.client.toml import TomlFile, unknown


class Layout(StrEnum):
    """Where the side stands: beside the process table or below it."""

    AUTO = "auto"  # as the terminal's width allows
    BESIDE = "beside"
    BELOW = "below"


@dataclass(frozen=True, slots=True)
class Settings:
    theme: str = "graphite"
    layout: Layout = Layout.AUTO
    keys: dict[str, str] = field(default_factory=dict)  # binding id -> keys, comma-separated


_SECTIONS: Final = {"ui": ("theme", "layout"), "keys": ()}


def path() -> Path:
    return paths().config / "ui.toml"


def themes_folder() -> Path:
    """The user's own themes, one TOML file each."""
    return paths().config / "themes"


def load(file_path: Path, bindings: frozenset[str]) -> Settings:
    """The settings in a file; all defaults where there is none.

    Args:
        bindings: ids that [keys] may name.

    Raises:
        BadConfig: one line with file, line number and what is accepted.
    """
    try:
        file = TomlFile.read(file_path)
    except FileNotFoundError:
        return Settings()
    for section, body in file.table.items():
        if section not in _SECTIONS:
            raise file.error(section, "", unknown("section", section, _SECTIONS))
        if not isinstance(body, dict):
            raise file.error(section, "", f"{section} is a section: write [{section}]")
    values = dict(_texts(file, "ui", file.table.get("ui", {})))
    for key in values:
        if key not in _SECTIONS["ui"]:
            raise file.error("ui", key, unknown("key", key, _SECTIONS["ui"]))
    layout = values.get("layout", Layout.AUTO)
    if layout not in set(Layout):
        raise file.error("ui", "layout", f"layout = {layout!r}: must be one of {', '.join(Layout)}")
    keys = dict(_texts(file, "keys", file.table.get("keys", {})))
    for key in keys:
        if key not in bindings:
            raise file.error("keys", key, unknown("key", key, sorted(bindings)))
    return Settings(values.get("theme", Settings().theme), Layout(layout), keys)


def save_theme(file_path: Path, name: str) -> None:
    """Write the theme's name, and leave the rest of the file as it is. Raises BadConfig and OSError."""
    try:
        file = TomlFile.read(file_path)
    except FileNotFoundError:
        file = TomlFile(file_path, "", {})
    value = json.dumps(name)  # a TOML string too
    lines = file.text.splitlines()
    theme, section = file.line_of("ui", "theme"), file.line_of("ui", "")
    if theme:
        lines[theme - 1] = re.sub(
            r"""\btheme(["']?\s*=\s*)("[^"]*"|'[^']*')""", lambda match: f"theme{match[1]}{value}", lines[theme - 1]
        )
    elif section:
        lines.insert(section, f"theme = {value}")
    else:
        lines += ["[ui]", f"theme = {value}"]
    text = "\n".join(lines) + "\n"
    if _theme_in(text) != name:
        raise file.error("ui", "", f"the theme cannot be written into this; add theme = {value} to [ui]")
    file_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = file_path.with_suffix(f".{os.getpid()}")
    new.write_text(text, encoding="utf-8")
    new.replace(file_path)


def _theme_in(text: str) -> object:
    try:
        return tomllib.loads(text).get("ui", {}).get("theme")
    except (tomllib.TOMLDecodeError, AttributeError):
        return None


def _texts(file: TomlFile, section: str, table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, text) of a table; `app.quit = "x"` is a table in a table to TOML."""
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _texts(file, section, value, f"{key}.")
        elif isinstance(value, str):
            yield key, value
        else:
            raise file.error(section, key, f"{key} = {value!r}: must be a text in quotes")

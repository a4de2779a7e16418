"""Colour themes: TOML files of this package and of the user, and an app that wears them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from rich.errors import StyleSyntaxError
from rich.style import Style
from textual.app import App
from textual.color import Color, ColorParseError
from textual.theme import BUILTIN_THEMES, Theme

from aios_kernel.client.toml import TomlFile, unknown
from aios_kernel.errors import BadConfig
from aios_shell import settings
from aios_shell.settings import Settings
from aios_shell.tui import keys
from aios_shell.tui.palette import TOKENS, defaults

NO_COLOR_THEME: Final = "mono"
POLL_S: Final = 1.0  # between looks at the user's themes

# What [colors] may name, and which of Textual's variables each paints. Those without any are fields of its Theme.
ROLES: Final[dict[str, tuple[str, ...]]] = {
    "primary": ("footer-key-foreground", "link-color", "scrollbar-active"),
    "secondary": (),
    "accent": (),
    "success": (),
    "warning": (),
    "error": (),
    "foreground": (
        "text",
        "ansi-foreground",
        "block-cursor-foreground",
        "block-cursor-blurred-foreground",
        "input-selection-foreground",
        "screen-selection-foreground",
        "footer-description-foreground",
    ),
    "background": (
        "ansi-background",
        "button-color-foreground",
        "footer-background",
        "link-color-hover",
        "scrollbar-background",
        "scrollbar-background-hover",
        "scrollbar-background-active",
        "scrollbar-corner-color",
    ),
    "surface": ("block-hover-background",),
    "panel": (),
    "boost": (),
    "muted": ("text-muted", "foreground-muted", "footer-foreground"),
    "faint": ("text-disabled", "foreground-disabled", "scrollbar-hover"),
    "border": ("border",),
    "rule": ("border-blurred", "scrollbar"),
    "cursor": ("block-cursor-background",),
    "cursor-blurred": ("block-cursor-blurred-background",),
    "selection": ("input-selection-background", "screen-selection-background"),
}
_FIELDS: Final = ROLES.keys() & {field.name for field in fields(Theme)}
_TOP: Final[dict[str, type]] = {
    "description": str,
    "dark": bool,
    "ansi": bool,
    "colors": dict,
    "tokens": dict,
    "variables": dict,
}
_TYPE_NAMES: Final = {str: "a text in quotes", bool: "true or false", dict: "a section"}


def load(path: Path) -> Theme:
    """The theme in a file, named as the file is.

    `[colors]` are few and paint most of Textual's variables (ROLES), `[tokens]` are ours (palette.TOKENS), and
    `[variables]` sets single ones of Textual's. What is left out is derived from the others.

    Raises:
        BadConfig: one line with file and line number.
        FileNotFoundError: there is none.
    """
    file = TomlFile.read(path)
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", path.stem):
        raise BadConfig(f"{path}: a theme's name is of small letters, digits and dashes", file=str(path))
    for name, value in file.table.items():
        if name not in _TOP:
            raise file.error("", name, unknown("key", name, _TOP))
        if not isinstance(value, _TOP[name]):
            raise file.error("", name, f"{name} must be {_TYPE_NAMES[_TOP[name]]}")
    colors = _values(file, "colors", frozenset(ROLES))
    if "primary" not in colors:
        raise file.error("colors", "", "[colors] must name primary")
    painted = {variable: value for role, value in colors.items() for variable in ROLES[role]}
    tokens = _values(file, "tokens", frozenset(TOKENS))
    values: dict[str, Any] = {name: colors[name] for name in _FIELDS & colors.keys()}
    theme = Theme(path.stem, dark=file.table.get("dark", True), ansi=file.table.get("ansi", False), **values)
    known = frozenset(theme.to_color_system().generate())
    theme.variables = {**painted, **_values(file, "variables", known), **tokens}
    return theme


def _values(file: TomlFile, section: str, accepted: frozenset[str]) -> dict[str, str]:
    table: dict[str, Any] = file.table.get(section, {})
    for key, value in table.items():
        if key not in accepted:
            raise file.error(section, key, unknown("name", key, sorted(accepted)))
        if not isinstance(value, str):
            raise file.error(section, key, f"{key} = {value!r}: must be {_TYPE_NAMES[str]}")
        problem = _style_problem(value) if key.endswith("-style") else _color_problem(value)
        if problem:
            raise file.error(section, key, f"{key} = {value!r}: {problem}")
    return table


def _color_problem(value: str) -> str:
    try:
        Color.parse(value)
    except ColorParseError:
        return 'is no colour; write "#rrggbb", a name of CSS, or "ansi_green" and its like'
    return ""


def _style_problem(value: str) -> str:
    try:
        Style.parse(value)
    except StyleSyntaxError:
        return "is no text style; write none, or of bold, dim, italic, reverse, strike and underline"
    return ""


def bundled_files() -> list[Path]:
    return sorted(Path(str(files("aios_themes"))).glob("*.toml"))


def bundled() -> dict[str, Theme]:
    """The themes that come with AIOS Shell, by name."""
    return {path.stem: load(path) for path in bundled_files()}


@dataclass(frozen=True, slots=True)
class Changes:
    """What a look at the user's themes found."""

    themes: list[Theme]  # new or written again
    gone: list[str]
    errors: list[BadConfig]


class ThemeFolder:
    """The user's themes. Cheap to look at: a file is read when its time or size has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[Path, tuple[int, int]] = {}

    def changes(self) -> Changes:
        """Since the last call."""
        found = Changes([], [], [])
        stamps = dict(filter(None, map(_stamp, sorted(self._folder.glob("*.toml")))))
        for path, stamp in stamps.items():
            if self._seen.get(path) != stamp:
                try:
                    found.themes.append(load(path))
                except BadConfig as error:
                    found.errors.append(error)
                except FileNotFoundError:  # removed since
                    continue
        found.gone.extend(path.stem for path in self._seen if path not in stamps)
        self._seen = stamps
        return found


def _stamp(path: Path) -> tuple[Path, tuple[int, int]] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return path, (status.st_mtime_ns, status.st_size)


class Themed(App[int]):
    """An app in the user's theme: ours and theirs instead of Textual's own, reloaded when their files change.

    With NO_COLOR (https://no-color.org) no colour reaches the terminal, and there is one theme that needs none.
    """

    def __init__(self) -> None:
        no_color = os.environ.get("NO_COLOR") is not None  # as Textual reads it
        super().__init__(ansi_color=True if no_color else None)
        self._complaints: list[BadConfig] = []
        self._bundled = bundled()
        self._folder = ThemeFolder(settings.themes_folder())
        for name in BUILTIN_THEMES:
            self.unregister_theme(name)
        for theme in [self._bundled[NO_COLOR_THEME]] if no_color else self._bundled.values():
            self.register_theme(theme)
        if not no_color:
            self._take(self._folder.changes())
        self.settings = self._load_settings()
        self._chosen = NO_COLOR_THEME if no_color else self._known(self.settings.theme)
        self.theme = self._chosen
        self.stylesheet.set_variables(self.get_css_variables())  # the first paint is in it too

    def _load_settings(self) -> Settings:
        try:
            return settings.load(settings.path(), keys.ids())
        except BadConfig as error:
            self._complaints.append(error)
            return Settings()

    def _known(self, name: str) -> str:
        if name in self.available_themes:
            return name
        self._complaints.append(BadConfig(f"{settings.path()}: {unknown('theme', name, self.available_themes)}"))
        return Settings().theme

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return defaults(self.current_theme)

    def on_mount(self) -> None:
        self._complain()
        if not self.no_color:
            self.set_interval(POLL_S, self.look_for_themes)

    def watch_theme(self, name: str) -> None:
        """Whatever chose it, it is the theme of the next start too."""
        if name == self._chosen or not self.is_running:
            return
        self._chosen = name
        try:
            settings.save_theme(settings.path(), name)
        except (BadConfig, OSError) as error:
            self.notify(str(error), severity="error", markup=False)

    def look_for_themes(self) -> None:
        """Read the user's themes that have changed; repaint when the one that is worn did."""
        changes = self._folder.changes()
        self._take(changes)
        self._complain()
        if self.theme not in self.available_themes:
            self._chosen = self.theme = Settings().theme  # not a choice: it is not saved
        elif self.theme in changes.gone or any(theme.name == self.theme for theme in changes.themes):
            self.mutate_reactive(App.theme)

    def _take(self, changes: Changes) -> None:
        for name in changes.gone:
            self.unregister_theme(name)
            if name in self._bundled:
                self.register_theme(self._bundled[name])
        for theme in changes.themes:
            self.register_theme(theme)
        self._complaints.extend(changes.errors)

    def _complain(self) -> None:
        for error in self._complaints:
            self.notify(error.message, title="Settings", severity="error", markup=False, timeout=15)
        self._complaints.clear()

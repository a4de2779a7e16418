"""The theme's tokens as styles: what every widget paints with."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from rich.style import Style
from textual.color import Color

from aios_kernel.protocol import ProcState

if TYPE_CHECKING:
    from textual.app import App
    from textual.theme import Theme

NUM_PID_COLORS: Final = 8

# Our tokens, and the standard variable that stands in where a theme does not set one.
TOKENS: Final[dict[str, str]] = {
    "state-running": "success",
    "state-ready": "primary",
    "state-waiting": "foreground-muted",
    "state-asking": "warning",
    "state-suspended": "secondary",
    "state-zombie": "error",
    "state-exited": "foreground-muted",
    "prefill": "secondary",
    "decode": "success",
    "idle-slot": "foreground-disabled",
    "preempt": "error",
    "spark-low": "foreground-muted",
    "spark-high": "primary",
    "bar-fill": "primary",
    "bar-back": "panel",
    **{
        f"pid-{number}": name
        for number, name in enumerate(
            ("primary", "success", "warning", "accent", "secondary", "error", "text-primary", "text-accent"), start=1
        )
    },
}

# Standard variables that `Colors` has styles of, and what stands for one that is missing.
_STANDARD: Final[dict[str, str]] = {
    "foreground": "ansi_default",
    "background": "ansi_default",
    "foreground-muted": "ansi_default",
    "foreground-disabled": "ansi_bright_black",
    "primary": "ansi_blue",
    "secondary": "ansi_cyan",
    "accent": "ansi_magenta",
    "success": "ansi_green",
    "warning": "ansi_yellow",
    "error": "ansi_red",
    "text-primary": "ansi_bright_blue",
    "text-accent": "ansi_bright_magenta",
    "panel": "ansi_default",
    "border": "ansi_blue",
    "border-blurred": "ansi_bright_black",
    "block-cursor-foreground": "ansi_default",
    "block-cursor-background": "ansi_default",
    "block-cursor-text-style": "reverse",
    "block-cursor-blurred-foreground": "ansi_default",
    "block-cursor-blurred-background": "ansi_default",
    "block-cursor-blurred-text-style": "none",
}
_STATE_TOKENS: Final = {state: f"state-{state}" for state in ProcState} | {ProcState.NEW: "state-ready"}


def defaults(theme: Theme) -> dict[str, str]:
    """Our tokens for a theme that lacks some: what `App.get_theme_variable_defaults` returns."""
    standard = theme.to_color_system().generate()
    return {token: standard.get(name, _STANDARD[name]) for token, name in TOKENS.items()}


class Colors:
    """One theme's styles. They set no background unless they say so, so that a row's cursor shows through.

    `Colors.of(app)` is the same object until the theme changes: a cache of painted lines is stale when it is another.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._background = Color.parse(self._value("background"))
        self.text = self._style("foreground")
        self.muted = self._quiet("foreground-muted")
        self.faint = self._quiet("foreground-disabled")  # decoration: nothing that must be read
        self.header = self._quiet("foreground-muted", bold=True)
        self.primary = self._style("primary")
        self.accent = self._style("accent")
        self.success = self._style("success")
        self.warning = self._style("warning")
        self.error = self._style("error")
        self.border = self._style("border")
        self.border_blurred = self._style("border-blurred")
        self.cursor = self._block("block-cursor")  # with background; cells keep their own colours on it
        self.cursor_blurred = self._block("block-cursor-blurred")
        self.badge = self._style("state-asking", bold=True, reverse=True)  # a few cells that must be seen
        self.prefill = self._style("prefill")
        self.decode = self._style("decode")
        self.idle_slot = self._style("idle-slot")
        self.preempt = self._style("preempt", bold=True)
        self.bar = Style(color=self._color("bar-fill").rich_color, bgcolor=self._color("bar-back").rich_color)
        self.bar_fill = self._style("bar-fill")
        self.bar_back = self._style("bar-back")
        low, high = self._color("spark-low"), self._color("spark-high")
        self._sparks = tuple(Style(color=_between(low, high, step / 7).rich_color) for step in range(8))
        self._states = {state: self._state(state) for state in ProcState}
        self._pids = tuple(self._style(f"pid-{number}") for number in range(1, NUM_PID_COLORS + 1))

    @staticmethod
    def of(app: App[Any]) -> Colors:
        """The running theme's."""
        variables = app.theme_variables
        return _colors(tuple((name, variables[name]) for name in (*TOKENS, *_STANDARD) if name in variables))

    def state(self, state: ProcState) -> Style:
        return self._states[state]

    def pid(self, pid: int) -> Style:
        """One of eight, by pid: neighbours differ, and a process keeps its colour."""
        return self._pids[pid % NUM_PID_COLORS]

    def spark(self, level: float) -> Style:
        """For a sparkline's cell. Args: level: 0 to 1."""
        return self._sparks[round(min(max(level, 0.0), 1.0) * 7)]

    def _state(self, state: ProcState) -> Style:
        if state is ProcState.ASKING:
            return self._style("state-asking", bold=True)
        if state in (ProcState.WAITING, ProcState.EXITED):
            return self._quiet(_STATE_TOKENS[state])
        return self._style(_STATE_TOKENS[state])

    def _value(self, name: str) -> str:
        standard = TOKENS.get(name, name)
        return self._variables.get(name) or self._variables.get(standard) or _STANDARD[standard]

    def _color(self, name: str) -> Color:
        """Solid: what is translucent in the theme is mixed with its background here."""
        value = self._value(name)
        if value.startswith("auto"):  # Textual's: black or white, whichever is read better
            return self._background.get_contrast_text()
        color = Color.parse(value)
        return color if color.ansi is not None else self._background + color

    def _style(self, name: str, *, bold: bool | None = None, reverse: bool | None = None) -> Style:
        return Style(color=self._color(name).rich_color, bold=bold, reverse=reverse)

    def _quiet(self, name: str, *, bold: bool | None = None) -> Style:
        """Where the terminal's own colours are used there is no quieter grey that all of them show: dim is it."""
        color = self._color(name)
        return Style(color=color.rich_color, dim=color.ansi == -1 or None, bold=bold)

    def _block(self, name: str) -> Style:
        colors = Style(
            color=self._color(f"{name}-foreground").rich_color, bgcolor=self._color(f"{name}-background").rich_color
        )
        return colors + Style.parse(self._value(f"{name}-text-style"))


@lru_cache(maxsize=16)
def _colors(variables: tuple[tuple[str, str], ...]) -> Colors:
    return Colors(dict(variables))


def _between(low: Color, high: Color, share: float) -> Color:
    if low.ansi is not None or high.ansi is not None:
        return high if share >= 0.5 else low
    return low.blend(high, share)

"""Every theme that comes along can be read, by every kind of eye; a user's theme is taken, or refused with its line."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from rich.color import ColorType
from rich.style import Style
from textual.app import ComposeResult
from textual.color import Color
from textual.theme import Theme
from textual.widgets import Label

from aios_kernel.errors import BadConfig
from aios_kernel.protocol import ProcState
from aios_shell import settings
from aios_shell.tui.palette import NUM_PID_COLORS, TOKENS, Colors, defaults
from aios_shell.tui.themes import NO_COLOR_THEME, ROLES, Themed, ThemeFolder, bundled, load

pytestmark = pytest.mark.anyio

THEMES = bundled()
PAINTED = [theme for theme in THEMES.values() if not theme.ansi]  # those whose colours are known

# WCAG 2.2, 1.4.3 and 1.4.11.
TEXT, GLYPH = 4.5, 3.0
AAA = 7.0

BACKS = ("background", "surface", "panel", "block-cursor-background", "block-cursor-blurred-background")
TEXTS = ("foreground", "text-muted", "primary", "accent", "success", "warning", "error")
STATES = tuple(token for token in TOKENS if token.startswith("state-"))
PIDS = tuple(token for token in TOKENS if token.startswith("pid-"))
GLYPHS = ("prefill", "decode", "idle-slot", "preempt", "spark-low", "spark-high", "bar-fill", *PIDS)


def variables(theme: Theme) -> dict[str, str]:
    return {**defaults(theme), **theme.to_color_system().generate(), **theme.variables}


def luminance(color: Color) -> float:
    """Source: WCAG 2.2, relative luminance. (Textual's get_contrast_ratio is on its own brightness.)"""
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in color.normalized)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Color, other: Color) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def solid(theme: Theme, name: str) -> Color:
    found = variables(theme)
    return Color.parse(found["background"]) + Color.parse(found[name])


def too_faint(theme: Theme, names: tuple[str, ...], backs: tuple[str, ...], least: float) -> list[str]:
    return [
        f"{name} on {back}: {ratio:.2f}"
        for name, back in itertools.product(names, backs)
        if (ratio := contrast(solid(theme, name), solid(theme, back))) < least
    ]


by_name = pytest.mark.parametrize("theme", PAINTED, ids=lambda theme: theme.name)


def test_there_are_themes_for_every_room_and_eye() -> None:
    assert {"graphite", "paper", "contrast", "colorblind", "ansi", NO_COLOR_THEME} <= THEMES.keys()
    assert settings.Settings().theme in THEMES
    assert {True, False} == {theme.dark for theme in THEMES.values()}


@by_name
def test_text_can_be_read_wherever_it_stands(theme: Theme) -> None:
    assert too_faint(theme, (*TEXTS, *STATES), BACKS, TEXT) == []


@by_name
def test_selected_text_can_be_read(theme: Theme) -> None:
    for kind in ("input", "screen"):
        assert too_faint(theme, (f"{kind}-selection-foreground",), (f"{kind}-selection-background",), TEXT) == []


@by_name
def test_glyphs_stand_out(theme: Theme) -> None:
    assert too_faint(theme, GLYPHS, ("background", "surface"), GLYPH) == []
    assert too_faint(theme, ("bar-fill",), ("bar-back",), GLYPH) == []


@by_name
def test_a_cursor_is_seen(theme: Theme) -> None:
    """Its row is bold besides, so it may be quiet; it must not be the background."""
    assert contrast(solid(theme, "block-cursor-background"), solid(theme, "background")) >= 1.15


def test_high_contrast_means_it() -> None:
    assert too_faint(THEMES["contrast"], (*TEXTS, *STATES), BACKS, AAA) == []


# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
BLINDNESS = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def oklab(color: Color, blindness: str) -> tuple[float, float, float]:
    """Source: Ottosson 2020, OKLab; distances in it are about what an eye sees."""
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in color.normalized]
    red, green, blue = (
        max(0.0, sum(factor * x for factor, x in zip(row, linear, strict=True))) for row in BLINDNESS[blindness]
    )
    long = (0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue) ** (1 / 3)
    middle = (0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue) ** (1 / 3)
    short = (0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


@pytest.mark.parametrize("blindness", BLINDNESS)
@pytest.mark.parametrize(
    "names",
    [
        ("state-running", "state-asking", "state-suspended", "state-zombie", "state-waiting"),
        ("prefill", "decode", "preempt", "idle-slot"),
    ],
    ids=["states", "steps"],
)
def test_the_colorblind_theme_is_told_apart(blindness: str, names: tuple[str, ...]) -> None:
    theme = THEMES["colorblind"]
    for one, other in itertools.combinations(names, 2):
        pair = [oklab(solid(theme, name), blindness) for name in (one, other)]
        distance = sum((a - b) ** 2 for a, b in zip(*pair, strict=True)) ** 0.5
        assert distance > 0.07, f"{one} and {other} look alike ({distance:.3f})"  # 0.02 is just noticeable


@pytest.mark.parametrize("name", ["ansi", NO_COLOR_THEME])
def test_a_theme_of_the_terminals_colors_has_no_others(name: str) -> None:
    assert THEMES[name].ansi
    styles = [style for style in vars(Colors(variables(THEMES[name]))).values() if isinstance(style, Style)]
    kinds = {color.type for style in styles for color in (style.color, style.bgcolor) if color}
    assert kinds <= {ColorType.DEFAULT, ColorType.STANDARD}


@pytest.mark.parametrize("theme", THEMES.values(), ids=lambda theme: theme.name)
def test_a_cursor_is_seen_where_there_are_no_colors(theme: Theme) -> None:
    colors = Colors(variables(theme))
    assert colors.cursor.reverse or colors.cursor.bgcolor != colors.text.bgcolor


@pytest.mark.parametrize("theme", THEMES.values(), ids=lambda theme: theme.name)
def test_every_state_and_pid_has_a_style(theme: Theme) -> None:
    colors = Colors(variables(theme))
    assert all(colors.state(state).color for state in ProcState)
    if not theme.ansi:
        assert len({colors.pid(pid) for pid in range(NUM_PID_COLORS)}) == NUM_PID_COLORS
    assert colors.pid(3) == colors.pid(3 + NUM_PID_COLORS)
    assert colors.spark(-1) == colors.spark(0)
    assert colors.spark(2) == colors.spark(1)


def test_colors_do_without_tokens() -> None:
    """A user's theme may name one colour only."""
    theme = Theme("plain", primary="#336699")
    colors = Colors(theme.to_color_system().generate())
    assert colors.state(ProcState.READY).color == Color.parse("#336699").rich_color
    assert Colors({}).text.color is not None


# --- a user's files


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


MINE = """\
dark = true
[colors]
primary = "#ff0000"
background = "#000000"
[tokens]
decode = "#00ff00"
[variables]
footer-key-foreground = "#0000ff"
"""


def test_a_theme_is_read(tmp_path: Path) -> None:
    theme = load(write(tmp_path, "mine", MINE))
    assert (theme.name, theme.primary, theme.background) == ("mine", "#ff0000", "#000000")
    found = variables(theme)
    assert (found["decode"], found["footer-key-foreground"], found["link-color"]) == ("#00ff00", "#0000ff", "#ff0000")
    assert found["prefill"] == found["secondary"]  # stands in


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        (("dark = true", "dark = 3"), 1, "dark must be true or false"),
        (("dark = true", "drak = true"), 1, "unknown key 'drak'; did you mean dark?"),
        (('primary = "#ff0000"', 'primry = "#ff0000"'), 3, "unknown name 'primry'; did you mean primary?"),
        (("#ff0000", "#ff00000"), 3, "primary = '#ff00000': is no colour"),
        (('primary = "#ff0000"\n', ""), 2, "[colors] must name primary"),
        (('"#00ff00"', "7"), 6, "decode = 7: must be a text in quotes"),
        (("footer-key-foreground", "footer-keys"), 8, "unknown name 'footer-keys'; did you mean footer-"),
        (('"#00ff00"', '"#00ff00'), 6, "Illegal character"),
        (('footer-key-foreground = "#0000ff"', 'link-style = "loud"'), 8, "link-style = 'loud': is no text style"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_an_error_names_file_and_line(tmp_path: Path, change: tuple[str, str], line: int, message: str) -> None:
    path = write(tmp_path, "mine", MINE.replace(*change))
    with pytest.raises(BadConfig) as caught:
        load(path)
    assert caught.value.message.startswith(f"{path}:{line}: {message}")


def test_a_theme_has_a_plain_name(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="small letters"):
        load(write(tmp_path, "My Theme", MINE))


def test_roles_are_variables_that_textual_knows() -> None:
    known = Theme("plain", primary="#336699").to_color_system().generate()
    assert set() == {name for names in ROLES.values() for name in names} - known.keys()


def test_a_folder_tells_what_changed_and_no_more(tmp_path: Path) -> None:
    folder = ThemeFolder(tmp_path / "none-yet")
    assert vars_of(folder) == ([], [], [])
    path = write(tmp_path / "none-yet", "mine", MINE)
    assert vars_of(folder) == (["mine"], [], [])
    assert vars_of(folder) == ([], [], [])
    path.write_text("primary")
    assert ([], [], [str(path)]) == vars_of(folder)
    assert vars_of(folder) == ([], [], [])
    path.unlink()
    assert vars_of(folder) == ([], ["mine"], [])


def vars_of(folder: ThemeFolder) -> tuple[list[str], list[str], list[str]]:
    found = folder.changes()
    return [theme.name for theme in found.themes], found.gone, [error.data["file"] for error in found.errors]


# --- an app that wears them


class Gallery(Themed):
    CSS = "Label { color: $state-running; background: $bar-back; }"

    def compose(self) -> ComposeResult:
        yield Label("text")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIOS_HOME", str(tmp_path))
    monkeypatch.delenv("NO_COLOR", raising=False)
    return tmp_path / "config"


def label_color(app: Gallery) -> str:
    return app.query_one(Label).styles.color.hex.lower()


async def test_an_app_wears_the_chosen_theme_and_remembers_another(config: Path) -> None:
    write(config, "ui", '[ui]\ntheme = "paper"  # by day\n')
    app = Gallery()
    async with app.run_test() as pilot:
        assert app.theme == "paper"
        assert label_color(app) == THEMES["paper"].variables["state-running"]
        colors = Colors.of(app)
        assert colors is Colors.of(app)
        app.theme = "dusk"
        await pilot.pause()
        assert label_color(app) == THEMES["dusk"].variables["state-running"]
        assert colors is not Colors.of(app)
    assert (config / "ui.toml").read_text() == '[ui]\ntheme = "dusk"  # by day\n'
    assert not [name for name in app.available_themes if name not in THEMES]


async def test_a_users_theme_is_loaded_again_when_its_file_changes(config: Path) -> None:
    path = write(config / "themes", "mine", MINE.replace("[tokens]", '[tokens]\nstate-running = "#111111"'))
    write(config, "ui", '[ui]\ntheme = "mine"\n')
    app = Gallery()
    async with app.run_test() as pilot:
        assert label_color(app) == "#111111"
        path.write_text(path.read_text().replace("#111111", "#2222222"))
        app.look_for_themes()
        await pilot.pause()
        assert label_color(app) == "#111111"
        assert any(f"{path}:6" in notice.message for notice in app._notifications)
        path.write_text(path.read_text().replace("#2222222", "#333333"))
        app.look_for_themes()
        await pilot.pause()
        assert label_color(app) == "#333333"
        path.unlink()
        app.look_for_themes()
        await pilot.pause()
        assert app.theme == settings.Settings().theme
    assert 'theme = "mine"' in (config / "ui.toml").read_text()


@pytest.mark.parametrize("text", ['[ui]\ntheme = "papre"\n', "[ui\n", '[ui]\nlayout = "round"\n'])
async def test_wrong_settings_are_told_and_the_app_starts(config: Path, text: str) -> None:
    path = write(config, "ui", text)
    app = Gallery()
    async with app.run_test():
        assert app.theme == settings.Settings().theme
        assert [str(path)] == [notice.message.partition(":")[0] for notice in app._notifications]


async def test_with_no_color_there_is_none(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = Gallery()
    async with app.run_test():
        assert list(app.available_themes) == [NO_COLOR_THEME]
        strips = app.screen._compositor.render_strips()
        written = "".join(strip.render(app.console) for strip in strips)
    assert "text" in written
    assert "38;" not in written
    assert "48;" not in written

"""ui.toml: read, refused with its line, and a theme written into it without touching the rest."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from aios_kernel.errors import BadConfig
from aios_shell.settings import Layout, Settings, load, save_theme

BINDINGS = frozenset({"app.help", "app.quit"})


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "ui.toml"
    path.write_text(text)
    return path


def test_no_file_means_defaults(tmp_path: Path) -> None:
    assert load(tmp_path / "ui.toml", BINDINGS) == Settings()


def test_all_of_it_is_read(tmp_path: Path) -> None:
    text = '[ui]\ntheme = "paper"\nlayout = "below"\n[keys]\napp.quit = "Q,ctrl+x"\n"app.help" = "f1"\n'
    keys = {"app.quit": "Q,ctrl+x", "app.help": "f1"}
    assert load(write(tmp_path, text), BINDINGS) == Settings("paper", Layout.BELOW, keys)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('[iu]\ntheme = "x"\n', 1, "unknown section 'iu' (accepted: ui, keys)"),
        ("ui = 3\n", 1, "ui is a section: write [ui]"),
        ('\n[ui]\nteme = "x"\n', 3, "unknown key 'teme'; did you mean theme? (accepted: theme, layout)"),
        ("[ui]\ntheme = 3\n", 2, "theme = 3: must be a text in quotes"),
        ('[ui]\nlayout = "round"\n', 2, "layout = 'round': must be one of auto, beside, below"),
        ("[keys]\napp.quit = true\n", 2, "app.quit = True: must be a text in quotes"),
        (
            '[keys]\n\napp.quid = "x"\n',
            3,
            "unknown key 'app.quid'; did you mean app.quit? (accepted: app.help, app.quit)",
        ),
        ("[ui\n", 1, "Expected ']' at the end of a table declaration (at line 1, column 4)"),
    ],
)
def test_an_error_names_file_and_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(BadConfig) as caught:
        load(path, BINDINGS)
    assert caught.value.message == f"{path}:{line}: {message}"


def test_what_is_not_utf8_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "ui.toml"
    path.write_bytes(b'[ui]\ntheme = "\xff"\n')
    with pytest.raises(BadConfig, match=r"ui\.toml:2: this is not UTF-8"):
        load(path, BINDINGS)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '[ui]\ntheme = "dusk"\n'),
        ('# mine\n[keys]\napp.quit = "Q"\n', '# mine\n[keys]\napp.quit = "Q"\n[ui]\ntheme = "dusk"\n'),
        ('[ui]\nlayout = "below"\n', '[ui]\ntheme = "dusk"\nlayout = "below"\n'),
        ("[ui]\ntheme = 'paper'  # by day\n", '[ui]\ntheme = "dusk"  # by day\n'),
        ('ui.theme = "paper"\n', 'ui.theme = "dusk"\n'),
        ('ui = { theme = "paper", layout = "auto" }\n', 'ui = { theme = "dusk", layout = "auto" }\n'),
    ],
)
def test_a_theme_is_saved_and_the_rest_stays(tmp_path: Path, before: str, after: str) -> None:
    path = write(tmp_path, before)
    save_theme(path, "dusk")
    assert path.read_text() == after
    assert tomllib.loads(after)["ui"]["theme"] == "dusk"
    assert list(tmp_path.iterdir()) == [path]


def test_a_first_setting_makes_folder_and_file(tmp_path: Path) -> None:
    path = tmp_path / "config" / "ui.toml"
    save_theme(path, "paper")
    assert load(path, BINDINGS).theme == "paper"


def test_a_file_that_cannot_take_it_is_left_alone(tmp_path: Path) -> None:
    path = write(tmp_path, 'ui = { layout = "auto" }\n')
    with pytest.raises(BadConfig, match=r"ui\.toml:1: the theme cannot be written into this"):
        save_theme(path, "dusk")
    assert path.read_text() == 'ui = { layout = "auto" }\n'

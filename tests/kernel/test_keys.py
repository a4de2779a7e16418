"""Keys of groups: made once, replaced on demand, gone with the file, for the owner's eyes alone."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from aios_kernel.errors import BadRequest, InternalError
from aios_kernel.keys import Keys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_a_key_is_made_once_and_names_its_group(path: Path) -> None:
    keys = Keys(path)
    mine, theirs = keys.of("user"), keys.of("guests")
    assert mine == keys.of("user") == Keys(path).of("user")
    assert mine != theirs
    assert (keys.group_of(mine), keys.group_of(theirs), keys.group_of(mine[:-1])) == ("user", "guests", None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_new_key_replaces_its_groups_alone(path: Path) -> None:
    keys = Keys(path)
    old, theirs = keys.of("user"), keys.of("guests")
    new = keys.of("user", new=True)
    assert (keys.group_of(old), keys.group_of(new), keys.group_of(theirs)) == (None, "user", "guests")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [path] == list(path.parent.iterdir())


def test_without_the_file_no_key_is_known(path: Path) -> None:
    keys = Keys(path)
    key = keys.of("user")
    path.unlink()
    assert keys.group_of(key) is None


@pytest.mark.parametrize("key", ["", "sk-aios-", "ключ", "\x00"])
def test_nonsense_is_nobodys_key(path: Path, key: str) -> None:
    keys = Keys(path)
    keys.of("user")
    assert keys.group_of(key) is None


@pytest.mark.parametrize("group", ["", "a b", "../x", "-x", "x" * 65, "ü"])
def test_a_group_has_a_plain_name(path: Path, group: str) -> None:
    with pytest.raises(BadRequest, match="group "):
        Keys(path).of(group)
    assert not path.exists()


def test_a_damaged_file_is_an_error_that_names_it(path: Path) -> None:
    path.write_text("{")
    for ask in (Keys(path).of, Keys(path).group_of):
        with pytest.raises(InternalError, match=r"keys\.json cannot be read"):
            ask("user")
    assert path.read_text() == "{"

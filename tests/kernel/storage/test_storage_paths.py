"""Names of files: whatever is accepted stays below the root."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_kernel.errors import BadRequest, NotPermitted
from aios_kernel.storage.paths import Address, clean


@given(st.text(max_size=60) | st.lists(st.sampled_from(["..", ".", "", "a", "~b", "…"])).map("/".join))
def test_what_is_accepted_stays_below_the_root(path: str) -> None:
    try:
        parts = clean(path)
    except (BadRequest, NotPermitted):
        return
    assert os.path.normpath("/".join(("/root", *parts))).startswith("/root")
    assert all("/" not in part and part not in ("", ".", "..") for part in parts)
    assert clean("/".join(parts)) == parts


@pytest.mark.parametrize("path", ["..", "../a", "a/../../b", "a/..", "/../etc/passwd"])
def test_leading_out_is_not_permitted(path: str) -> None:
    with pytest.raises(NotPermitted, match="out of the agent's own files"):
        clean(path)


@pytest.mark.parametrize(
    "path", ["a\0b", "a\nb", "\x1b[31m", "x" * 256, "/".join("a" * 40), "a" * 2_000, ".aios-x", "\udcff"]
)
def test_names_that_nobody_means(path: str) -> None:
    with pytest.raises(BadRequest):
        clean(path)


def test_a_leading_slash_means_the_root_of_the_jail() -> None:
    assert ("etc", "passwd") == clean("/etc/passwd") == clean("etc//./passwd/")


def test_addresses() -> None:
    assert Address("me", ("a", "b")) == Address.parse("a/b", "me")
    assert Address("writer", ("a",)) == Address.parse("~writer/a", "me")
    assert Address("writer", ()) == Address.parse("~writer", "me")
    assert Address("", (), "tok") == Address.parse("share:tok", "me")
    for wrong in ("~", "~../x", "~/etc", "~a b/c"):
        with pytest.raises(BadRequest):
            Address.parse(wrong, "me")

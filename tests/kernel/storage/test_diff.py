"""Unified diffs: applied by patch(1) they give the other version."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aios_kernel.storage.diff import MAX_LINES, unified

LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "\n"]), max_size=30)


def patched(folder: Path, a: bytes, diff: str) -> bytes:
    file = folder / "f"
    file.write_bytes(a)
    subprocess.run(["patch", "-s", "-f", str(file)], input=diff.encode(), cwd=folder, check=True)
    return file.read_bytes() if file.exists() else b""


@pytest.mark.skipif(shutil.which("patch") is None, reason="patch(1) is not installed")
@given(a=LINES, b=LINES, a_end=st.sampled_from(["", "end"]), b_end=st.sampled_from(["", "end"]))
@example(a=["a\n"] * 7 + ["b\n"], b=["a\n"] * 3 + ["b\n"] + ["a\n"] * 3 + ["b\n"], a_end="", b_end="")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_a_diff_applies(tmp_path: Path, a: list[str], b: list[str], a_end: str, b_end: str) -> None:
    before, after = ("".join(a) + a_end).encode(), ("".join(b) + b_end).encode()
    diff = unified(before, after, "f", "f")
    if not before or not after:  # patch takes that for a new, or a removed, file
        return
    assert (patched(tmp_path, before, diff) if diff else before) == after


def test_what_it_looks_like() -> None:
    before = b"".join(b"%d\n" % n for n in range(1, 101))
    diff = unified(before, before.replace(b"\n50\n", b"\nfifty\n"), "f (version 1)", "f (version 2)")
    assert diff.splitlines()[:3] == ["--- f (version 1)", "+++ f (version 2)", "@@ -47,7 +47,7 @@"]
    assert "-50\n+fifty\n" in diff


def test_binary_and_equal() -> None:
    assert unified(b"\xff", b"\xfe\xff", "a", "b") == "binary files a and b differ: 1 and 2 bytes\n"
    assert unified(b"x", b"x", "a", "b") == ""


def test_a_large_difference_is_one_change() -> None:
    a = b"".join(b"a%d\n" % n for n in range(MAX_LINES + 1))
    b = b"".join(b"b%d\n" % n for n in range(MAX_LINES + 1))
    assert unified(a, b, "a", "b").count("@@ -") == 1

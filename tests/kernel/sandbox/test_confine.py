"""Confinement of a process of our own: its filter, and what stays possible. Attacks on it are in tests/hostile."""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aios_kernel.client import confine
from aios_kernel.client.confine import Confinement, landlock, seccomp

confinable = pytest.mark.skipif(bool(confine.why_not()), reason=confine.why_not())

ALLOWED = 0x7FFF0000
PID = 4_711
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def verdict(machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    """What the filter for `machine` says of a system call: 0, or the errno; by an interpreter of its program."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("=iIQ6Q", number, arch or ARCH[machine], 0, *(each & (1 << 64) - 1 for each in padded))
    code, at, value = seccomp.program(seccomp.alone(PID), machine), 0, 0
    while True:
        op, if_true, if_false, k = code[at]
        at += 1
        match op:
            case 0x20:
                (value,) = struct.unpack_from("=I", data, k)
            case 0x54:
                value &= k
            case 0x15:
                at += if_true if value == k else if_false
            case 0x35:
                at += if_true if value >= k else if_false
            case 0x06:
                return 0 if k == ALLOWED else k & 0xFFFF


@pytest.mark.parametrize(
    ("name", "x86", "arm", "arguments", "expected"),
    [
        ("read", 0, 63, (), 0),
        ("socketpair", 53, 199, (1, 1), 0),
        ("socket", 41, 198, (1, 1), errno.EPERM),
        ("kill itself", 62, 129, (PID, 15), 0),
        ("kill another", 62, 129, (PID + 1, 15), errno.EPERM),
        ("kill all", 62, 129, (-1, 15), errno.EPERM),
        ("kill itself, high bits set", 62, 129, (PID | 1 << 32, 15), 0),  # the kernel reads 32 bits as well
        ("own limits", 302, 261, (0, 7), 0),
        ("own limits by pid", 302, 261, (PID, 7), 0),
        ("another's limits", 302, 261, (1, 7), errno.EPERM),
        ("thread", 56, 220, (0x3D0F00,), 0),
        ("fork by clone", 56, 220, (0x1200011,), errno.EPERM),
        ("clone3", 435, 435, (), errno.ENOSYS),
        ("truncating for reading", 257, 56, (-100, 0, os.O_RDONLY | os.O_TRUNC | os.O_CLOEXEC), errno.EPERM),
        ("truncating for writing", 257, 56, (-100, 0, os.O_WRONLY | os.O_TRUNC | os.O_CREAT), 0),
        ("typing into a terminal", 16, 29, (0, 0x5412), errno.EPERM),
        ("the same, high bits set", 16, 29, (0, 0x5412 | 1 << 40), errno.EPERM),
        ("size of a terminal", 16, 29, (0, 0x5413), 0),
        ("own signal for a file", 72, 25, (3, 10, 9), errno.EPERM),
        ("flags of a file", 72, 25, (3, 3), 0),
        ("name of a thread", 157, 167, (15, 0), 0),
        ("outliving the parent", 157, 167, (1, 0), errno.EPERM),
        ("one of tomorrow", 463, 463, (), errno.ENOSYS),
    ],
)
def test_the_filter(name: str, x86: int, arm: int, arguments: tuple[int, ...], expected: int) -> None:
    assert verdict("x86_64", x86, *arguments) == expected
    assert verdict("aarch64", arm, *arguments) == expected


def test_the_filter_knows_no_other_machine() -> None:
    assert verdict("x86_64", 0, arch=0x40000003) == errno.ENOSYS  # 32 bits, where 0 is another call
    assert verdict("x86_64", 0x40000000 | 41) == errno.ENOSYS  # x32
    assert verdict("aarch64", 63, arch=ARCH["x86_64"]) == errno.ENOSYS


def confined(tmp_path: Path, act: Callable[[], object], read: tuple[str, ...] = ()) -> str:
    """What `act` came to in a confined process that may write to `tmp_path`/own."""
    own = tmp_path / "own"
    own.mkdir(exist_ok=True)
    limits = Confinement((*confine.SYSTEM, sys.prefix, sys.base_prefix, *read), (str(own),), 4 << 30, 1 << 20, 64, 60)
    answer_r, answer_w = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.chdir(own)
            confine.apply(limits)
            answer = repr(act())
        except BaseException as error:
            answer = f"{type(error).__name__} {getattr(error, 'errno', '')}"
        os.write(answer_w, answer.encode())
        os._exit(0)
    os.close(answer_w)
    with os.fdopen(answer_r) as file:
        told = file.read()
    os.waitpid(pid, 0)
    return told


@confinable
@pytest.mark.parametrize("version", sorted({1, 2, 3, 4, 5, 6, landlock.abi()}))
def test_every_version_of_landlock_keeps_files(tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if version > landlock.abi():
        pytest.skip(f"this Linux has version {landlock.abi()}")
    monkeypatch.setattr(landlock, "abi", lambda: version)
    outside = tmp_path / "outside"
    outside.write_text("kept")
    own = tmp_path / "own" / "file"
    assert confined(tmp_path, lambda: own.write_text("mine")) == "4"
    assert confined(tmp_path, own.read_text) == "'mine'"
    assert confined(tmp_path, lambda: own.rename(own.with_name("other")).name) == "'other'"
    assert confined(tmp_path, outside.read_text) == f"PermissionError {errno.EACCES}"
    assert confined(tmp_path, lambda: outside.write_text("x")) == f"PermissionError {errno.EACCES}"
    assert confined(tmp_path, lambda: os.truncate(outside, 0)) == f"PermissionError {errno.EPERM}"
    assert confined(tmp_path, lambda: outside.rename(own)).startswith(("PermissionError", f"OSError {errno.EXDEV}"))
    assert confined(tmp_path, outside.read_text, read=(str(outside),)) == "'kept'"
    assert outside.read_text() == "kept"


@confinable
def test_limits_hold(tmp_path: Path) -> None:
    assert confined(tmp_path, lambda: len(bytearray(5 << 30))).startswith("MemoryError")
    assert (
        confined(tmp_path, lambda: (tmp_path / "own" / "big").write_bytes(bytes(2 << 20))) == f"OSError {errno.EFBIG}"
    )
    assert confined(tmp_path, lambda: [os.dup(1) for _ in range(100)]) == f"OSError {errno.EMFILE}"


@confinable
def test_another_program_in_its_place_is_bound_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    secret = str(tmp_path / "secret")
    script = f"import socket\ntry: open({secret!r})\nexcept OSError as e: print(e.errno)\nsocket.socket()"
    said_r, said_w = os.pipe()

    def become() -> None:
        os.dup2(said_w, 1)
        os.dup2(said_w, 2)
        os.execv(sys.executable, [sys.executable, "-I", "-c", script])

    assert confined(tmp_path, become) == ""
    os.close(said_w)
    with os.fdopen(said_r) as file:
        said = file.read()
    assert said.endswith(f"{errno.EACCES}\n")  # flushed last
    assert "PermissionError: [Errno 1]" in said

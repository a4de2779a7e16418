"""The jail, on real files: links, races, pipes, and what is replaced all at once."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aios_kernel.errors import InvalidState, KernelError, LimitHit, NoSuchFile, NotPermitted
from aios_kernel.protocol import FileKind
from aios_kernel.storage.jail import Jail

LIMIT = 1 << 20


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("secret")
    return folder


@pytest.fixture
def jail(tmp_path: Path, outside: Path) -> Jail:
    root = tmp_path / "root"
    root.mkdir()
    return Jail(root)


def test_write_and_read(jail: Jail) -> None:
    found = jail.replace(("a", "b", "c.txt"), b"one")
    data, again = jail.read(("a", "b", "c.txt"), LIMIT)
    assert (b"one", found) == (data, again)
    assert (jail.root / "a/b/c.txt").stat().st_mode & 0o777 == 0o600
    assert [found.parts for found in jail.walk(())] == [("a",), ("a", "b"), ("a", "b", "c.txt")]


def test_a_file_keeps_its_permissions(jail: Jail) -> None:
    jail.replace(("run",), b"1")
    (jail.root / "run").chmod(0o755)
    jail.replace(("run",), b"2")
    assert (jail.root / "run").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("link_to", ["folder", "file", "nothing", "inside"])
def test_links_are_never_followed(jail: Jail, outside: Path, link_to: str) -> None:
    jail.replace(("inside", "x"), b"mine")
    target = {"folder": outside, "file": outside / "secret", "nothing": outside / "new", "inside": jail.root / "inside"}
    (jail.root / "link").symlink_to(target[link_to])
    for act in (
        lambda: jail.read(("link",), LIMIT),
        lambda: jail.read(("link", "secret"), LIMIT),
        lambda: jail.replace(("link",), b"evil"),
        lambda: jail.replace(("link", "new"), b"evil"),
        lambda: jail.make_folder(("link", "new")),
        lambda: jail.entries(("link",)),
        lambda: jail.rename(("inside", "x"), ("link", "x")),
        lambda: jail.rename(("link", "secret"), ("got",)),
        lambda: jail.remove(("link", "secret")),
    ):
        with pytest.raises(NotPermitted):
            act()
    assert names(outside) == ["secret"]
    assert (outside / "secret").read_text() == "secret"
    assert FileKind.OTHER is next(found.kind for found in jail.entries(()) if found.parts == ("link",))
    jail.remove(("link",))
    assert (outside / "secret").exists()


def test_pipes_and_sockets_are_not_opened(jail: Jail) -> None:
    os.mkfifo(jail.root / "pipe")
    for act in (lambda: jail.read(("pipe",), LIMIT), lambda: jail.replace(("pipe",), b"x")):
        with pytest.raises(NotPermitted, match="no plain file"):
            act()


def test_a_hard_link_is_not_written_through(jail: Jail, outside: Path) -> None:
    os.link(outside / "secret", jail.root / "hard")
    jail.replace(("hard",), b"evil")
    assert (outside / "secret").read_text() == "secret"


RACER = """
import os, shutil, sys
place, real, link = sys.argv[1:]
print("up", flush=True)
while True:
    for source in (real, link):
        try:
            os.rename(source, place)
        except OSError:  # the other has made a folder there
            shutil.rmtree(place)
        else:
            os.rename(place, source)
"""


@pytest.mark.parametrize("swap", ["folder", "file"])
def test_a_link_that_comes_and_goes_is_never_followed(jail: Jail, outside: Path, swap: str) -> None:
    """Another program swaps a folder, or the file itself, for a link as fast as it can while we read and write."""
    (outside / "f").write_text("secret")
    place, real, link = (jail.root / name for name in ("d", "real", "link"))
    if swap == "folder":
        real.mkdir()
        (real / "f").write_text("mine")
        link.symlink_to(outside)
    else:
        real.write_text("mine")
        link.symlink_to(outside / "f")
    parts = ("d", "f") if swap == "folder" else ("d",)
    seen: set[bytes | str] = set()
    refused = {"NotPermitted", "InvalidState"}  # a link; what was one, and is none when we look why it is no folder
    racer = subprocess.Popen([sys.executable, "-c", RACER, place, real, link], stdout=subprocess.PIPE)
    try:
        assert racer.stdout is not None
        racer.stdout.readline()
        until = time.monotonic() + 20
        while time.monotonic() < until and not (b"mine" in seen and seen & refused):
            for _ in range(500):
                seen.add(_outcome(lambda: jail.read(parts, LIMIT)[0]))
                if swap == "folder":
                    seen.add(_outcome(lambda: jail.replace(parts, b"mine") and b"mine"))
    finally:
        racer.kill()
        racer.communicate()
    assert b"secret" not in seen
    assert b"mine" in seen
    assert seen & refused  # it did come to both
    assert (outside / "f").read_text() == "secret"
    assert sorted(names(outside)) == ["f", "secret"]


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _outcome(act: Callable[[], bytes]) -> bytes | str:
    try:
        return act()
    except (KernelError, OSError) as error:
        return type(error).__name__


def test_what_is_not_there(jail: Jail) -> None:
    jail.replace(("file",), b"")
    for act in (
        lambda: jail.read(("nothing",), LIMIT),
        lambda: jail.entries(("nothing",)),
        lambda: jail.remove(("nothing",)),
        lambda: jail.rename(("nothing",), ("x",)),
    ):
        with pytest.raises(NoSuchFile, match="nothing"):
            act()
    assert jail.find(("nothing", "below")) is None
    assert jail.find(("file", "below")) is None
    for act in (
        lambda: jail.entries(("file",)),
        lambda: jail.replace(("file", "x"), b""),
        lambda: jail.make_folder(("file",)),
    ):
        with pytest.raises(InvalidState, match="not a folder"):
            act()


def test_nothing_is_replaced_by_mistake(jail: Jail) -> None:
    jail.replace(("a",), b"1")
    jail.replace(("folder", "b"), b"2")
    for act in (
        lambda: jail.replace(("a",), b"x", exclusive=True),
        lambda: jail.rename(("a",), ("folder", "b")),
        lambda: jail.replace(("folder",), b"x"),
        lambda: jail.remove(("folder",)),
        lambda: jail.remove(()),
    ):
        with pytest.raises(InvalidState):
            act()
    assert {"a", "folder"} == set(names(jail.root))


def test_a_file_that_is_too_large(jail: Jail) -> None:
    jail.replace(("a",), b"x" * 11)
    with pytest.raises(LimitHit):
        jail.read(("a",), 10)
    assert jail.read(("a",), 10, cut=True)[0] == b"x" * 10


def test_what_was_being_written_is_never_seen_and_swept(jail: Jail) -> None:
    jail.replace(("d", "a"), b"x")
    (jail.root / "d" / ".aios-0123").write_text("half")
    assert [found.parts for found in jail.entries(("d",))] == [("d", "a")]
    jail.sweep()
    assert names(jail.root / "d") == ["a"]


def test_descriptors_are_closed(jail: Jail) -> None:
    jail.replace(("a", "b", "c"), b"x")
    (jail.root / "link").symlink_to("/")
    before = len(names(Path("/proc/self/fd")))
    for parts in (("a", "b", "c"), ("a", "x", "c"), ("link", "etc", "passwd"), ("a", "b", "c", "d")):
        with contextlib.suppress(KernelError):
            jail.read(parts, LIMIT)
    assert before == len(names(Path("/proc/self/fd")))

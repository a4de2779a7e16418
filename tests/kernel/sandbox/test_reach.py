"""Who listens to a confined process refuses what Landlock would by itself, and tells of it; nothing else."""

# ruff: noqa: PTH102, PTH104, PTH106, PTH108, PTH211

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

import pytest

from aios_kernel.client import confine
from aios_kernel.client.confine import Confinement, reach, seccomp
from aios_kernel.client.confine.notices import Listener
from aios_kernel.client.confine.reach import Reach, Refusal

pytestmark = pytest.mark.skipif(bool(confine.why_not()), reason=f"no confinement here: {confine.why_not()}")

REFUSED: Final = {errno.EACCES, errno.EPERM, errno.EXDEV}  # Landlock has the last for what leaves a folder
NAMES: Final = (
    "file", "none", "folder", "folder/none", "none/none", "to_secret", "to_none", "to_folder/file", "to_file", "",
    "../secret/file", "../secret/none", "../secret/none/none", "../secret", "../lib/file", "../lib", "../lib/none",
    "folder/../file", "folder/../../secret/file", "to_secret_folder/file", "to_secret_folder/none", "file/", "folder/",
    "file/none", ".", "..", "/", "/etc/passwd", "/dev/null", "/dev/stdin", "/dev/fd/0", "/proc/self/status", "\u00e9",
)  # fmt: skip
FLAGS: Final = (
    os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_DIRECTORY, os.O_RDONLY | os.O_NOFOLLOW, os.O_PATH,
    os.O_WRONLY | os.O_CREAT, os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_WRONLY | os.O_TRUNC, os.O_RDONLY | os.O_TRUNC,
    os.O_RDONLY | os.O_CREAT, os.O_WRONLY | os.O_APPEND, os.O_WRONLY | os.O_TMPFILE,
)  # fmt: skip


def attempts(own: int) -> dict[str, Callable[[], object]]:
    """Calls by names of files, in an order in which each finds what it needs. own: a descriptor of the own folder."""
    calls: dict[str, Callable[[], object]] = {}
    for name in NAMES:
        for flags in FLAGS:
            calls[f"open {name} {flags:o}"] = lambda name=name, flags=flags: os.close(os.open(name, flags))
            calls[f"openat {name} {flags:o}"] = lambda name=name, flags=flags: os.close(
                os.open(name, flags, dir_fd=own)
            )
    for name in NAMES:
        calls[f"mkdir {name}"] = lambda name=name: os.mkdir(name)
        calls[f"rmdir {name}"] = lambda name=name: os.rmdir(name)
        calls[f"symlink {name}"] = lambda name=name: os.symlink("file", name)
        calls[f"unlink symlink {name}"] = lambda name=name: Path(name).is_symlink() and os.unlink(name)
        calls[f"fifo {name}"] = lambda name=name: os.mkfifo(name)
        calls[f"device {name}"] = lambda name=name: os.mknod(name, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        calls[f"link {name}"] = lambda name=name: os.link(name, "hard")
        calls[f"link to {name}"] = lambda name=name: os.link("file", name)
        calls[f"rename {name}"] = lambda name=name: os.rename(name, "moved")
        calls[f"rename back {name}"] = lambda name=name: os.rename("moved", name)
        calls[f"rename to {name}"] = lambda name=name: os.rename("none", name)
        calls[f"unlink {name}"] = lambda name=name: os.unlink(name, dir_fd=own)
    return calls


def tree(root: Path) -> Confinement:
    """A folder of its own, one to read and one to leave alone, with links between them."""
    own, lib, secret = (root / name for name in ("own", "lib", "secret"))
    for folder in (own, own / "folder", lib, secret):
        folder.mkdir(parents=True)
        (folder / "file").write_text("text")
    for name, target in (("secret", "../secret/file"), ("none", "nowhere"), ("file", "file"), ("folder", "folder")):
        (own / f"to_{name}").symlink_to(target)
    (own / "to_secret_folder").symlink_to(secret)
    read, write = (*confine.SYSTEM, str(lib)), (str(own), "/dev/null")
    return Confinement(read, write, memory_bytes=1 << 40, file_bytes=1 << 30, open_files=100, cpu_s=100)


def in_a_child(confinement: Confinement, enter: Callable[[socket.socket], None]) -> tuple[int, socket.socket]:
    """A child that is confined by `enter`, makes the attempts and sends what each came to: its pid, and the socket."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if not pid:
        _be_confined(confinement, theirs, enter)
    theirs.close()
    return pid, ours


def _be_confined(confinement: Confinement, to: socket.socket, enter: Callable[[socket.socket], None]) -> NoReturn:
    try:
        os.chdir(confinement.write[0])
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        own = os.open(".", os.O_PATH)
        enter(to)
        to.sendall(json.dumps({name: _outcome(call) for name, call in attempts(own).items()}).encode())
        os._exit(0)
    except BaseException:
        traceback.print_exc(file=sys.stderr)
    os._exit(1)


def _outcome(call: Callable[[], object]) -> int:
    try:
        call()
    except OSError as error:
        return error.errno or -1
    return 0


def told(pid: int, ours: socket.socket, confinement: Confinement) -> tuple[bytes, list[Refusal]]:
    """Listen to the child until it has ended: what it sent, and what was refused to it."""
    _, (fd,), _, _ = socket.recv_fds(ours, 1, 1)
    listener, reach = Listener(fd), Reach(pid, confinement)
    refusals = []
    while True:
        try:
            call = listener.receive()
        except EOFError:
            break
        if call is not None:
            refusal = reach.refusal(call)
            listener.answer(call, refusal.error if refusal else 0)
            refusals += [refusal] if refusal else []
    listener.close()
    return rest(ours), refusals


def rest(ours: socket.socket) -> bytes:
    with ours:
        return b"".join(iter(lambda: ours.recv(1 << 20), b""))


def test_every_call_by_a_name_is_known() -> None:
    assert reach._NAMES.keys() == set(seccomp.NAMING_CALLS)


def test_refusals_are_landlocks_own(tmp_path: Path) -> None:
    alone, heard = tree(tmp_path / "alone"), tree(tmp_path / "heard")

    def by_themselves(_: socket.socket) -> None:
        assert confine.apply(alone) is None

    def with_a_listener(to: socket.socket) -> None:
        fd = confine.apply(heard, heard=True)
        assert fd is not None
        socket.send_fds(to, [b"l"], [fd])
        os.close(fd)

    first, theirs = in_a_child(alone, by_themselves)
    expected = json.loads(rest(theirs))
    assert os.waitpid(first, 0)[1] == 0
    second, ours = in_a_child(heard, with_a_listener)
    sent, refusals = told(second, ours, heard)
    assert os.waitpid(second, 0)[1] == 0
    outcomes = json.loads(sent)

    alike = {name: (error, outcomes[name]) for name, error in expected.items() if error != outcomes[name]}
    told_instead = {name for name, (error, other) in alike.items() if error and other in REFUSED}
    assert {name: codes for name, codes in alike.items() if name not in told_instead} == {}
    # What a program looks for in vain is told to it as such.
    assert not [name for name in told_instead if name.startswith("open") and expected[name] == errno.ENOENT]
    assert len(refusals) == sum(error in REFUSED for error in outcomes.values())
    assert len(set(outcomes.values())) > 5  # of all kinds
    trees = [sorted(map(str, Path(root).rglob("*"))) for root in (tmp_path / "alone", tmp_path / "heard")]
    assert trees[0] == [path.replace("/heard/", "/alone/") for path in trees[1]]
    assert (tmp_path / "heard" / "secret" / "file").read_text() == "text"

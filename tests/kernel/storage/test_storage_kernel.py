"""Files through a real kernel: syscalls of agents with their decisions, requests of the person, a restart."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from daemons import PROBE_MANIFEST, PROBE_PROGRAM, Daemon, Probe

from aios_kernel.client import KernelClient, launch
from aios_kernel.client.access import AccessClient
from aios_kernel.client.storage import StorageClient
from aios_kernel.errors import BadRequest, InvalidState, KernelError, NoSuchFile, NotAuthenticated, NotPermitted
from aios_kernel.protocol import GrantRequest, ProcState, SyscallRequest


@pytest.fixture(scope="module")
def daemon(home: Path, daemon: Daemon) -> Daemon:
    """With two more agents that are probes too: `other`, and `boss`, which may be an operator."""
    for name, group in (("other", "user"), ("boss", "operator")):
        folder = daemon.paths.agents / name
        folder.mkdir()
        (folder / "agent.toml").write_text(f'group = "{group}"\n' + PROBE_MANIFEST.replace('"probe"', f'"{name}"'))
        (folder / "probe.py").write_text(PROBE_PROGRAM)
    return daemon


@pytest.fixture(scope="module")
def probe(daemon: Daemon) -> Probe:
    return daemon.probe()


@pytest.fixture(scope="module")
def other(daemon: Daemon) -> Probe:
    return daemon.probe(agent="other")


@pytest.fixture(scope="module")
def files(daemon: Daemon) -> StorageClient:
    return StorageClient(daemon.client)


def content(files: StorageClient, path: str, version: int | None = None, agent: str = "probe") -> bytes:
    blocks: list[bytes] = []
    files.read(agent, path, version, blocks.append)
    return b"".join(blocks)


def answered(daemon: Daemon, probe: Probe, allow: bool, name: str, **args: Any) -> tuple[Any, str]:
    """Make a syscall that asks a person, answer it; its result, or its error, and the question."""
    outcome: list[Any] = []

    def call() -> None:
        try:
            outcome.append(probe.call(name, **args))
        except KernelError as error:
            outcome.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    daemon.client.wait(probe.pid, state=ProcState.ASKING, timeout_s=20)
    question = AccessClient(daemon.client).answer(probe.pid, allow)
    thread.join(20)
    return outcome[0], question.what


def test_an_agents_own_files(probe: Probe, files: StorageClient) -> None:
    info = probe.call("sto.write", path="notes/a.txt", content="one")
    assert (info["owner"], info["path"], info["version"]) == ("probe", "notes/a.txt", 1)
    assert probe.call("sto.append", path="notes/a.txt", content=", two")["version"] == 2
    read = probe.call("sto.read", path="notes/a.txt")
    assert (read["text"], read["version"], read["base64"]) == ("one, two", 2, None)
    assert read["sha256"] == hashlib.sha256(b"one, two").hexdigest()
    assert probe.call("sto.read", path="notes/a.txt", version=-1)["text"] == "one"
    probe.call("sto.create", path="bytes", content=base64.b64encode(b"\xff\0").decode(), base64=True)
    assert probe.call("sto.read", path="bytes")["base64"] == "/wA="
    with pytest.raises(InvalidState, match="there already"):
        probe.call("sto.create", path="bytes")
    probe.call("sto.mkdir", path="empty/deep")
    assert [info["path"] for info in probe.call("sto.list")] == ["bytes", "empty", "notes"]
    assert "empty/deep" in [info["path"] for info in probe.call("sto.list", recursive=True)]
    assert [row["what"] for row in probe.call("sto.history", path="notes/a.txt")] == ["append", "write"]
    assert "+one, two" in probe.call("sto.diff", path="notes/a.txt")
    assert [hit["path"] for hit in probe.call("sto.search", query="two")["hits"]] == ["notes/a.txt"]
    assert content(files, "notes/a.txt", 1) == b"one"


def test_what_cannot_be_taken_back_is_asked(daemon: Daemon, probe: Probe) -> None:
    probe.call("sto.write", path="asked.txt", content="one")
    error, question = answered(daemon, probe, False, "sto.write", path="asked.txt", content="two")
    assert (type(error), question) == (NotPermitted, "overwrite asked.txt (version 1, 3 bytes)")
    info, _ = answered(daemon, probe, True, "sto.write", path="asked.txt", content="two")
    assert info["version"] == 2
    info, question = answered(daemon, probe, True, "sto.rollback", path="asked.txt")
    assert (info["version"], question) == (3, "roll back asked.txt (version 2, 3 bytes)")
    error, question = answered(daemon, probe, False, "sto.delete", path="asked.txt")
    assert (type(error), question) == (NotPermitted, "delete asked.txt (to the bin)")
    assert probe.call("sto.read", path="asked.txt")["text"] == "one"
    assert answered(daemon, probe, True, "sto.delete", path="asked.txt")[0] == 1
    with pytest.raises(NoSuchFile, match="the bin has one"):
        probe.call("sto.history", path="asked.txt")
    assert [row["path"] for row in probe.call("sto.bin")] == ["asked.txt"]
    assert probe.call("sto.restore", path="asked.txt")["version"] == 3
    probe.call("sto.write", path="asked.txt", content="one")  # changes nothing: nobody is asked


def test_operators_are_not_asked(daemon: Daemon) -> None:
    operator = daemon.probe(agent="boss", group="operator")
    contents = [os.urandom(200).hex() for _ in range(20)]
    for text in contents:
        operator.call("sto.write", path="twenty", content=text)
    digests = [row["sha256"] for row in operator.call("sto.history", path="twenty")]
    assert digests == [hashlib.sha256(text.encode()).hexdigest() for text in reversed(contents)]
    for version in range(19, 0, -1):
        operator.call("sto.rollback", path="twenty", version=version)
        assert operator.call("sto.read", path="twenty")["sha256"] == digests[20 - version]
    assert operator.call("sto.delete", path="twenty") == 1


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("../../state/person.key", NotPermitted),
        ("a/../../b", NotPermitted),
        ("~other/../probe/notes/a.txt", NotPermitted),
        ("~../x", BadRequest),
        ("~other/notes", NotPermitted),
        ("a\0b", BadRequest),
        ("/etc/passwd", NoSuchFile),
        ("x" * 5_000, BadRequest),
        ("share:guess", NoSuchFile),
    ],
)
def test_ways_out_are_refused_and_in_the_audit_log(
    daemon: Daemon, probe: Probe, other: Probe, path: str, error: type[KernelError]
) -> None:
    other.call("sto.append", path="notes", content="other's")
    access = AccessClient(daemon.client)
    for name in ("sto.read", "sto.list", "sto.history", "sto.append"):
        if name == "sto.append" and error is NoSuchFile:
            continue
        with pytest.raises((error, BadRequest)):
            probe.call(name, path=path)
        row = access.audit(pid=probe.pid, limit=1)[0]
        assert row.outcome == "deny" or (row.what, row.action) == ("effect", name)
        assert row.outcome != "ok"


def test_links_out_of_the_jail_are_refused(daemon: Daemon, probe: Probe) -> None:
    root = daemon.paths.data / "files" / "probe"
    probe.call("sto.mkdir", path="here")
    (root / "here" / "out").symlink_to(daemon.paths.state)
    for name, args in (
        ("sto.read", {"path": "here/out/person.key"}),
        ("sto.list", {"path": "here/out/agents"}),
        ("sto.append", {"path": "here/out/x", "content": "x"}),
        ("sto.move", {"path": "notes/a.txt", "to": "here/out/a"}),
    ):
        with pytest.raises(NotPermitted, match="symbolic link"):
            probe.call(name, **args)
    assert answered(daemon, probe, True, "sto.delete", path="here", recursive=True)[0] == 1
    assert daemon.paths.state.is_dir()


def test_a_forbid_holds_for_what_is_in_a_folder(daemon: Daemon, probe: Probe) -> None:
    policy = daemon.paths.policies / "keep.cedar"
    policy.parent.mkdir(exist_ok=True)
    policy.write_text(
        '@id("keep") forbid (principal, action in [Action::"file:delete", Action::"file:read"], '
        'resource == File::"kept/b.txt");'
    )
    access = AccessClient(daemon.client)
    probe.call("sto.write", path="kept/a.txt", content="zebra")
    probe.call("sto.write", path="kept/b.txt", content="zebra")
    access.reload()
    try:
        error, _ = answered(daemon, probe, True, "sto.delete", path="kept", recursive=True)
        assert isinstance(error, NotPermitted)
        with pytest.raises(NotPermitted):
            probe.call("sto.move", path="kept", to="elsewhere")
        assert len(probe.call("sto.list", path="kept")) == 2
        assert [hit["path"] for hit in probe.call("sto.search", query="zebra")["hits"]] == ["kept/a.txt"]
    finally:
        policy.unlink()
        access.reload()


def test_sharing_with_another_agent(daemon: Daemon, probe: Probe, other: Probe) -> None:
    probe.call("sto.write", path="shared/a.txt", content="for you")
    with pytest.raises(NotPermitted):
        other.call("sto.read", path="~probe/shared/a.txt")
    share, question = answered(daemon, probe, True, "sto.share", path="shared", to="other", expires_s=3600)
    assert question == "share shared with other, for 1.0 h"
    assert other.call("sto.read", path="~probe/shared/a.txt")["text"] == "for you"
    assert [info["path"] for info in other.call("sto.list", path="~probe/shared")] == ["shared/a.txt"]
    for name, args in (
        ("sto.read", {"path": "~probe/shared/a.txt", "version": 1}),  # what it was before is not shared
        ("sto.history", {"path": "~probe/shared/a.txt"}),
        ("sto.append", {"path": "~probe/shared/a.txt", "content": "x"}),
        ("sto.delete", {"path": "~probe/shared/a.txt"}),
        ("sto.search", {"path": "~probe", "query": "you"}),
        ("sto.read", {"path": "~probe/notes/a.txt"}),
        ("sto.unshare", {"id": share["id"]}),
    ):
        with pytest.raises((NotPermitted, NoSuchFile)):
            other.call(name, **args)
    StorageClient(daemon.client).unshare(share["id"][:8])
    with pytest.raises(NotPermitted):
        other.call("sto.read", path="~probe/shared/a.txt")
    AccessClient(daemon.client).grant(GrantRequest("other", "file:read", "shared/a.txt", "probe"))
    assert other.call("sto.read", path="~probe/shared/a.txt", version=1)["text"] == "for you"


def test_a_link(daemon: Daemon, probe: Probe, other: Probe) -> None:
    probe.call("sto.write", path="linked.txt", content="then")
    share, question = answered(daemon, probe, True, "sto.share", path="linked.txt")
    assert question == "share linked.txt by a link that whoever has it can read, for 24.0 h"
    probe.call("sto.append", path="linked.txt", content=" and now")
    assert other.call("sto.read", path=f"share:{share['id']}")["text"] == "then"
    assert Path(share["file"]).read_text() == "then"
    for row in AccessClient(daemon.client).audit(limit=50):  # the token is a secret
        assert share["id"] not in f"{row.resource}{row.why}{row.action}"


def test_mounts_are_a_persons_word(daemon: Daemon, probe: Probe, files: StorageClient, tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text("host file")
    for name, group in (("probe", "user"), ("boss", "operator")):
        agent = daemon.probe(agent=name, group=group)
        error, question = answered(daemon, agent, False, "sto.mount", folder=str(tmp_path), path="m", writable=True)
        assert (type(error), question) == (NotPermitted, f"read and change your folder {tmp_path} as m")
    assert files.mount("probe", "docs", str(tmp_path)).writable is False
    assert probe.call("sto.read", path="docs/f.txt")["text"] == "host file"
    assert [hit["path"] for hit in probe.call("sto.search", query="host")["hits"]] == ["docs/f.txt"]
    with pytest.raises(NotPermitted, match="read-only"):
        probe.call("sto.append", path="docs/f.txt", content="x")
    with pytest.raises(BadRequest, match="the kernel's own"):
        files.mount("probe", "all", str(daemon.paths.state))
    files.unmount("probe", "docs")
    assert (tmp_path / "f.txt").read_text() == "host file"


def test_guests_have_no_files(daemon: Daemon) -> None:
    guest = daemon.probe(group="guest")
    for name, args in (("sto.read", {"path": "notes/a.txt"}), ("sto.append", {"path": "x"}), ("sto.list", {})):
        with pytest.raises(NotPermitted):
            guest.call(name, **args)


def test_the_person(files: StorageClient, daemon: Daemon) -> None:
    assert files.write("mine", "a b/ü.txt", b"\xff one").version == 1
    assert files.write("mine", "a b/ü.txt", b"two").version == 2
    assert files.write("mine", "a b/ü.txt", b"!", append=True).version == 3
    assert (content(files, "a b/ü.txt", agent="mine"), content(files, "a b/ü.txt", -2, "mine")) == (
        b"two!",
        b"\xff one",
    )
    assert "binary" in files.diff("mine", "a b/ü.txt", 1, 3)
    assert files.rollback("mine", "a b/ü.txt", 1).version == 4
    files.write("mine", "x", b"")
    with pytest.raises(InvalidState, match="--force"):
        files.move("mine", "x", "a b/ü.txt")
    files.move("mine", "x", "a b/ü.txt", replace=True)
    assert files.delete("mine", "a b", recursive=True) == 1
    assert [row.versions for row in files.bin("mine")] == [1, 4]
    assert files.restore("mine", id=files.bin("mine")[1].id, to="back").version == 4
    assert files.empty_bin("mine") == 1
    assert "mine" in [owner.owner for owner in files.owners()]
    for act in (
        lambda: files.entries("..", ""),
        lambda: files.write("mine", "../x", b""),
        lambda: content(files, "../../state/person.key", agent="mine"),
    ):
        with pytest.raises((NotPermitted, BadRequest)):
            act()
    probe = daemon.probe()
    with pytest.raises(NotPermitted):
        StorageClient(probe.as_agent).owners()
    with pytest.raises(NotAuthenticated):
        StorageClient(KernelClient(daemon.client.socket_path, "guess")).delete("mine", "back")


def test_two_writers_race_for_one_new_path(daemon: Daemon) -> None:
    """Each was allowed to write what is not there; the second would replace, which takes another decision."""
    probes = [daemon.probe() for _ in range(2)]
    for number in range(5):
        barrier = threading.Barrier(2)
        outcomes: list[Any] = []

        def write(probe: Probe, barrier: threading.Barrier, outcomes: list[Any], path: str) -> None:
            barrier.wait()
            try:
                request = SyscallRequest("sto.write", {"path": path, "content": str(probe.pid)}, 1.0)
                outcomes.append(probe.as_agent.call("POST", "/syscall", dict, body=request))
            except KernelError as error:
                outcomes.append(error)

        args = (barrier, outcomes, f"race/{number}")
        threads = [threading.Thread(target=write, args=(probe, *args)) for probe in probes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(isinstance(outcome, KernelError) for outcome in outcomes) == 1
        assert len(probes[0].call("sto.history", path=f"race/{number}")) == 1


def test_everything_is_there_after_a_restart(fresh: Callable[[], Daemon], probe: Probe, files: StorageClient) -> None:
    probe.call("sto.write", path="kept.txt", content="one")
    probe.call("sto.append", path="kept.txt", content="two")
    share = files.share("probe", "kept.txt", "other")
    before = (files.history("probe", "kept.txt"), files.bin("probe"), files.shares(), files.owners())
    launch.stop()
    again = StorageClient(fresh().client)
    assert (again.history("probe", "kept.txt"), again.bin("probe"), again.shares(), again.owners()) == before
    assert content(again, "kept.txt", 1) == b"one"
    assert share in again.shares()

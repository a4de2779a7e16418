"""Attacks on a running kernel, by an agent with nothing but its token: each is an error for it, and for nobody else.

What is measured is whether the kernel goes on answering the person meanwhile: its longest silence.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from daemons import Daemon, Probe

from aios_kernel.admission import within
from aios_kernel.client.access import AccessClient
from aios_kernel.client.storage import StorageClient
from aios_kernel.errors import BadRequest, KernelError, LimitHit, NoSuchProcess, NotPermitted
from aios_kernel.process import ProcessTable
from aios_kernel.protocol import FileKind, GrantRequest, ProcState, Question, RunRequest, Scope, Signal

SILENCE_S = 2.0  # of the kernel at most; unmended, each of these attacks silenced it for 4 to 60 s


@pytest.fixture
def agent(daemon: Daemon) -> Iterator[Probe]:
    probe = daemon.probe()
    yield probe
    with suppress(NoSuchProcess):
        daemon.client.signal(probe.pid, Signal.KILL)
    daemon.finished(probe.pid)


@pytest.fixture(scope="module")
def access(daemon: Daemon) -> AccessClient:
    return AccessClient(daemon.client)


@contextmanager
def answering(daemon: Daemon) -> Iterator[None]:
    """Within the block the kernel is never silent for long."""
    over, silences = threading.Event(), [0.0]

    def ask() -> None:
        while not over.wait(0.01):
            before = time.perf_counter()
            daemon.client.status()
            silences.append(time.perf_counter() - before)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()
    assert max(silences) < SILENCE_S


def post(daemon: Daemon, agent: Probe, body: bytes) -> tuple[int, dict[str, Any]]:
    """A body as it is to /syscall: status and answer."""
    connection = http.client.HTTPConnection("kernel", timeout=120)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(120)
    connection.sock.connect(str(daemon.client.socket_path))
    try:
        connection.request("POST", "/syscall", body, agent.as_agent._headers)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


class Asking:
    """A syscall that a person is asked about, in a thread."""

    def __init__(self, daemon: Daemon, agent: Probe, name: str, **args: Any) -> None:
        self.error: KernelError | None = None
        self.result: Any = None
        self._thread = threading.Thread(target=self._run, args=(agent, name, args))
        self._thread.start()
        daemon.client.wait(agent.pid, state=ProcState.ASKING, timeout_s=20)

    def _run(self, agent: Probe, name: str, args: dict[str, Any]) -> None:
        try:
            self.result = agent.call(name, **args)
        except KernelError as error:
            self.error = error

    def over(self) -> KernelError | None:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.error


def only(access: AccessClient) -> Question:
    (question,) = access.questions()
    return question


# --- the kernel goes on answering


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(lambda: b'{"name":"%b"}' % (b"llm.chat" * 1_900_000), id="a name of 15 MB"),
        pytest.param(lambda: b'{"name":"mem.add","args":{"metadata":{"a":[%b[]]}}}' % (b"[]," * 5_000_000), id="lists"),
        pytest.param(lambda: b'{"name":"mem.add","args":{"metadata":[%b{}]}}' % (b"{}," * 5_000_000), id="objects"),
        pytest.param(
            lambda: json.dumps(
                {"name": "tool.list", "args": {"names": [f"file_{n}" for n in range(100_000)]}}
            ).encode(),
            id="names of tools",
        ),
        pytest.param(
            lambda: json.dumps(
                {"name": "tool.call", "args": {"name": "python", "arguments": {"code": "", "files": [0] * 300_000}}}
            ).encode(),
            id="arguments of a tool",
        ),
        pytest.param(
            lambda: json.dumps({"name": "mem.get", "args": {"id": "1", "owner": "x" * 8_000_000}}).encode(),
            id="an owner of 8 MB",
        ),
    ],
)
def test_no_syscall_silences_the_kernel(daemon: Daemon, agent: Probe, body: Callable[[], bytes]) -> None:
    sent = body()
    with answering(daemon):
        status, answer = post(daemon, agent, sent)
    assert (400 <= status < 500, answer["error"]["errno"] != "EIO") == (True, True)
    assert len(json.dumps(answer)) < 10_000
    assert agent.call("proc.self")["pid"] == agent.pid


def chat(messages: list[dict[str, str]]) -> bytes:
    return json.dumps({"name": "llm.chat", "args": {"messages": messages, "max_tokens": 1}}).encode()


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([{"role": "user", "content": "x"}] * 150_000, id="150,000 messages"),
        pytest.param([{"role": "user", "content": "<gh_stars>" * 1_000_000}], id="a million markers"),
        pytest.param([{"role": "user", "content": "a" * 15_000_000}], id="15 MB"),
    ],
)
@pytest.mark.model
def test_no_prompt_holds_up_another(daemon: Daemon, agent: Probe, messages: list[dict[str, str]]) -> None:
    """Cutting the first two into tokens would take a quarter of an hour, and can't be stopped."""
    other, sent = daemon.probe(), chat(messages)
    other.call("llm.chat", messages=[{"role": "user", "content": "hi"}], max_tokens=1)
    asking = threading.Thread(target=lambda: answers.append(post(daemon, agent, sent)))
    answers: list[tuple[int, dict[str, Any]]] = []
    with answering(daemon):
        asking.start()
        while asking.is_alive():
            other.call("llm.chat", messages=[{"role": "user", "content": "hi"}], max_tokens=1)
        asking.join()
    ((status, answer),) = answers
    if len(messages) > 1:  # the oldest are left out
        assert status == 200
    else:
        assert (status, answer["error"]["errno"]) == (413, "E2BIG")
    daemon.client.signal(other.pid, Signal.KILL)
    daemon.finished(other.pid)


def test_what_an_agent_names_does_not_fill_the_audit_log(daemon: Daemon, agent: Probe, access: AccessClient) -> None:
    before = sum(path.stat().st_size for path in daemon.paths.audit.iterdir())
    for name, args in (
        ("mem.get", {"id": "1", "owner": "x" * 1_000_000}),
        ("mem.get", {"id": "x" * 1_000_000}),
        ("access.request", {"action": "memory:read", "resource": "1", "owner": "y" * 1_000_000}),
    ):
        with pytest.raises((BadRequest, NotPermitted)):
            agent.call(name, **args)
    access.audit(limit=1)
    assert sum(path.stat().st_size for path in daemon.paths.audit.iterdir()) - before < 50_000


def test_a_mailbox_is_bounded_in_bytes(daemon: Daemon, agent: Probe) -> None:
    child = agent.call("proc.spawn", agent="probe", task="hold")["pid"]
    with pytest.raises(LimitHit):
        send_all(agent, child, ["x" * 1_000_000] * 20)
    daemon.client.signal(child, Signal.KILL)
    daemon.finished(child)


def send_all(agent: Probe, pid: int, texts: list[str]) -> None:
    for text in texts:
        agent.call("proc.send", pid=pid, text=text)


def test_a_mailbox_that_is_read_has_room_again(agent: Probe, daemon: Daemon) -> None:
    for _ in range(12):
        daemon.client.send(agent.pid, "x" * 1_000_000)
        assert len(agent.call("proc.recv")["text"]) == 1_000_000


def test_a_child_has_the_limits_of_its_parent_too() -> None:
    table = ProcessTable()
    parent = table.add(RunRequest("a", deadline_s=600.0, max_tokens=50), parent=None, model="m", at=1_000.0)
    parent.tokens_out = 20
    for wanted in (RunRequest("a"), RunRequest("a", deadline_s=6_000.0, max_tokens=5_000)):
        had = within(wanted, parent, 1_100.0)
        assert (had.deadline_s, had.max_tokens) == (500.0, 30)
    less = RunRequest("a", deadline_s=5.0, max_tokens=3)
    assert within(less, parent, 1_100.0) == less
    parent.tokens_out = 50
    with pytest.raises(LimitHit):
        within(less, parent, 1_100.0)
    free = table.add(RunRequest("a"), parent=None, model="m", at=1_000.0)
    assert within(RunRequest("a"), free, 1_100.0) == RunRequest("a")


# --- what is approved is what is done


def test_yes_to_one_thing_requested_is_yes_to_that_thing(daemon: Daemon, agent: Probe, access: AccessClient) -> None:
    for path in ("tmp.txt", "precious.txt"):
        agent.call("sto.write", path=path, content="x")
    asking = Asking(daemon, agent, "access.request", action="file:delete", resource="tmp.txt", why="to tidy up")
    access.answer(agent.pid, True)
    assert asking.over() is None
    agent.call("sto.delete", path="tmp.txt")
    asking = Asking(daemon, agent, "sto.delete", path="precious.txt")
    access.answer(agent.pid, False)
    assert isinstance(asking.over(), NotPermitted)


def test_who_requests_all_of_its_own_has_to_say_so(daemon: Daemon, agent: Probe, access: AccessClient) -> None:
    agent.call("sto.write", path="a.txt", content="x")
    asking = Asking(daemon, agent, "access.request", action="file:delete")
    assert only(access).what == "file:delete all of its own"
    access.answer(agent.pid, True)
    assert asking.over() is None
    agent.call("sto.delete", path="a.txt")


@pytest.mark.parametrize("scope", [Scope.SESSION, Scope.ALWAYS])
def test_yes_to_one_folder_mounts_no_other(
    daemon: Daemon, agent: Probe, access: AccessClient, tmp_path: Path, scope: Scope
) -> None:
    for name in ("work", "private"):
        (tmp_path / name).mkdir()
    asking = Asking(daemon, agent, "sto.mount", folder=str(tmp_path / "work"), path="work")
    access.answer(agent.pid, True, scope)
    assert asking.over() is None
    for wanted in (
        {"folder": str(tmp_path / "private"), "path": "private"},
        {"folder": str(tmp_path / "private"), "path": "work/x"},
        {"folder": str(tmp_path / "work"), "path": "mine", "writable": True},
    ):
        asking = Asking(daemon, agent, "sto.mount", **wanted)
        access.answer(agent.pid, False)
        assert isinstance(asking.over(), NotPermitted)
    files = StorageClient(daemon.client)
    files.unmount("probe", "work")
    for row in access.policies():
        if row.granted:
            access.revoke(row.id)


def test_a_folder_is_mounted_by_its_own_name_alone(
    daemon: Daemon, agent: Probe, access: AccessClient, tmp_path: Path
) -> None:
    (tmp_path / "harmless").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    for folder in (
        f"{tmp_path}/harmless{'/.' * 100}/../secret",
        f"{tmp_path}/harmless/../secret",
        f"{tmp_path}//secret",
        f"{tmp_path}/link",
    ):
        asking = Asking(daemon, agent, "sto.mount", folder=folder, path="docs")
        access.answer(agent.pid, True)
        assert isinstance(asking.over(), BadRequest)
    with pytest.raises(NotPermitted):
        agent.call("sto.mount", folder=str(tmp_path / "harmless"), path="~other/docs")


def test_what_is_restored_is_what_was_decided(daemon: Daemon, agent: Probe, access: AccessClient) -> None:
    for path in ("secret.txt", "plain.txt"):
        agent.call("sto.write", path=path, content=path)
        asking = Asking(daemon, agent, "sto.delete", path=path)
        access.answer(agent.pid, True)
        assert asking.over() is None
    ids = {row["path"]: row["id"] for row in agent.call("sto.bin")}
    policy = daemon.paths.policies / "mine.cedar"
    policy.parent.mkdir(exist_ok=True)
    policy.write_text('forbid (principal, action == Action::"file:write", resource == File::"secret.txt");')
    access.reload()
    try:
        for args in ({"id": ids["secret.txt"]}, {"id": ids["secret.txt"], "path": "plain.txt", "to": "copy.txt"}):
            with pytest.raises(NotPermitted):
                agent.call("sto.restore", **args)
        access.grant(GrantRequest("probe", "file:write", "plain.txt", "other"))
        with pytest.raises(BadRequest, match="one agent's"):
            agent.call("sto.restore", path="~other/plain.txt", to="mine.txt")
        assert agent.call("sto.restore", id=ids["plain.txt"])["path"] == "plain.txt"
        agent.call("sto.append", path="from/secret.txt", content="x")
        agent.call("sto.append", path="from/below/a.txt", content="x")
        agent.call("sto.move", path="from/below", to="b")
        policy.write_text('forbid (principal, action == Action::"file:write", resource == File::"to/secret.txt");')
        access.reload()
        with pytest.raises(NotPermitted):
            agent.call("sto.move", path="from", to="to")
        assert StorageClient(daemon.client).entries("probe", "from")[0].kind is FileKind.FILE
    finally:
        policy.unlink()
        access.reload()
        access.revoke("probe-file-write")


# --- what a person reads


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        ({"action": "file:read", "resource": "x" * 300, "owner": "writer"}, " of writer"),
        ({"action": "file:read", "resource": "a\n\x1b[2Jb\u202ec", "owner": "writer"}, "file:read a [2Jb c of writer"),
        ({"action": "file:read", "resource": "a" + " " * 150 + "b", "owner": "writer"}, "file:read a b of writer"),
        ({"action": "file:read", "resource": "r", "owner": "w", "why": "y" * 10_000}, "file:read r of w, saying"),
    ],
)
def test_a_question_says_all_that_matters(
    daemon: Daemon, agent: Probe, access: AccessClient, args: dict[str, str], shown: str
) -> None:
    asking = Asking(daemon, agent, "access.request", **args)
    question = only(access)
    assert shown in question.what
    assert question.what.isprintable()
    assert len(question.what.removesuffix(f" (question {question.id})")) <= 200
    access.answer(agent.pid, False)
    assert isinstance(asking.over(), NotPermitted)
    assert asking.error is not None
    assert len(asking.error.message) < 500


def test_the_end_of_a_question_is_never_cut(daemon: Daemon, agent: Probe, access: AccessClient) -> None:
    path = "/".join(["f" * 100] * 3)
    agent.call("sto.write", path=path, content="x")
    asking = Asking(daemon, agent, "sto.share", path=path)
    question = only(access)
    end = f" by a link that whoever has it can read, for 24.0 h (question {question.id})"
    assert question.what.endswith(end)
    assert path in question.detail
    access.answer(agent.pid, False)
    asking.over()


def test_a_person_who_is_asked_reads_what_the_audit_log_says(
    daemon: Daemon, agent: Probe, access: AccessClient
) -> None:
    """One row a decision, whatever is in a name."""
    with pytest.raises(NotPermitted):
        agent.call("sto.read", path='~other/a", "outcome": "allow"')
    with pytest.raises((NotPermitted, BadRequest)):
        agent.call("mem.get", id='1\n{"outcome":"allow"}\n', owner="other")
    rows = access.audit(pid=agent.pid)
    assert {row.outcome for row in rows if row.what == "decision"} == {"deny"}


def test_killed_while_asked_means_not_done(daemon: Daemon, agent: Probe, access: AccessClient) -> None:
    agent.call("sto.write", path="kept.txt", content="x")
    asking = Asking(daemon, agent, "sto.delete", path="kept.txt")
    daemon.client.signal(agent.pid, Signal.KILL)
    with pytest.raises(KernelError):
        access.answer(agent.pid, True)
    asking.over()
    assert [each.path for each in StorageClient(daemon.client).entries("probe", "kept.txt")] == ["kept.txt"]

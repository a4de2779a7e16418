"""Access in a running kernel: who is nobody, what is asked, and that no way leads past a decision."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest
from daemons import Daemon, Probe
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aios_kernel.access.manager import AccessManager
from aios_kernel.access.need import Need
from aios_kernel.audit import AuditLog
from aios_kernel.client import KernelClient, chain
from aios_kernel.client.access import AccessClient
from aios_kernel.clock import SystemClock
from aios_kernel.errors import (
    BadRequest,
    InvalidState,
    KernelError,
    NoSuchProcess,
    NotAuthenticated,
    NotPermitted,
)
from aios_kernel.eventlog import EventLog
from aios_kernel.journal import Journal
from aios_kernel.life import Life
from aios_kernel.process import ProcessTable
from aios_kernel.protocol import (
    AuditRow,
    DecideRequest,
    GrantRequest,
    Outcome,
    ProcState,
    Question,
    RunRequest,
    Signal,
    SyscallRequest,
)
from aios_kernel.server import create_app
from aios_kernel.syscalls import Dispatcher, all_rows
from aios_kernel.syscalls.table import Syscall

CLOCK = SystemClock()
MANAGERS: tuple[Any, ...] = tuple(inspect.signature(all_rows).parameters)

# These touch nothing but their caller; access.request decides about what it asks for.
WITHOUT_NEEDS = {"proc.history", "proc.recv", "proc.self", "access.request"}


@pytest.fixture(scope="module")
def access(daemon: Daemon) -> AccessClient:
    return AccessClient(daemon.client)


@pytest.fixture(scope="module")
def probe(daemon: Daemon) -> Probe:
    return daemon.probe()


class Asking:
    """A syscall in a thread, for a person to answer."""

    def __init__(self, daemon: Daemon, probe: Probe, name: str, **args: Any) -> None:
        self.result: object = None
        self.error: KernelError | None = None
        self._call = (probe, name, args)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        daemon.client.wait(probe.pid, state=ProcState.ASKING, timeout_s=20)

    def _run(self) -> None:
        probe, name, args = self._call
        try:
            self.result = probe.call(name, **args)
        except KernelError as error:
            self.error = error

    def over(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()


# --- who is who


def test_without_a_key_one_is_nobody(daemon: Daemon, probe: Probe) -> None:
    class Nobody(KernelClient):
        _headers = {}  # type: ignore[assignment]

    for client in (Nobody(daemon.client.socket_path), KernelClient(daemon.client.socket_path, "person-guess")):
        with pytest.raises(NotAuthenticated):
            client.procs()
        with pytest.raises(NotAuthenticated):
            client.signal(probe.pid, Signal.KILL)
        with pytest.raises(NotAuthenticated):
            client.syscall(SyscallRequest("proc.self"))
    with pytest.raises(NotPermitted, match="agent's token"):
        probe.as_agent.procs()
    denied = AccessClient(daemon.client).audit(limit=20)
    wanted = {"GET /procs", f"POST /procs/{probe.pid}/signal", "POST /syscall"}
    assert wanted <= {row.action for row in denied if row.outcome == "deny"}


def test_a_token_is_of_its_process_alone_and_dies_with_it(daemon: Daemon) -> None:
    mine, other = daemon.probe(), daemon.probe()
    token = mine.as_agent._headers["Authorization"].removeprefix("Bearer ")
    pid, _, secret = token.partition(".")
    assert (int(pid), len(secret)) == (mine.pid, 43)  # 256 bits
    for forged in (f"{other.pid}.{secret}", secret, f"{pid}.", pid, f"{pid}.{secret}x", f"0{pid}.{secret}", "1" * 99):
        with pytest.raises(NotAuthenticated):
            KernelClient(daemon.client.socket_path, forged).syscall(SyscallRequest("proc.self"))
    daemon.client.signal(mine.pid, Signal.KILL)
    daemon.finished(mine.pid)
    with pytest.raises(NotAuthenticated):
        mine.call("proc.self")
    daemon.client.signal(other.pid, Signal.KILL)


def test_a_group_must_be_known(daemon: Daemon) -> None:
    with pytest.raises(BadRequest, match="group 'wheel': must be one of guest, user, operator"):
        daemon.run("hold", group="wheel")
    with pytest.raises(BadRequest, match="group 'wheel'"):
        daemon.client.key("wheel")


# --- questions


def test_to_end_a_strangers_process_a_person_is_asked(daemon: Daemon, access: AccessClient, probe: Probe) -> None:
    stranger = daemon.probe()
    what = f"send TERM to process {stranger.pid} (probe)"
    asking = Asking(daemon, probe, "proc.signal", pid=stranger.pid, signal="TERM")
    info = daemon.client.proc(probe.pid)
    assert (info.state, info.reason) == (ProcState.ASKING, what)
    (question,) = access.questions()
    assert isinstance(question, Question)
    assert (question.pid, question.what, question.action) == (probe.pid, what, "process:signal")
    with pytest.raises(InvalidState, match="asks something else"):
        access.answer(probe.pid, True, what="something harmless")
    access.answer(probe.pid, False, what=what)
    asking.over()
    assert isinstance(asking.error, NotPermitted)
    assert daemon.client.proc(stranger.pid).state is ProcState.RUNNING
    asking = Asking(daemon, probe, "proc.signal", pid=stranger.pid, signal="TERM")
    access.answer(probe.pid, True)
    asking.over()
    assert (asking.error, daemon.finished(stranger.pid).exit_code) == (None, 143)
    rows = [row for row in access.audit(pid=probe.pid) if row.action in ("process:signal", "proc.signal")]
    assert [(row.what, row.outcome) for row in rows] == [
        ("decision", "ask"),
        ("answer", "deny"),
        ("decision", "ask"),
        ("answer", "allow"),
        ("effect", "ok"),
    ]
    assert len({row.call for row in rows}) == 2
    with pytest.raises(InvalidState, match="asks nothing"):
        access.answer(probe.pid, True)
    with pytest.raises(NoSuchProcess):
        access.answer(stranger.pid, True)


def test_the_deadline_of_the_syscall_is_one_for_the_person_too(daemon: Daemon, access: AccessClient) -> None:
    mine, stranger = daemon.probe(), daemon.probe()
    with pytest.raises(KernelError, match=r"proc\.signal: not done after 0\.2 s"):
        mine.as_agent.call(
            "POST", "/syscall", dict, body=SyscallRequest("proc.signal", {"pid": stranger.pid, "signal": "TERM"}, 0.2)
        )
    assert access.questions() == []
    asking = Asking(daemon, mine, "proc.signal", pid=stranger.pid, signal="TERM")
    daemon.client.signal(mine.pid, Signal.KILL)  # its end ends its question
    asking.over()
    daemon.finished(mine.pid)
    assert access.questions() == []
    daemon.client.signal(stranger.pid, Signal.KILL)


def test_a_guest_is_denied_at_once(daemon: Daemon) -> None:
    guest, stranger = daemon.probe(group="guest"), daemon.probe()
    for name, args in (
        ("proc.signal", {"pid": stranger.pid, "signal": "TERM"}),
        ("proc.spawn", {"agent": "probe"}),
        ("access.request", {"action": "file:read", "owner": "other"}),
    ):
        with pytest.raises(NotPermitted, match="no policy permits it"):
            guest.call(name, **args)
    assert guest.call("tool.call", name="calculator", arguments={"expression": "1+1"}) == "2"
    for pid in (guest.pid, stranger.pid):
        daemon.client.signal(pid, Signal.KILL)


def test_what_is_requested_is_had_for_the_processs_life(daemon: Daemon, access: AccessClient) -> None:
    mine, stranger = daemon.probe(), daemon.probe()
    wanted = {"action": "process:send", "resource": str(stranger.pid), "owner": str(stranger.pid)}
    with pytest.raises(NotPermitted):
        mine.call("proc.send", pid=stranger.pid, text="hi")
    asking = Asking(daemon, mine, "access.request", **wanted, why="we work together")
    (question,) = access.questions()
    assert question.what == f'process:send {stranger.pid} of {stranger.pid}, saying "we work together"'
    access.answer(mine.pid, True)
    asking.over()
    assert asking.error is None
    mine.call("proc.send", pid=stranger.pid, text="hi")
    assert stranger.call("proc.recv")["text"] == "hi"
    with pytest.raises(BadRequest, match="no action 'process:eat'"):
        mine.call("access.request", action="process:eat")
    for pid in (mine.pid, stranger.pid):
        daemon.client.signal(pid, Signal.KILL)


# --- policies


def test_policies_are_listed_tested_granted_and_revoked(daemon: Daemon, access: AccessClient, probe: Probe) -> None:
    asked = DecideRequest(probe.pid, "file:delete", "a.txt", irreversible=True)
    assert access.test(asked).outcome is Outcome.ASK
    granted = access.grant(GrantRequest("probe", "file:delete"))
    assert (granted.id, granted.granted, granted.line) == ("probe-file-delete", True, 1)
    assert access.test(asked).policies == ("probe-file-delete",)
    assert granted in access.policies()
    access.revoke(granted.id)
    assert access.test(asked).outcome is Outcome.ASK
    with pytest.raises(InvalidState):
        access.revoke(granted.id)
    with pytest.raises(BadRequest, match="file:eat"):
        access.test(DecideRequest(probe.pid, "file:eat"))


def test_a_wrong_file_is_told_and_not_taken(daemon: Daemon, access: AccessClient) -> None:
    before = access.policies()
    path = daemon.paths.policies / "mine.cedar"
    path.parent.mkdir(exist_ok=True)
    path.write_text("// mine\nforbid (principal, action, resource) when { context.foo };")
    try:
        for ask in (access.check, access.reload):
            with pytest.raises(KernelError, match=r"mine\.cedar:2: .*foo"):
                ask()
        assert access.policies() == before
        path.write_text('@id("mine") forbid (principal, action == Action::"file:mount", resource);')
        assert [row.id for row in access.check()][-1] == "mine"
        assert access.policies() == before
        assert access.reload() == access.policies() != before
    finally:
        path.unlink()
        access.reload()


# --- the audit log


def test_the_log_of_a_running_kernel_is_whole_and_has_every_act(daemon: Daemon, access: AccessClient) -> None:
    mine = daemon.probe()
    mine.call("tool.call", name="clock")
    mine.call("tool.list")
    daemon.client.signal(mine.pid, Signal.KILL)
    daemon.finished(mine.pid)
    rows = access.audit(pid=mine.pid)
    assert [(row.what, row.action, row.outcome) for row in rows] == [
        ("decision", "tool:call", "allow"),
        ("decision", "tool:read", "allow"),
        ("effect", "tool.call", "ok"),
        ("effect", "tool.list", "ok"),
    ] or [row.what for row in rows] == ["decision", "effect"] * 2
    assert all(isinstance(row, AuditRow) and row.group == "user" for row in rows)
    asked = [row.action for row in access.audit(since=rows[0].at) if row.what == "person"]
    assert f"POST /procs/{mine.pid}/signal" in asked
    report = chain.verify(daemon.paths.audit, live=True)
    assert report.problems == []
    assert report.rows >= len(rows)


# --- no way past a decision


def routes_of(router: Any) -> Iterator[APIRoute]:
    for route in router.routes:
        if isinstance(route, APIRoute):
            yield route
        elif hasattr(route, "original_router"):
            yield from routes_of(route.original_router)


def test_every_route_is_the_persons_but_one(daemon: Daemon, probe: Probe) -> None:
    """Whatever routes there are: without the person's key they answer 401, with an agent's token 403."""
    routes = list(routes_of(create_app(Mock(version="0"))))
    assert len(routes) > 30
    strangers = ((KernelClient(daemon.client.socket_path, "x"), NotAuthenticated), (probe.as_agent, NotPermitted))
    for route in routes:
        path = re.sub(r"\{[^}]*\}", str(probe.pid), route.path)
        for method in route.methods:
            for client, error in strangers:
                if route.path == "/syscall":
                    continue
                with pytest.raises(error):
                    client.call(method, path, body={})


class Table:
    """The whole table of syscalls over nothing: what runs is only noted."""

    def __init__(self, folder: Path) -> None:
        self.ran: list[str] = []
        self._runner = asyncio.Runner()  # one event loop, as a kernel has
        policies = folder / "policies"
        policies.mkdir()
        (policies / "none.cedar").write_text("forbid (principal, action, resource);")
        self.audit = AuditLog.open(folder / "audit", CLOCK, version="1", max_bytes=1 << 30)
        self.journal = Journal.open(folder / "journal.duckdb", kernel_pid=1, version="1", clock=CLOCK)
        self._access = AccessManager(policies, self.audit, CLOCK, 1.0)
        self._procs = ProcessTable()
        supervisor = Mock(table=self._procs)
        known = {
            "supervisor": supervisor,
            "journal": self.journal,
            "access": self._access,
            "embedding": Mock(model="m"),
        }
        rows = all_rows(**{name: known.get(name, Mock()) for name in MANAGERS})
        self.rows = {name: self._watched(name, row) for name, row in rows.items()}

    def _watched(self, name: str, row: Syscall) -> Syscall:
        async def run(*_: object) -> None:
            self.ran.append(name)

        return dataclasses.replace(row, run=row.run if name == "access.request" else run)

    def call(self, name: str, args: dict[str, Any], group: str) -> None:
        self._runner.run(self._call(name, args, group))

    async def _call(self, name: str, args: dict[str, Any], group: str) -> None:
        process = self._procs.add(RunRequest("probe", group=group), parent=None, model="m", at=0.0)
        life = Life(process, EventLog(process.pid, self.journal, CLOCK), "token")
        dispatcher = Dispatcher(self.rows, self._access, self.journal, CLOCK)
        await asyncio.create_task(dispatcher.dispatch(life, SyscallRequest(name, args), lambda _: None))

    def journaled(self) -> list[tuple[str, bool]]:
        """Syscalls, and whether their rows are short."""
        lengths = "SELECT name, max(length(args)) AS longest FROM calls GROUP BY 1 ORDER BY 1"
        rows = self._runner.run(self.journal.read(lengths))
        return [(row["name"], row["longest"] < 2_000) for row in rows]

    def close(self) -> None:
        self._runner.close()
        self.audit.close()
        self.journal.close()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Any:
    table = Table(tmp_path_factory.mktemp("table"))
    yield table
    table.close()


def args_of(kind: type) -> st.SearchStrategy[dict[str, Any]]:
    """Arguments of a syscall, as an agent sends them."""
    anything = {
        field.name: st.just([] if "list" in str(field.type) else {})
        for field in dataclasses.fields(kind)
        if "Any" in str(field.type)
    }
    pids = {field.name: st.integers(0, 5) for field in dataclasses.fields(kind) if field.name == "pid"}
    return st.builds(kind, **anything, **pids).map(msgspec.to_builtins)


@pytest.mark.parametrize("name", sorted(all_rows(**dict.fromkeys(MANAGERS))))
@given(data=st.data(), group=st.sampled_from(["guest", "user", "operator"]))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_syscall_runs_where_everything_is_forbidden(
    table: Table, name: str, data: st.DataObject, group: str
) -> None:
    args = data.draw(args_of(table.rows[name].args))
    if name == "access.request":
        args["action"] = "file:read"
    table.ran.clear()
    if name in WITHOUT_NEEDS - {"access.request"}:
        table.call(name, args, group)
        assert table.ran == [name]
        return
    with pytest.raises((NotPermitted, NoSuchProcess)):
        table.call(name, args, group)
    assert table.ran == []


def test_the_journal_is_no_way_around_quotas(tmp_path: Path) -> None:
    table = Table(tmp_path)
    for name, args in (
        ("sto.write", {"path": "a", "content": "x" * 1_000_000}),
        ("mem.add", {"content": "x" * 60_000}),
    ):
        with pytest.raises(NotPermitted):
            table.call(name, args, "user")
    assert table.journaled() == [("mem.add", True), ("sto.write", True)]
    table.close()


def test_needs_name_known_actions_only() -> None:
    with pytest.raises(AssertionError, match="file has no action 'eat'"):
        Need("eat", "file", "x")  # type: ignore[arg-type]

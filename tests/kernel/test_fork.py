"""Who may begin with whose context, over a real kernel."""

from __future__ import annotations

from typing import Any

import pytest
from daemons import Daemon

from aios_kernel.errors import BadRequest, NoSuchProcess, NoSuchSnapshot, NotPermitted
from aios_kernel.protocol import RunRequest, Signal


@pytest.mark.parametrize("name", ["proc.spawn", "proc.fork"])
@pytest.mark.parametrize("wanted", [{"fork": 1}, {"snapshot": "story"}], ids=["fork", "snapshot"])
def test_an_agent_begins_with_no_context_but_its_own(daemon: Daemon, name: str, wanted: dict[str, Any]) -> None:
    probe = daemon.probe()
    with pytest.raises(NotPermitted):
        probe.call(name, agent="probe", **wanted)
    daemon.client.signal(probe.pid, Signal.KILL)


def test_an_agents_token_opens_no_snapshot(daemon: Daemon) -> None:
    probe = daemon.probe()
    for call in (probe.as_agent.snapshots, lambda: probe.as_agent.snapshot("x"), lambda: probe.as_agent.save(1)):
        with pytest.raises(NotPermitted):
            call()
    daemon.client.signal(probe.pid, Signal.KILL)


def test_a_process_that_has_said_nothing_has_no_context_to_copy(daemon: Daemon) -> None:
    probe = daemon.probe()
    assert probe.call("proc.history") is None
    with pytest.raises(NoSuchSnapshot, match="no context yet"):
        probe.call("proc.fork", task="exit 0", deadline_s=100.0)
    with pytest.raises(NoSuchSnapshot, match="no context yet"):
        daemon.client.save(probe.pid)
    with pytest.raises(BadRequest, match="a child has no standard input"):
        probe.call("proc.fork", stdin=True)
    daemon.client.signal(probe.pid, Signal.KILL)
    daemon.finished(probe.pid)


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        ({"fork": 999}, NoSuchProcess, "no process 999"),
        ({"snapshot": "gone"}, NoSuchSnapshot, "no snapshot is called 'gone'"),
        ({"snapshot": "../x"}, NoSuchSnapshot, r"no snapshot is called '\.\./x'"),
        ({"snapshot": "x", "fork": 1}, BadRequest, "exclude each other"),
    ],
    ids=str,
)
def test_a_context_that_is_not_there_starts_nothing(
    daemon: Daemon, wanted: dict[str, Any], error: type[Exception], message: str
) -> None:
    before = daemon.client.procs(all=True)
    with pytest.raises(error, match=message):
        daemon.client.run(RunRequest("probe", "exit 0", **wanted))
    assert daemon.client.procs(all=True) == before


@pytest.mark.parametrize("id", ["999", "999-1", "12345678901234567890", "", "a/b", "..", "%2e%2e", "é", "x" * 300])
def test_an_id_of_nothing(daemon: Daemon, id: str) -> None:
    for call in (daemon.client.snapshot, lambda id: daemon.client.export_snapshot(id, print)):
        with pytest.raises((NoSuchProcess, NoSuchSnapshot)):
            call(id)
    with pytest.raises(NoSuchSnapshot):
        daemon.client.remove_snapshot(id)

"""Memory over the socket, in the name of real processes; enriched by the embedded model."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from daemons import Daemon, Probe

from aios_kernel.client.access import AccessClient
from aios_kernel.client.memory import MemoryClient
from aios_kernel.errors import BadRequest, NoSuchModel, NoSuchNote, NoSuchProcess, NotAuthenticated, NotPermitted
from aios_kernel.protocol import GrantRequest, ProcState, Signal

OTHER_MANIFEST = """
name = "other"
description = "A probe by another name."
entry = "probe:main"
reads_stdin = true
"""


@pytest.fixture(scope="module")
def memory(daemon: Daemon) -> MemoryClient:
    return MemoryClient(daemon.client)


@pytest.fixture(scope="module")
def probe(daemon: Daemon) -> Probe:
    return daemon.probe()


@pytest.fixture(scope="module")
def other(daemon: Daemon) -> Probe:
    folder = daemon.paths.agents / "other"
    folder.mkdir()
    (folder / "agent.toml").write_text(OTHER_MANIFEST)
    (folder / "probe.py").write_text((daemon.paths.agents / "probe" / "probe.py").read_text())
    return daemon.probe(agent="other")


def test_a_note_from_its_beginning_to_its_end(daemon: Daemon, probe: Probe, memory: MemoryClient) -> None:
    note = probe.call("mem.add", content="The cellar door sticks", tags=["house"], metadata={"floor": -1})
    assert (note["owner"], note["version"], note["tags"]) == ("probe", 1, ["house"])
    id = note["id"]
    changed = probe.call("mem.update", id=id, content="The cellar door was mended")
    assert (changed["version"], changed["tags"]) == (2, ["house"])
    assert probe.call("mem.get", id=id) == changed
    assert [hit["note"]["id"] for hit in probe.call("mem.search", query="mended doors")] == [id]
    assert [note["id"] for note in probe.call("mem.list", tag="house")] == [id]
    detail = memory.note("probe", id)
    assert [version.content for version in detail.versions] == ["The cellar door sticks"]
    removing = threading.Thread(target=lambda: probe.call("mem.remove", id=id))
    removing.start()
    assert daemon.client.wait(probe.pid, state=ProcState.ASKING, timeout_s=20).reason.startswith("remove note probe/")
    AccessClient(daemon.client).answer(probe.pid, True)
    removing.join(20)
    with pytest.raises(NoSuchNote):
        probe.call("mem.get", id=id)


def test_anothers_memory_is_invisible_without_a_grant(daemon: Daemon, probe: Probe, other: Probe) -> None:
    id = probe.call("mem.add", content="The key is under the mat")["id"]
    for name, args in (
        ("mem.get", {"id": id}),
        ("mem.update", {"id": id, "content": "x"}),
        ("mem.remove", {"id": id}),
    ):
        denials = set()
        for wanted in (id, "999"):  # one that is there, and one that is not
            with pytest.raises(NotPermitted) as info:
                other.call(name, **{**args, "id": wanted}, owner="probe")
            denials.add(info.value.message.replace(wanted, "ID"))
        assert len(denials) == 1
    for name, args in (("mem.search", {"query": "key"}), ("mem.list", {})):
        assert other.call(name, **args) == []
        with pytest.raises(NotPermitted):
            other.call(name, **args, owner="probe")
    with pytest.raises(NoSuchNote):
        other.call("mem.get", id=id)
    access = AccessClient(daemon.client)
    granted = access.grant(GrantRequest("other", "memory:read", id, "probe"))
    assert other.call("mem.get", id=id, owner="probe")["content"] == "The key is under the mat"
    with pytest.raises(NotPermitted):
        other.call("mem.update", id=id, owner="probe", content="x")
    access.revoke(granted.id)
    with pytest.raises(NotPermitted):
        other.call("mem.get", id=id, owner="probe")


def test_a_log_lives_with_its_process(daemon: Daemon, memory: MemoryClient, other: Probe) -> None:
    probe = daemon.probe()
    probe.call("tool.call", name="calculator", arguments={"expression": "6*7"})
    with pytest.raises(Exception, match="division"):
        probe.call("tool.call", name="calculator", arguments={"expression": "1/0"})
    good, bad = probe.call("mem.log")
    assert (good["asked"]["arguments"], good["answered"], good["error"]) == ({"expression": "6*7"}, "42", "")
    assert (bad["answered"], bad["error"][:6]) == (None, "ETOOL:")
    assert probe.call("mem.log", last=1) == [bad]
    assert [row.seq for row in memory.log(probe.pid)] == [0, 1]
    with pytest.raises(NotPermitted):
        other.call("mem.log", pid=probe.pid)
    before = memory.status().interactions
    daemon.client.signal(probe.pid, Signal.KILL)
    daemon.finished(probe.pid)
    assert memory.status().interactions == before - 2
    with pytest.raises(NoSuchProcess):
        memory.log(probe.pid)


def test_hostile_notes_are_errors_for_their_caller_alone(probe: Probe, other: Probe) -> None:
    for args in (
        {"content": ""},
        {"content": "x" * 70_000},
        {"content": "x", "metadata": {"a": "b" * 10_000}},
        {"content": "x", "tags": ["t"] * 100},
        {"content": "x", "tags": "t"},
    ):
        with pytest.raises(BadRequest):
            probe.call("mem.add", **args)
    for query in ('"', "* AND", "NEAR("):
        other.call("mem.search", query=query)
    with pytest.raises(BadRequest, match="query: 5000 characters"):
        other.call("mem.search", query="x" * 5_000)
    assert other.call("mem.add", content="'; DROP TABLE notes; --")["content"].startswith("'")


def test_without_an_embedding_model(probe: Probe, memory: MemoryClient) -> None:
    with pytest.raises(NoSuchModel, match=r"\[memory\] embedding"):
        probe.call("llm.embed", texts=["x"])
    with pytest.raises(NoSuchModel):
        memory.index()
    assert memory.status().embedding_state == "none"


def test_strangers_and_agents_have_no_routes(daemon: Daemon, probe: Probe) -> None:
    with pytest.raises(NotPermitted):
        MemoryClient(probe.as_agent).notes()
    with pytest.raises(NotAuthenticated):
        MemoryClient(type(daemon.client)(daemon.client.socket_path, "forged")).notes()


@pytest.mark.model
def test_the_model_files_a_note(daemon: Daemon, probe: Probe) -> None:
    first = probe.call("mem.add", content="Sourdough needs to rest overnight.", tags=["recipes"], deadline_s=60.0)
    before = daemon.client.proc(probe.pid).tokens_out
    note = probe.call("mem.add", content="Bread dough rises best in a warm kitchen.", enrich=True, deadline_s=100.0)
    assert note["enriched"]
    assert note["context"]
    assert 1 <= len(note["keywords"]) <= 5
    assert 1 <= len(note["tags"]) <= 3
    assert first["id"] not in note["links"] or "recipes" in probe.call("mem.get", id=first["id"])["tags"]
    assert daemon.client.proc(probe.pid).tokens_out > before
    (worker,) = [proc for proc in daemon.client.procs(all=True) if proc.agent == "memory"]
    assert daemon.finished(worker.pid).exit_code == 0


@pytest.mark.model
def test_all_is_there_after_a_restart_and_meaning_finds_it(daemon: Daemon, fresh: Callable[[], Daemon]) -> None:
    before = MemoryClient(daemon.client).notes("probe")
    assert before
    from aios_kernel.client import launch

    launch.stop()
    daemon.paths.config_file.write_text('[memory]\nembedding = "smollm2-135m-instruct-q4_1"\n')
    again = fresh()
    memory = MemoryClient(again.client)
    assert memory.notes("probe") == before
    assert memory.status().embedding_state == "idle"
    total = memory.status().notes
    assert memory.index() == total
    assert memory.status().notes_indexed == total
    assert memory.search("loaf of bread in the oven", k=3)[0].found_by
    vectors = again.probe().call("llm.embed", texts=["a", "b"], deadline_s=60.0)["vectors"]
    assert [len(vector) for vector in vectors] == [576, 576]

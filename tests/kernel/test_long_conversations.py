"""What a person sees and a process pays when its conversation outgrows the window, on the real model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from daemons import Daemon, Probe

from aios_kernel.client import launch, paths
from aios_kernel.errors import BadRequest, PromptTooLong
from aios_kernel.protocol import EventKind

pytestmark = pytest.mark.model

WINDOW = 256


@pytest.fixture(scope="module")
def daemon(home: Path) -> Daemon:
    where = paths()
    where.config_file.write_text(f"[model]\nwindow = {WINDOW}\nslots = 2\n[context]\noverflow = 'summarise'\n")
    return Daemon(launch.connect(lambda _: None), where)


def talk(number: int) -> list[dict[str, Any]]:
    """So many turns of some 30 tokens, and a question."""
    turns = [
        message
        for turn in range(number)
        for message in (
            {"role": "user", "content": f"Note number {turn}: the red room is free at ten, the blue one at noon."},
            {"role": "assistant", "content": "I have noted it."},
        )
    ]
    return [*turns, {"role": "user", "content": "Which room is free at noon?"}]


def told(daemon: Daemon, probe: Probe) -> list[str]:
    return [event.data for event in daemon.events(probe.pid, kinds=(EventKind.WINDOW,))]


def test_dropped_turns_are_an_event_and_a_mark(daemon: Daemon) -> None:
    probe = daemon.probe()
    assert probe.call("llm.chat", messages=talk(1), max_tokens=4)["window"] is None
    assert (daemon.client.proc(probe.pid).window, told(daemon, probe)) == ("", [])
    reply = probe.call("llm.chat", messages=talk(12), max_tokens=4, overflow="drop-oldest")
    assert reply["window"].startswith("dropped ")
    assert reply["tokens_in"] <= WINDOW
    assert told(daemon, probe) == [reply["window"]]
    assert daemon.client.proc(probe.pid).window == reply["window"]
    again = probe.call("llm.chat", messages=talk(12), max_tokens=4, overflow="drop-oldest")
    assert (again["window"], again["text"], again["tokens_in"]) == (None, reply["text"], reply["tokens_in"])
    assert daemon.client.proc(probe.pid).window == reply["window"]


def test_the_tokens_of_a_summary_are_the_processes_own(daemon: Daemon) -> None:
    probe = daemon.probe()
    reply = probe.call("llm.chat", messages=talk(12), max_tokens=4)
    assert reply["window"].startswith(("summarised ", "dropped "))
    info = daemon.client.proc(probe.pid)
    assert info.tokens_out > reply["tokens_out"]
    assert info.tokens_in > reply["tokens_in"]


def test_a_quota_leaves_no_tokens_for_a_summary(daemon: Daemon) -> None:
    probe = daemon.probe(max_tokens=8)
    reply = probe.call("llm.chat", messages=talk(12), max_tokens=8)
    assert reply["window"].endswith("has used up its 8 tokens)")
    assert daemon.client.proc(probe.pid).tokens_out <= 8


def test_errors_come_as_they_are(daemon: Daemon) -> None:
    probe = daemon.probe()
    with pytest.raises(PromptTooLong) as caught:
        probe.call("llm.chat", messages=talk(12), overflow="refuse")
    assert caught.value.data["window"] == WINDOW
    with pytest.raises(BadRequest, match="drop-oldest, summarise, refuse"):
        probe.call("llm.chat", messages=talk(1), overflow="never")
    assert daemon.client.proc(probe.pid).window == ""

"""Generations of real agents on the real model, as the daemon manages them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from daemons import Daemon, Probe

from aios_kernel.client import is_error
from aios_kernel.errors import InvalidState, LimitHit
from aios_kernel.protocol import ProcState, Signal, SyscallRequest, Tier

pytestmark = pytest.mark.model

STORY = [{"role": "user", "content": "Tell me about the sea."}]


def chat(probe: Probe, max_tokens: int) -> Iterator[tuple[str, Any]]:
    """The events of one streamed chat."""
    args = {"messages": STORY, "max_tokens": max_tokens}
    stream = probe.as_agent.stream("POST", "/syscall", body=SyscallRequest("llm.chat", args, stream=True))
    try:
        yield from stream
    finally:
        stream.close()


def rest(stream: Iterator[tuple[str, Any]]) -> tuple[str, dict[str, Any]]:
    """The deltas that are still to come as one text, and the reply."""
    text = ""
    for kind, data in stream:
        if kind == "result":
            return text, data["result"]
        assert kind == "delta", is_error(data)
        text += data["text"]
    raise AssertionError("the stream ended without a result")


def first(stream: Iterator[tuple[str, Any]]) -> str:
    kind, data = next(stream)
    assert kind == "delta"
    return str(data["text"])


def test_deltas_make_up_the_reply_and_tokens_are_counted(daemon: Daemon) -> None:
    probe = daemon.probe()
    text, reply = rest(chat(probe, 12))
    assert text == reply["text"]
    info = daemon.client.proc(probe.pid)
    assert reply["tokens_out"] == info.tokens_out == 12
    assert reply["tokens_in"] == info.tokens_in
    assert info.ctx_used >= info.tokens_in
    daemon.client.signal(probe.pid, Signal.KILL)
    assert daemon.finished(probe.pid).tokens_out == 12


def test_a_generation_suspended_in_the_middle_says_the_same(daemon: Daemon) -> None:
    alone = rest(chat(daemon.probe(), 40))[0]
    probe = daemon.probe()
    stream = chat(probe, 40)
    text = first(stream)
    stopped = daemon.client.signal(probe.pid, Signal.STOP)
    assert ProcState.SUSPENDED is stopped.state
    assert Tier.RAM is stopped.tier
    assert stopped.slot is None
    assert stopped.kv_bytes > 0
    with pytest.raises(InvalidState, match="under way"):
        daemon.client.use_model(daemon.client.status().model)
    resumed = daemon.client.signal(probe.pid, Signal.CONT)
    assert resumed.state in (ProcState.READY, ProcState.RUNNING)
    assert alone == text + rest(stream)[0]


def test_a_process_killed_in_the_middle_frees_its_slot(daemon: Daemon) -> None:
    probe = daemon.probe()
    stream = chat(probe, 500)
    first(stream)
    daemon.client.signal(probe.pid, Signal.KILL)
    assert daemon.finished(probe.pid).exit_code == 137
    assert is_error([data for _, data in stream][-1]) is not None
    assert probe.pid not in [entry.pid for entry in daemon.client.queue()]


def test_the_token_quota_is_kept(daemon: Daemon) -> None:
    probe = daemon.probe(max_tokens=10)
    assert rest(chat(probe, 6))[1]["tokens_out"] == 6
    assert rest(chat(probe, 6))[1]["tokens_out"] == 4
    with pytest.raises(LimitHit, match="has used up its 10 tokens"):
        probe.call("llm.chat", messages=STORY)


def test_the_policy_can_be_changed_while_running(daemon: Daemon) -> None:
    before = daemon.client.sched()
    other = next(name for name in before.policies if name != before.policy)
    assert other == daemon.client.set_sched(other).policy
    assert other == daemon.client.status().policy
    daemon.client.set_sched(before.policy)


def test_a_model_is_changed_when_nothing_runs(daemon: Daemon) -> None:
    ref = daemon.client.status().model
    model = daemon.client.use_model(ref)
    assert (ref, True) == (model.ref, model.current)
    assert daemon.client.status().model_state == "ready"
    assert rest(chat(daemon.probe(), 3))[1]["tokens_out"] == 3


def test_tokens_are_counted_as_they_come_and_when_it_is_killed(daemon: Daemon) -> None:
    probe = daemon.probe()
    stream = chat(probe, 500)
    first(stream)
    seen = daemon.client.proc(probe.pid).tokens_out
    assert seen > 0
    daemon.client.signal(probe.pid, Signal.KILL)
    ended = daemon.finished(probe.pid)
    assert ended.tokens_out >= seen
    assert ended.tokens_in > 0
    list(stream)

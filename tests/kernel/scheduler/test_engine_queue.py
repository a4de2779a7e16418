"""The queue as the engine's face tells it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from test_engine import DEADLINE_S, Driver

from aios_kernel.clock import SystemClock
from aios_kernel.core import EngineConfig
from aios_kernel.protocol import Pid
from aios_kernel.scheduler.engine import Engine
from aios_kernel.scheduler.pace import Pace
from aios_kernel.scheduler.policies import POLICIES
from aios_kernel.scheduler.request import Phase
from aios_kernel.testing import END, ScriptedCore


class Talk:
    """A script that goes on until it is told to end, however fast the machine and late the test."""

    def __init__(self) -> None:
        self.over = False

    def __call__(self, _: tuple[int, ...]) -> int:
        return END if self.over else ord("a")


@pytest.fixture
def talk() -> Talk:
    return Talk()


@pytest.fixture
def one_slot(talk: Talk) -> Iterator[Driver]:
    config = EngineConfig(slots=1, window=8192, threads=1, policy="fifo")
    driver = Driver(lambda: ScriptedCore(talk, config=config), config)
    driver.engine.ready.result(DEADLINE_S)
    yield driver
    driver.engine.close(DEADLINE_S)


def test_what_the_queue_tells_is_compared_with_what_comes(one_slot: Driver, talk: Talk) -> None:
    engine = one_slot.engine
    jobs = [one_slot.submit(pid, "hello", max_tokens=8_000) for pid in (1, 2)]
    one_slot.some_text(jobs[0], 3)
    engine.set_policy("fifo").result(DEADLINE_S)  # a view of this moment is out
    told = {row.pid: (row.queue, row.reason, row.eta_ms) for row in engine.queue()}
    assert told[1] == ("running", "decoding", 0.0)
    assert told[2][:2] == ("ready", "behind 1")
    assert told[2][2] is not None
    assert (engine.usage(Pid(2)).phase, engine.behind(Pid(2)), engine.behind(Pid(1))) == (Phase.READY, "behind 1", None)
    assert engine.stats().eta_error is None
    talk.over = True
    for job in jobs:
        one_slot.result(job)
    engine.set_policy("fifo").result(DEADLINE_S)
    assert engine.stats().eta_error is not None
    assert engine.queue() == []


def test_however_much_a_view_costs_it_shows_what_was_done_and_how_things_came_to_rest(
    one_slot: Driver, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = one_slot.engine
    jobs = [one_slot.submit(pid, "hello", max_tokens=8_000) for pid in (1, 2)]
    one_slot.some_text(jobs[0], 3)
    assert len(engine.queue()) == 2
    monkeypatch.setattr(Pace, "due", lambda *_: False)
    engine.set_policy("rr", 50).result(DEADLINE_S)
    assert (engine.sched().policy, engine.sched().quantum) == ("rr", 50)
    engine.suspend(Pid(2)).result(DEADLINE_S)
    assert engine.usage(Pid(2)).phase is Phase.SUSPENDED
    engine.resume(Pid(2)).result(DEADLINE_S)
    assert engine.usage(Pid(2)).phase is not Phase.SUSPENDED
    talk.over = True
    for job in jobs:
        one_slot.result(job)
    assert [engine.usage(Pid(pid)).phase for pid in (1, 2)] == [Phase.IDLE, Phase.IDLE]
    assert engine.queue() == []


def test_before_the_model_is_loaded_nobody_is_in_the_queue() -> None:
    engine = Engine(ScriptedCore, EngineConfig(policy="fair"), clock=SystemClock(), deliver=lambda events: None)
    assert engine.queue() == []
    assert (engine.sched().policy, engine.sched().policies) == ("fair", tuple(sorted(POLICIES)))

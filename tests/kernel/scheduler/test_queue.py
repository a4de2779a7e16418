"""Who runs, who waits, behind whom: policies in the step loop, and what `aios queue` shows of them."""

from __future__ import annotations

from loop_bench import WINDOW, Bench, alone

from aios_kernel.core import EngineConfig
from aios_kernel.protocol import Pid, QueueEntry
from aios_kernel.scheduler.policies import POLICIES
from aios_kernel.scheduler.view import queue_of, view_of
from aios_kernel.testing import FakeClock, ScriptedCore


def rows(bench: Bench) -> tuple[QueueEntry, ...]:
    return queue_of(view_of(bench.loop).outlook)


def running(bench: Bench) -> set[int]:
    return {row.pid for row in rows(bench) if row.queue == "running"}


def waiting(bench: Bench) -> list[int]:
    return [row.pid for row in rows(bench) if row.queue == "ready"]


def test_the_queue_says_who_waits_for_whom() -> None:
    bench = Bench(slots=1)
    for pid in (1, 2, 3, 4):
        bench.submit(pid, max_tokens=50)
    bench.loop.suspend(Pid(4))
    bench.step(2)
    assert [(row.pid, row.queue, row.position, row.behind) for row in rows(bench)] == [
        (1, "running", 1, ()),
        (2, "ready", 1, (1,)),
        (3, "ready", 2, (1, 2)),
        (4, "suspended", 1, ()),
    ]
    assert [row.reason for row in rows(bench)] == ["decoding", "behind 1", "behind 1 and 2", "suspended"]


def test_a_prompt_that_is_fed_shows_how_far_it_is() -> None:
    bench = Bench()
    bench.submit(1, "x" * 80)
    bench.step(1)
    assert [row.reason for row in rows(bench)] == ["prefilling 32/80"]


def test_a_wait_is_told_and_compared_with_what_came() -> None:
    clock = FakeClock()
    core = ScriptedCore(config=EngineConfig(slots=1, window=WINDOW), on_call=lambda *_: clock.advance(0.25))
    bench = Bench(core, slots=1, policy="fifo", clock=clock)
    for pid in (1, 2, 3):
        bench.submit(pid, max_tokens=20)
    bench.step(2)
    view = view_of(bench.loop)
    told = {
        Pid(row.pid): row.eta_ms for row in queue_of(view.outlook) if row.eta_ms is not None and row.queue == "ready"
    }
    assert view.stats.eta_error is None
    bench.loop.expect(view.at, told)
    bench.loop.expect(view.at, dict.fromkeys(told, 1e9))  # the first forecast of a wait counts
    bench.finish()
    assert list(told) == [2, 3]
    assert len(bench.loop.eta_errors) == 2
    assert max(bench.loop.eta_errors) < 0.1


def test_a_forecast_of_an_earlier_wait_is_not_taken_for_this_one() -> None:
    bench = Bench(slots=1)
    for pid in (1, 2):
        bench.submit(pid, max_tokens=30)
    bench.step(2)
    view = view_of(bench.loop)
    bench.step(3)
    assert running(bench) == {2}, "the wait that the view saw is over"
    bench.loop.expect(view.at, {Pid(1): 0.0, Pid(2): 0.0})
    bench.finish()
    assert not bench.loop.eta_errors


def test_a_change_of_policy_loses_nothing() -> None:
    bench = Bench()
    jobs = [bench.submit(pid, "x" * pid, max_tokens=15, nice=pid) for pid in range(1, 6)]
    for name in (*POLICIES, *reversed(POLICIES)):
        bench.step(3)
        bench.loop.set_policy(name, 3)
    bench.finish()
    assert [alone("x" * pid, 15).text for pid in range(1, 6)] == [bench.text(job) for job in jobs]


def test_a_nice_value_counts_from_the_next_step() -> None:
    bench = Bench(policy="priority")
    for pid in (1, 2, 3, 4):
        bench.submit(pid, max_tokens=50)
    bench.step(2)
    assert (running(bench), waiting(bench)) == ({1, 2}, [3, 4])
    bench.loop.renice(Pid(4), -10)
    assert waiting(bench) == [4, 3]
    bench.step()
    assert 4 in running(bench)


def test_a_nice_value_that_was_changed_before_the_first_generation_came_is_kept() -> None:
    """It was asked for with the old one, while the model was loading."""
    bench = Bench()
    bench.loop.renice(Pid(1), 10)
    bench.submit(1, nice=0)
    bench.submit(2, nice=5)
    assert [entry.nice for entry in bench.loop.queue()] == [10, 5]
    bench.loop.renice(Pid(2), 7)
    bench.finish()
    bench.submit(2, nice=5)
    assert [entry.nice for entry in bench.loop.queue()] == [7]


def test_a_program_is_known_by_all_its_calls_and_children() -> None:
    bench = Bench(slots=1, policy="plas")
    for _ in range(3):
        bench.submit(1, max_tokens=5)
        bench.finish()
    child = bench.submit(2, max_tokens=3, program=Pid(1))
    stranger = bench.submit(3, max_tokens=3)
    assert waiting(bench) == [3, 2]
    bench.finish()
    assert [event.job for event in bench.events if event.done][-2:] == [stranger, child]


def test_one_that_had_less_is_next_though_it_came_later() -> None:
    bench = Bench(slots=1, policy="fair")
    bench.submit(1, max_tokens=50)
    bench.submit(2, max_tokens=4)
    bench.step(12)
    assert bench.loop.ledger.counter(Pid(1)) > 0
    for pid in (3, 4):
        bench.submit(pid, max_tokens=50)
    bench.loop.renice(Pid(3), 19)
    bench.step(40)
    service = {pid: bench.loop.ledger.attained(Pid(pid)) for pid in (1, 3, 4)}
    assert service[3] < service[4]
    assert waiting(bench) == sorted(waiting(bench), key=lambda pid: bench.loop.ledger.counter(Pid(pid)))

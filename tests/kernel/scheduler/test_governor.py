from __future__ import annotations

from collections.abc import Iterable

from aios_kernel.scheduler.governor import SAMPLE_S, CpuTimes, Governor, read_cpu_times

TICK_S = 0.25  # a float without rounding, longer than a sample
assert TICK_S > SAMPLE_S


def threads_with(cores: int, others: Iterable[float]) -> list[int]:
    """Threads after each sample in which other processes kept so many cores busy; this one uses a core."""
    machine = own = now = 0.0
    governor = Governor(cores, lambda: CpuTimes(machine, own))
    governor.update(now)
    chosen = []
    for busy in others:
        now += TICK_S
        own += TICK_S
        machine += TICK_S * (1 + busy)
        chosen.append(governor.update(now))
    return chosen


def test_alone_it_uses_every_core() -> None:
    assert threads_with(2, [0.0, 0.1, 0.2]) == [2, 2, 2]


def test_a_neighbour_that_stays_busy_takes_a_core() -> None:
    assert threads_with(2, [0.0, 0.67, 1.0]) == [2, 2, 1]


def test_one_long_busy_sample_is_enough() -> None:
    governor = Governor(2, iter([CpuTimes(0, 0), CpuTimes(2, 1)]).__next__)
    assert [governor.update(0.0), governor.update(1.0)] == [2, 1]


def test_a_burst_takes_none() -> None:
    assert threads_with(2, [1.0, 0.1, 1.0, 0.1]) == [2, 2, 2, 2]


def test_a_core_comes_back_after_some_quiet() -> None:
    assert threads_with(2, [1.0, 1.0, 0.1, 0.1]) == [2, 1, 1, 2]


def test_a_core_that_came_back_too_soon_is_given_up_at_once() -> None:
    assert threads_with(2, [1.0, 1.0, 0.1, 0.1, 1.0]) == [2, 1, 1, 2, 1]


def test_a_neighbour_between_the_thresholds_changes_nothing() -> None:
    assert threads_with(2, [0.4, 0.9, 0.9, 0.4, 0.1, 0.4]) == [2, 2, 1, 1, 1, 1]


def test_after_takes_that_did_not_last_it_waits_longer() -> None:
    bursts = [1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, *[0.0] * 8]
    assert threads_with(2, bursts) == [2, 1, 1, 2, 1, 1, 1, 1, 2, 1, *[1] * 7, 2]


def test_one_thread_is_always_left() -> None:
    assert threads_with(2, [5.0, 5.0]) == [2, 1]


def test_many_cores_lose_as_many_as_are_busy() -> None:
    assert threads_with(8, [3.0, 3.0, 0.0, 0.0]) == [8, 5, 5, 8]


def test_nothing_is_read_between_samples() -> None:
    reads = []

    def read() -> CpuTimes:
        reads.append(None)
        return CpuTimes(0.0, 0.0)

    governor = Governor(2, read)
    for step in range(10):
        governor.update(step * SAMPLE_S / 100)
    assert len(reads) == 1


def test_the_machine_can_be_read() -> None:
    times = read_cpu_times()
    assert times.machine_s > 0
    assert times.own_s > 0

"""The step loop by hand: generations, turns, suspensions, what is fed and what is told."""

from __future__ import annotations

from itertools import pairwise

from loop_bench import WINDOW, Bench, alone

from aios_kernel.core import EngineConfig
from aios_kernel.protocol import Pid, Tier
from aios_kernel.scheduler.request import Phase
from aios_kernel.scheduler.view import queue_of, view_of
from aios_kernel.testing import ScriptedCore, reply


def test_a_scripted_reply_arrives_whole() -> None:
    bench = Bench(ScriptedCore(reply("hello"), EngineConfig(slots=2, window=WINDOW)))
    job = bench.submit(1)
    bench.finish()
    result = bench.result(job)
    assert (bench.text(job), result.text, result.finish_reason, len(result.tokens)) == ("hello", "hello", "stop", 5)


def test_many_over_few_slots_get_what_they_get_alone() -> None:
    bench = Bench()
    prompts = {pid: "x" * (3 + 7 * pid) for pid in range(1, 9)}
    jobs = {pid: bench.submit(pid, prompt, max_tokens=20, logits_hash=True) for pid, prompt in prompts.items()}
    bench.finish()
    for pid, job in jobs.items():
        expected, result = alone(prompts[pid], 20), bench.result(job)
        assert (expected.text, expected.logits_hash) == (result.text, result.logits_hash)
        assert expected.text == bench.text(job)


def test_decoding_ones_share_a_call() -> None:
    bench = Bench()
    bench.submit(1, max_tokens=9)
    bench.submit(2, max_tokens=9)
    bench.finish()
    assert (0, 1) in bench.core.calls


def test_a_long_prompt_never_holds_others_up_for_more_than_a_chunk() -> None:
    bench = Bench()
    bench.submit(1, max_tokens=20)
    bench.step(2)
    bench.submit(2, "x" * 80, max_tokens=1)
    before = len(bench.core.calls)
    bench.step(5)
    assert bench.core.calls[before : before + 8] == [(1,), (0,)] * 4


def test_a_turn_reuses_what_is_computed() -> None:
    bench = Bench()
    first = bench.submit(1, "x" * 20, max_tokens=5)
    bench.finish()
    second = bench.submit(1, "x" * 20 + bench.text(first) + "y" * 10, max_tokens=5)
    bench.finish()
    assert (bench.result(second).tokens_in, bench.result(second).tokens_cached) == (35, 24)
    assert alone("x" * 20 + bench.text(first) + "y" * 10, 5).text == bench.text(second)


def test_generations_of_one_process_run_one_after_the_other() -> None:
    bench = Bench()
    jobs = [bench.submit(1, "x" * n, max_tokens=5) for n in (3, 30)]
    bench.finish()
    assert [alone("xxx", 5).text, alone("x" * 30, 5).text] == [bench.text(job) for job in jobs]


def test_suspend_stops_at_once_and_resume_goes_on() -> None:
    bench = Bench()
    job = bench.submit(1, max_tokens=20)
    bench.step(5)
    info = bench.loop.suspend(Pid(1))
    assert info is not None
    assert (info.pid, info.tier, info.tokens) == (1, Tier.RAM, 8)
    bench.collect()
    before = bench.text(job)
    bench.step(5)
    assert before == bench.text(job)
    assert [(entry.pid, entry.queue) for entry in queue_of(view_of(bench.loop).outlook)] == [(1, "suspended")]
    bench.loop.resume(Pid(1))
    bench.finish()
    assert alone("go\n", 20).text == bench.text(job)


def test_a_suspended_process_does_not_wait_for_a_slot() -> None:
    bench = Bench()
    job = bench.submit(1, max_tokens=2)
    bench.loop.suspend(Pid(1))
    bench.clock.advance(60)
    bench.loop.resume(Pid(1))
    bench.finish()
    assert bench.result(job).wait_ms < 1000


def test_a_cancelled_generation_keeps_what_it_said() -> None:
    bench = Bench()
    job = bench.submit(1, max_tokens=50)
    bench.step(6)
    bench.loop.cancel(job)
    bench.collect()
    result = bench.result(job)
    assert ("cancelled", bench.text(job), True) == (result.finish_reason, result.text, len(result.text) > 0)
    assert Phase.IDLE is view_of(bench.loop).usage[Pid(1)].phase
    bench.loop.check_invariants()


def test_the_window_ends_a_generation() -> None:
    bench = Bench()
    job = bench.submit(1, "x" * (WINDOW - 10), max_tokens=500)
    bench.finish()
    result = bench.result(job)
    assert (result.finish_reason, len(result.tokens)) == ("length", 11)


def test_events_count_every_token_of_an_ended_generation_and_of_a_cancelled_one() -> None:
    bench = Bench()
    whole, cancelled = bench.submit(1, max_tokens=9), bench.submit(2, max_tokens=50, stop=("zzz",))
    bench.step(12)
    bench.loop.cancel(cancelled)
    bench.collect()
    for job in (whole, cancelled):
        told = sum(event.tokens for event in bench.events if event.job == job)
        assert len(bench.result(job).tokens) == told > 0


def test_an_idle_process_has_no_rate() -> None:
    bench = Bench()
    bench.submit(1, max_tokens=9)
    bench.step(5)
    assert view_of(bench.loop).usage[Pid(1)].tok_per_s > 0
    bench.finish()
    assert view_of(bench.loop).stats.tok_per_s == 0


def test_a_context_suspended_in_the_middle_of_its_prompt_shows_the_bytes_it_has() -> None:
    bench = Bench()
    bench.submit(1, "x" * 80)
    bench.step(1)
    bench.loop.suspend(Pid(1))
    usage = view_of(bench.loop).usage[Pid(1)]
    assert (usage.tier, usage.kv_bytes) == (Tier.RAM, 32 * 4)


def pieces_of_the_next_turn(ram_bytes: int) -> list[tuple[int, ...]]:
    """How the second turn is fed, after a generation that was cancelled while another process had the slot."""
    bench = Bench(slots=1, ram_bytes=ram_bytes)
    first = bench.submit(1, "x" * 20, max_tokens=5)
    bench.finish()
    said = "x" * 20 + bench.text(first)
    bench.submit(2, "z" * 9, max_tokens=5)
    bench.finish()  # the first one's context is in RAM, or lost
    waits = bench.submit(1, said + "more")
    bench.loop.cancel(waits)
    bench.submit(1, said + "y" * 10, max_tokens=5)
    log = bench.loop.lines[Pid(1)].context.log
    ends = [0, *log._ends]
    return [tuple(log.tokens[start:end]) for start, end in pairwise(ends)]


def test_a_lost_snapshot_changes_nothing_in_how_a_turn_is_fed() -> None:
    assert pieces_of_the_next_turn(1 << 20) == pieces_of_the_next_turn(0)

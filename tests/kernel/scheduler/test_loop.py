"""The step loop by hand: no thread, a scripted core, a clock that stands still."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aios_kernel.core import CoreError, DecodeAborted, DecodeFailed, EngineConfig, NoKvSlot, RestoreFailed
from aios_kernel.errors import BadRequest, InternalError, ModelFailed
from aios_kernel.protocol import Pid, Tier
from aios_kernel.scheduler.governor import CpuTimes, Governor
from aios_kernel.scheduler.job import Job
from aios_kernel.scheduler.loop import StepLoop
from aios_kernel.scheduler.policies import POLICIES
from aios_kernel.scheduler.request import GenEvent, GenRequest, GenResult, JobId, Phase
from aios_kernel.scheduler.view import view_of
from aios_kernel.testing import FakeClock, ScriptedCore, babble, reply

WINDOW = 96


class Bench:
    """A step loop over a scripted core, and what came out of it."""

    def __init__(
        self, core: ScriptedCore | None = None, *, slots: int = 2, ram_bytes: int = 1 << 20, policy: str = "rr"
    ) -> None:
        config = EngineConfig(slots=slots, window=WINDOW, quantum=4, chunk=16, ram_bytes=ram_bytes, policy=policy)
        self.core = core or ScriptedCore(config=config)
        self.clock = FakeClock()
        self.loop = StepLoop(self.core, config, Governor(1, lambda: CpuTimes(0, 0)), self.clock)
        self.events: list[GenEvent] = []
        self.submitted = 0

    def submit(self, pid: int, prompt: str = "go\n", **options: object) -> JobId:
        self.submitted += 1
        request = GenRequest(Pid(pid), tuple(prompt.encode()), **options)  # type: ignore[arg-type]
        self.loop.submit(Job(JobId(self.submitted), request, self.clock.monotonic()))
        return JobId(self.submitted)

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            if self.loop.runnable():
                self.loop.step()
                self.loop.check_invariants()
                self.collect()
                self.clock.advance(0.01)

    def finish(self) -> None:
        self.step(2000)
        assert not self.loop.runnable()

    def collect(self) -> None:
        self.events += self.loop.events
        self.loop.events = []

    def text(self, job: JobId) -> str:
        return "".join(event.text for event in self.events if event.job == job)

    def result(self, job: JobId) -> GenResult:
        return next(event.done for event in self.events if event.job == job and event.done)

    def error(self, job: JobId) -> Exception:
        return next(event.error for event in self.events if event.job == job and event.error)


def alone(prompt: str, max_tokens: int) -> GenResult:
    bench = Bench()
    job = bench.submit(1, prompt, max_tokens=max_tokens, logits_hash=True)
    bench.finish()
    return bench.result(job)


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
    assert [(entry.pid, entry.queue) for entry in view_of(bench.loop).queue] == [(1, "suspended")]
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


def test_a_grammar_that_does_not_compile_fails_its_own_generation() -> None:
    bench = Bench()
    bad, good = bench.submit(1, grammar="nonsense"), bench.submit(1, max_tokens=3)
    bench.finish()
    assert isinstance(bench.error(bad), BadRequest)
    assert alone("go\n", 3).text == bench.text(good)


@pytest.mark.parametrize("failure", [NoKvSlot("full"), DecodeAborted("aborted"), DecodeFailed("broken")])
def test_one_failed_batch_costs_nobody_anything(failure: CoreError) -> None:
    bench = Bench()
    jobs = [bench.submit(pid, "x" * pid, max_tokens=12) for pid in (1, 2)]
    bench.step(4)
    bench.core.fail_next = failure
    bench.finish()
    assert [alone("x" * pid, 12).text for pid in (1, 2)] == [bench.text(job) for job in jobs]


class Poisoned(ScriptedCore):
    """Breaks whenever a certain token is fed."""

    def _feed(self, seqs, pieces, starts):  # type: ignore[no-untyped-def]
        if any(ord("!") in piece for piece in pieces):
            raise DecodeFailed("broken by a token")
        return super()._feed(seqs, pieces, starts)


def test_the_one_that_breaks_the_core_fails_alone() -> None:
    def script(history: tuple[int, ...]) -> int:
        return ord("!") if history[0] == ord("p") and len(history) > 8 else babble(history)

    bench = Bench(Poisoned(script, EngineConfig(slots=2, window=WINDOW)))
    bad, good = bench.submit(1, "poison", max_tokens=12), bench.submit(2, "fine", max_tokens=12)
    bench.finish()
    assert isinstance(bench.error(bad), ModelFailed)
    assert "process 1" in str(bench.error(bad))
    assert alone("fine", 12).text == bench.text(good)


def test_the_queue_says_who_waits_for_whom() -> None:
    bench = Bench()
    for pid in (1, 2, 3, 4):
        bench.submit(pid, max_tokens=50)
    bench.step(3)
    rows = [(row.pid, row.queue, row.position, row.behind) for row in view_of(bench.loop).queue]
    assert rows == [(1, "running", 1, ()), (2, "running", 2, ()), (3, "ready", 1, (1, 2)), (4, "ready", 2, (1, 2, 3))]
    assert [row.reason for row in view_of(bench.loop).queue[2:]] == ["behind 1 and 2", "behind 1, 2 and 3"]


def test_a_change_of_policy_loses_nothing() -> None:
    bench = Bench()
    jobs = [bench.submit(pid, "x" * pid, max_tokens=15, nice=pid) for pid in range(1, 6)]
    for name in (*POLICIES, *reversed(POLICIES)):
        bench.step(3)
        bench.loop.set_policy(name, 3)
    bench.finish()
    assert [alone("x" * pid, 15).text for pid in range(1, 6)] == [bench.text(job) for job in jobs]


def running(bench: Bench) -> set[int]:
    return {row.pid for row in view_of(bench.loop).queue if row.queue == "running"}


def waiting(bench: Bench) -> list[int]:
    return [row.pid for row in view_of(bench.loop).queue if row.queue == "ready"]


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


def test_a_time_is_only_told_where_nobody_can_overtake() -> None:
    for name in POLICIES:
        bench = Bench(slots=1, policy=name)
        bench.core.calls = Ticking(bench.clock)
        for pid in (1, 2, 3):
            bench.submit(pid, max_tokens=10)
        bench.step(2)
        etas = [row.eta_ms for row in view_of(bench.loop).queue if row.queue == "ready"]
        if name == "fifo":
            assert etas == [pytest.approx(70), pytest.approx(170)]
        elif name == "rr":
            assert etas == [pytest.approx(10), pytest.approx(50)]
        else:
            assert etas == [None, None]


class Ticking(list[tuple[int, ...]]):
    """A record of calls of which each takes 10 ms."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def append(self, call: tuple[int, ...]) -> None:
        super().append(call)
        self._clock.advance(0.01)


PIDS = st.integers(1, 5)


class Life(RuleBasedStateMachine):
    """Arrivals, steps, suspensions, failures and ends in any order: nobody's text ever differs."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(slots=2, ram_bytes=300)
        self.prompts: dict[JobId, str] = {}
        self.stopped: set[int] = set()

    @rule(pid=PIDS, length=st.integers(1, 60), max_tokens=st.integers(1, 20))
    def submit(self, pid: int, length: int, max_tokens: int) -> None:
        prompt = "p" * length
        self.prompts[self.bench.submit(pid, prompt, max_tokens=max_tokens)] = prompt

    @rule(count=st.integers(1, 12))
    def step(self, count: int) -> None:
        self.bench.step(count)

    @rule(pid=PIDS)
    def suspend(self, pid: int) -> None:
        self.bench.loop.suspend(Pid(pid))
        self.stopped.add(pid)

    @rule(pid=PIDS)
    def resume(self, pid: int) -> None:
        self.bench.loop.resume(Pid(pid))
        self.stopped.discard(pid)

    @rule(pid=PIDS)
    def release(self, pid: int) -> None:
        self.bench.loop.release(Pid(pid))
        self.stopped.discard(pid)

    @rule(which=st.integers(0, 50))
    def cancel(self, which: int) -> None:
        self.bench.loop.cancel(JobId(which))

    @rule(failure=st.sampled_from([NoKvSlot, DecodeAborted, DecodeFailed]))
    def fail(self, failure: type[CoreError]) -> None:
        self.bench.core.fail_next = failure("scripted")

    @rule(name=st.sampled_from(sorted(POLICIES)), quantum=st.integers(1, 9))
    def set_policy(self, name: str, quantum: int) -> None:
        self.bench.loop.set_policy(name, quantum)

    @invariant()
    def the_world_adds_up(self) -> None:
        self.bench.loop.check_invariants()
        view_of(self.bench.loop)

    @invariant()
    def texts_are_right(self) -> None:
        self.bench.collect()
        for event in self.bench.events:
            if event.done is not None and event.job is not None:
                expected = alone(self.prompts[event.job], len(event.done.tokens)) if event.done.tokens else None
                assert (expected.text if expected else "") == event.done.text
        self.bench.events.clear()

    def teardown(self) -> None:
        for pid in self.stopped:
            self.bench.loop.resume(Pid(pid))
        self.bench.core.fail_next = None
        self.bench.finish()
        self.texts_are_right()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


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


def test_a_sampler_that_cannot_be_made_is_an_answer() -> None:
    class Odd(ScriptedCore):
        def sampler(self, params, grammar):  # type: ignore[no-untyped-def]
            raise ValueError("odd")

    bench = Bench(Odd(config=EngineConfig(slots=2, window=WINDOW)))
    job = bench.submit(1)
    bench.collect()
    assert isinstance(bench.error(job), InternalError)


class NoCut(ScriptedCore):
    """A memory that cannot be cut, as recurrent models have."""

    def trim(self, seq: int, length: int) -> None:
        if 0 < length < len(self._seqs[seq]):
            raise RestoreFailed("cannot be cut")
        super().trim(seq, length)


def test_a_context_rebuilt_in_the_middle_of_a_step_costs_the_others_nothing() -> None:
    bench = Bench(NoCut(config=EngineConfig(slots=2, window=WINDOW)))
    first, second = bench.submit(1, "x" * 20, max_tokens=5), bench.submit(1, "x" * 16 + "y" * 9, max_tokens=5)
    other = bench.submit(2, "z" * 7, max_tokens=20)
    bench.finish()
    assert alone("x" * 20, 5).text == bench.text(first)
    assert alone("x" * 16 + "y" * 9, 5).text == bench.text(second)
    assert alone("z" * 7, 20).text == bench.text(other)


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

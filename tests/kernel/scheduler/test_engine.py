"""The engine's thread: over a scripted core, and (marked model) over the real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from aios_kernel.clock import SystemClock
from aios_kernel.core import Core, CoreLost, DecodeFailed, EngineConfig, SamplingParams
from aios_kernel.errors import BadRequest, InvalidState, KernelStopping, ModelBroken, ModelFailed, PromptTooLong
from aios_kernel.models import find
from aios_kernel.protocol import Pid, Tier
from aios_kernel.scheduler.engine import Engine
from aios_kernel.scheduler.request import GenEvent, GenRequest, GenResult, JobId, Phase
from aios_kernel.testing import ScriptedCore, reply

DEADLINE_S = 60.0


class Driver:
    """An engine, and a place where its events are awaited."""

    def __init__(self, load: Callable[[], Core], config: EngineConfig) -> None:
        self._inbox: SimpleQueue[list[GenEvent]] = SimpleQueue()
        self.engine = Engine(load, config, clock=SystemClock(), deliver=self._inbox.put)
        self.events: list[GenEvent] = []
        self.batches = 0
        self.engine.start()

    def submit(self, pid: int, text: str, **options: Any) -> JobId:
        return self.engine.submit(GenRequest(Pid(pid), tuple(self.engine.tokenize(text)), **options))

    def until(self, found: Callable[[], Any]) -> Any:
        """Take events until `found` finds something."""
        while not (result := found()):
            self.events += self._inbox.get(timeout=DEADLINE_S)
            self.batches += 1
        return result

    def result(self, job: JobId) -> GenResult:
        def ended() -> GenEvent | None:
            return next((event for event in self.events if event.job == job and (event.done or event.error)), None)

        event: GenEvent = self.until(ended)
        if event.error is not None:
            raise event.error
        assert event.done is not None
        return event.done

    def text(self, job: JobId) -> str:
        return "".join(event.text for event in self.events if event.job == job)

    def some_text(self, job: JobId, tokens: int) -> str:
        """The job's text as soon as so many deltas have come."""
        self.until(lambda: sum(bool(event.text) for event in self.events if event.job == job) >= tokens)
        return self.text(job)


@pytest.fixture
def scripted() -> Iterator[Driver]:
    config = EngineConfig(slots=2, window=8192, threads=1)
    driver = Driver(lambda: ScriptedCore(config=config), config)
    driver.engine.ready.result(DEADLINE_S)
    yield driver
    driver.engine.close(DEADLINE_S)


def test_an_idle_engine_wakes_for_a_request(scripted: Driver) -> None:
    texts = {scripted.result(scripted.submit(pid, "hello", max_tokens=5)).text for pid in (1, 2, 3)}
    assert len(texts) == 1


def test_requests_are_checked_at_the_door(scripted: Driver) -> None:
    with pytest.raises(PromptTooLong) as caught:
        scripted.submit(1, "x" * 8192)
    assert caught.value.data == {"tokens": 8192, "window": 8192}
    with pytest.raises(BadRequest):
        scripted.submit(1, "")
    with pytest.raises(BadRequest, match="max_tokens"):
        scripted.submit(1, "x", max_tokens=0)


def test_an_unknown_policy_is_refused_in_the_future(scripted: Driver) -> None:
    with pytest.raises(BadRequest, match="fifo"):
        scripted.engine.set_policy("lottery").result(DEADLINE_S)
    scripted.engine.set_policy("fifo", 7).result(DEADLINE_S)
    assert (scripted.engine.sched().policy, scripted.engine.sched().quantum) == ("fifo", 7)


def test_what_is_seen_after_a_suspend_is_the_suspend(scripted: Driver) -> None:
    job = scripted.submit(1, "hello", max_tokens=8000)
    scripted.some_text(job, 3)
    info = scripted.engine.suspend(Pid(1)).result(DEADLINE_S)
    usage = scripted.engine.usage(Pid(1))
    assert info is not None
    assert (Phase.SUSPENDED, Tier.RAM, None, info.bytes) == (usage.phase, usage.tier, usage.slot, usage.kv_bytes)
    assert [info] == scripted.engine.snapshots()
    scripted.engine.resume(Pid(1)).result(DEADLINE_S)
    scripted.some_text(job, scripted.engine.usage(Pid(1)).ctx_used)
    scripted.engine.cancel(job)
    assert scripted.result(job).finish_reason == "cancelled"


def test_release_cancels_and_forgets(scripted: Driver) -> None:
    job = scripted.submit(1, "hello", max_tokens=8000)
    scripted.some_text(job, 1)
    scripted.engine.release(Pid(1)).result(DEADLINE_S)
    assert scripted.result(job).finish_reason == "cancelled"
    assert (scripted.engine.usage(Pid(1)).phase, scripted.engine.stats().slots_used) == (Phase.IDLE, 0)


def test_closing_answers_everyone() -> None:
    config = EngineConfig(slots=2, window=8192, threads=1)
    driver = Driver(lambda: ScriptedCore(config=config), config)
    driver.engine.ready.result(DEADLINE_S)
    job = driver.submit(1, "hello", max_tokens=8000)
    driver.some_text(job, 1)
    driver.engine.close(DEADLINE_S)
    with pytest.raises(KernelStopping):
        driver.result(job)
    with pytest.raises((KernelStopping, CancelledError)):
        driver.engine.resume(Pid(1)).result(DEADLINE_S)
    with pytest.raises(KernelStopping):
        driver.submit(2, "x")


def test_a_model_that_does_not_load_answers_every_call() -> None:
    def load() -> Core:
        raise ModelBroken("broken.gguf cannot be loaded: bad magic")

    driver = Driver(load, EngineConfig())
    assert isinstance(driver.engine.ready.exception(DEADLINE_S), ModelBroken)
    with pytest.raises(ModelBroken):
        driver.engine.tokenize("x")
    with pytest.raises(ModelBroken):
        driver.engine.suspend(Pid(1)).result(DEADLINE_S)
    driver.engine.close(DEADLINE_S)


def test_before_the_model_is_loaded_there_is_no_spec() -> None:
    engine = Engine(ScriptedCore, EngineConfig(), clock=SystemClock(), deliver=lambda events: None)
    with pytest.raises(InvalidState, match="loading"):
        _ = engine.spec


def test_a_deaf_receiver_stops_nobody() -> None:
    heard: SimpleQueue[GenEvent] = SimpleQueue()

    def deliver(events: list[GenEvent]) -> None:
        for event in events:
            heard.put(event)
        raise RuntimeError("deaf")

    engine = Engine(lambda: ScriptedCore(reply("hi")), EngineConfig(), clock=SystemClock(), deliver=deliver)
    engine.start()
    engine.ready.result(DEADLINE_S)
    engine.submit(GenRequest(Pid(1), tuple(b"x\n")))
    while heard.get(timeout=DEADLINE_S).done is None:
        pass
    engine.close(DEADLINE_S)


# --- the real model -----------------------------------------------------------------------------------

# One thread: several wait for each other where other tests keep the cores busy.
REAL = EngineConfig(slots=4, window=512, quantum=8, threads=1)
NOWHERE = Path("/nonexistent")


def load_real(config: EngineConfig) -> Core:
    from aios_kernel.core.llama import LlamaCore

    return LlamaCore.load(find(NOWHERE, {}, NOWHERE)[0].path, config)


@pytest.fixture(scope="module")
def real() -> Iterator[Driver]:
    driver = Driver(lambda: load_real(REAL), REAL)
    driver.engine.ready.result(DEADLINE_S)
    yield driver
    driver.engine.close(DEADLINE_S)


def story(number: int) -> str:
    said = f"Tell me about the number {number}{', please' * (number % 4)}."
    return f"<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.model
def test_twelve_over_four_slots_equal_twelve_alone(real: Driver) -> None:
    """Greedy and sampled, texts and logits."""
    options = [
        {
            "max_tokens": 12,
            "logits_hash": True,
            "params": SamplingParams(temperature=0.9 * (pid % 2), seed=pid, repeat_penalty=1 + 0.1 * (pid % 3)),
        }
        for pid in range(12)
    ]
    alone = []
    for pid in range(12):
        alone.append(real.result(real.submit(100 + pid, story(pid), **options[pid])))
        real.engine.release(Pid(100 + pid))
    jobs = [real.submit(200 + pid, story(pid), **options[pid]) for pid in range(12)]
    together = [real.result(job) for job in jobs]
    assert [(one.text, one.logits_hash) for one in alone] == [(one.text, one.logits_hash) for one in together]
    assert real.batches < 12 * (12 + 12) * 2, "events are not coalesced"
    for pid in range(12):
        real.engine.release(Pid(200 + pid))


@pytest.mark.model
def test_three_suspensions_and_a_second_turn_change_no_bit(real: Driver) -> None:
    def turns(pid: int, suspensions: int) -> list[str | None]:
        hashes = []
        text = story(3)
        for _turn in range(2):
            job = real.submit(pid, text, max_tokens=30, logits_hash=True)
            for part in range(suspensions):
                real.some_text(job, 5 * (part + 1))
                info = real.engine.suspend(Pid(pid)).result(DEADLINE_S)
                assert info is not None
                real.engine.resume(Pid(pid)).result(DEADLINE_S)
            result = real.result(job)
            hashes.append(result.logits_hash)
            text += result.text + "<|im_end|>\n<|im_start|>user\nGo on, what else?<|im_end|>\n<|im_start|>assistant\n"
        real.engine.release(Pid(pid))
        return hashes

    assert turns(301, 0) == turns(302, 3)


@pytest.mark.model
def test_a_lost_snapshot_changes_no_bit(real: Driver) -> None:
    config = replace(REAL, slots=1, window=256, quantum=6, ram_bytes=0)
    driver = Driver(lambda: load_real(config), config)
    driver.engine.ready.result(DEADLINE_S)
    jobs = [driver.submit(pid, story(pid), max_tokens=12, logits_hash=True) for pid in (1, 2)]
    hashes = [driver.result(job).logits_hash for job in jobs]
    driver.engine.close(DEADLINE_S)
    kept = [real.result(real.submit(400 + pid, story(pid), max_tokens=12, logits_hash=True)) for pid in (1, 2)]
    assert [one.logits_hash for one in kept] == hashes


@pytest.mark.model
def test_a_suspend_is_obeyed_within_a_step(real: Driver) -> None:
    job = real.submit(500, story(5), max_tokens=300)
    real.some_text(job, 3)
    real.engine.suspend(Pid(500)).result(DEADLINE_S)
    real.engine.set_policy("rr").result(DEADLINE_S)  # all events up to the suspend are out once this is answered
    before = real.engine.usage(Pid(500)).ctx_used
    other = real.submit(501, story(1), max_tokens=10)
    real.result(other)
    assert before == real.engine.usage(Pid(500)).ctx_used
    real.engine.cancel(job)
    assert real.result(job).finish_reason == "cancelled"


@pytest.mark.model
def test_a_stop_string_ends_the_text_before_it(real: Driver) -> None:
    whole = real.result(real.submit(600, story(2), max_tokens=30)).text
    stop = whole[20:24]
    job = real.submit(601, story(2), max_tokens=30, stop=(stop,))
    result = real.result(job)
    assert (whole[: whole.index(stop)], "stop") == (result.text, result.finish_reason)
    assert result.text == real.text(job)


@pytest.mark.model
def test_a_grammar_holds_whatever_the_temperature(real: Driver) -> None:
    grammar = 'root ::= "yes" | "no" | [0-9] [0-9] " \U0001f98a"'
    for seed in range(5):
        params = SamplingParams(temperature=3.0, top_p=1.0, min_p=0.0, top_k=0, seed=seed)
        text = real.result(real.submit(700 + seed, story(1), grammar=grammar, params=params, max_tokens=20)).text
        assert text in ("yes", "no") or (text[:2].isdigit() and text[2:] == " \U0001f98a")


class Doomed(ScriptedCore):
    def rebuild(self) -> None:
        raise CoreLost("no memory for a context")


def test_an_engine_without_a_context_answers_everybody_and_ends() -> None:
    config = EngineConfig(slots=2, window=8192, threads=1)
    core = Doomed(config=config)
    driver = Driver(lambda: core, config)
    driver.engine.ready.result(DEADLINE_S)
    job = driver.submit(1, "hello", max_tokens=8000)
    driver.some_text(job, 3)
    core.fail_next = DecodeFailed("broken")
    with pytest.raises(ModelFailed, match="no memory for a context"):
        driver.result(job)
    with pytest.raises(ModelFailed, match="no memory for a context"):
        driver.engine.suspend(Pid(1)).result(DEADLINE_S)
    with pytest.raises(ModelFailed, match="no memory for a context"):
        driver.submit(2, "hello")
    assert isinstance(driver.engine.ended, ModelFailed)
    driver.engine.close(DEADLINE_S)

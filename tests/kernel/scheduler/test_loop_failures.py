"""Calls that fail, contexts that break: it costs only the generation that is to blame."""

from __future__ import annotations

import pytest
from loop_bench import WINDOW, Bench, alone

from aios_kernel.core import CoreError, DecodeAborted, DecodeFailed, EngineConfig, KvBytes, NoKvSlot, RestoreFailed
from aios_kernel.errors import BadRequest, InternalError, ModelFailed
from aios_kernel.protocol import Pid
from aios_kernel.testing import ScriptedCore, babble


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


class Fragile(ScriptedCore):
    """Refuses the first state that it is given."""

    refused = False

    def restore(self, seq: int, data: KvBytes) -> None:
        if not self.refused:
            self.refused = True
            raise RestoreFailed("no")
        super().restore(seq, data)


def test_a_prompt_that_had_to_be_fed_again_does_not_count_as_cached() -> None:
    config = EngineConfig(slots=2, window=WINDOW, quantum=4, chunk=16)
    bench = Bench(Fragile(config=config))
    shared = "a beginning that two of them share, all alike "
    first = bench.submit(1, shared + "1\n", max_tokens=1)
    bench.finish()
    bench.loop.suspend(Pid(1))
    again = bench.submit(1, shared + "1\n", max_tokens=1)
    bench.submit(2, shared + "2\n", max_tokens=1)
    bench.finish()
    bench.loop.resume(Pid(1))
    bench.finish()
    assert (bench.result(first).tokens_cached, bench.result(again).tokens_cached) == (0, 32)

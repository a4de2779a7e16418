"""On the real model: no bit depends on where a context has been, nor on who fed what it begins with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest
from test_engine import DEADLINE_S, REAL, Driver, load_real

from aios_kernel.context.file import read_image, write_image
from aios_kernel.context.image import Image
from aios_kernel.core import EngineConfig, SamplingParams
from aios_kernel.protocol import Pid, Tier
from aios_kernel.scheduler.request import GenRequest, GenResult

pytestmark = pytest.mark.model

SYSTEM = "<|im_start|>system\nYou are the keeper of a lighthouse. " + "You write the log of each day. " * 20
STORY = SYSTEM + "<|im_end|>\n<|im_start|>user\nWhat happened on {} 12?<|im_end|>\n<|im_start|>assistant\n"


CONFIG = replace(REAL, slots=2, quantum=32)


@contextmanager
def started(config: EngineConfig) -> Iterator[Driver]:
    driver = Driver(lambda: load_real(config), config)
    driver.engine.ready.result(DEADLINE_S)
    yield driver
    driver.engine.close(DEADLINE_S)


@pytest.fixture(scope="module")
def here() -> Iterator[Driver]:
    with started(CONFIG) as driver:
        yield driver


@pytest.fixture(scope="module")
def there() -> Iterator[Driver]:
    """Nothing of another's is to be had there: what it has not got it computes."""
    with started(replace(CONFIG, window=256, prefix_bytes=0)) as driver:
        yield driver


def run(driver: Driver, pid: int, text: str) -> GenResult:
    return driver.result(driver.submit(pid, text, max_tokens=12, logits_hash=True))


def test_a_prefix_of_another_changes_no_bit(here: Driver, there: Driver) -> None:
    alone = run(there, 1, STORY.format("May"))
    assert alone.tokens_cached == 0
    run(here, 2, STORY.format("June"))
    beside = run(here, 3, STORY.format("May"))
    for pid in (2, 3):
        here.engine.release(Pid(pid))
    after = run(here, 4, STORY.format("May"))
    for shared in (beside, after):
        assert shared.tokens_cached >= 128
        assert (alone.text, alone.logits_hash) == (shared.text, shared.logits_hash)


def test_many_that_begin_alike_at_once_are_fed_once() -> None:
    with started(replace(CONFIG, slots=4)) as driver:
        jobs = [driver.submit(pid, STORY.format(f"May {pid},"), max_tokens=4) for pid in range(6)]
        cached = sorted(driver.result(job).tokens_cached for job in jobs)
    assert cached[0] == 0
    assert all(tokens >= 128 for tokens in cached[1:])


def test_a_context_that_was_on_disk_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    with started(replace(CONFIG, ram_bytes=0, swap=tmp_path)) as driver:
        text = STORY.format("July")
        undisturbed = driver.result(driver.submit(1, text, max_tokens=30, logits_hash=True))
        job = driver.submit(2, text, max_tokens=30, logits_hash=True)
        driver.some_text(job, 5)
        driver.engine.suspend(Pid(2)).result(DEADLINE_S)
        deadline = monotonic() + DEADLINE_S
        while driver.engine.usage(Pid(2)).tier is not Tier.DISK:
            assert monotonic() < deadline
            driver.engine.renice(Pid(2), 0).result(DEADLINE_S)  # a turn of the engine
        assert list(tmp_path.glob("2-*.kv"))
        driver.engine.resume(Pid(2)).result(DEADLINE_S)
        assert undisturbed.logits_hash == driver.result(job).logits_hash


OPTIONS = {
    "greedy": (SamplingParams(), None),
    "sampled": (SamplingParams(temperature=0.9, seed=5), None),
    "penalised": (SamplingParams(temperature=0.7, seed=3, repeat_penalty=1.3), None),
    "grammar": (SamplingParams(temperature=1.2, seed=8), 'root ::= "On " [a-z ]+ "."'),
}


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("same_build", [True, False], ids=["kv", "recomputed"])
def test_a_reply_goes_on_elsewhere_as_it_would_have_here(
    here: Driver, there: Driver, tmp_path: Path, kind: str, same_build: bool
) -> None:
    params, grammar = OPTIONS[kind]
    prompt = tuple(here.engine.tokenize(STORY.format("August")))
    job = here.engine.submit(GenRequest(Pid(5), prompt, params, grammar, max_tokens=24))
    here.some_text(job, 8)
    image = here.engine.capture(Pid(5)).result(DEADLINE_S)
    whole = here.result(job).tokens
    here.engine.release(Pid(5))
    spoken = len(image.tokens) - len(prompt)
    assert 0 < spoken < 24

    path = tmp_path / "story.aios"
    write_image(path, image, model="", created_at=0.0, meta={})
    kept: Image = read_image(path)[0] if same_build else replace(read_image(path)[0], build_key="another")
    assert same_build == there.engine.plant(Pid(7), kept).result(DEADLINE_S)
    request = GenRequest(Pid(7), image.tokens, params, grammar, accepted=spoken, max_tokens=24 - spoken)
    rest = there.result(there.engine.submit(request))
    there.engine.release(Pid(7))
    assert whole == (*image.tokens[len(prompt) :], *rest.tokens)
    assert (rest.tokens_cached > len(prompt)) == same_build

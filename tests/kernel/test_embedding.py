"""Vectors of texts, by the embedded model."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aios_kernel.embedding import MAX_TEXTS, Embedding
from aios_kernel.errors import BadRequest, KernelStopping, ModelBroken, NoSuchModel
from aios_kernel.models import find, resolve
from aios_kernel.protocol import ModelInfo

pytestmark = [pytest.mark.anyio, pytest.mark.model]

NOWHERE = Path("/nonexistent")
REF = "smollm2-135m-instruct-q4_1"


def by_ref(ref: str) -> ModelInfo:
    return resolve(ref, find(NOWHERE, {}, NOWHERE))


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def embedding() -> AsyncIterator[Embedding]:
    embedding = Embedding(REF, by_ref, lambda: 1)
    yield embedding
    await asyncio.to_thread(embedding.close)


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


async def test_each_text_has_a_vector_of_length_one(embedding: Embedding) -> None:
    vectors = await embedding.embed(["a dog barks", "", "x" * 2_000, "naïve 日本語 \0"])
    assert [len(vector) for vector in vectors] == [576] * 4
    assert all(math.isclose(1.0, cosine(vector, vector), rel_tol=1e-5) for vector in vectors)
    assert embedding.state == "ready"


async def test_what_means_the_same_is_near(embedding: Embedding) -> None:
    cat, feline, tax = await embedding.embed(
        ["The cat sleeps on the sofa.", "A kitten naps on the couch.", "Quarterly tax filing deadlines for companies."]
    )
    assert cosine(cat, feline) > cosine(cat, tax)


async def test_a_vector_does_not_depend_on_its_company(embedding: Embedding) -> None:
    texts = [f"note number {n} says something about {n * n}" for n in range(12)]
    (together,) = await asyncio.gather(embedding.embed(texts))
    apart = await asyncio.gather(*(embedding.embed([text], by=n) for n, text in enumerate(texts)))
    assert together == [vectors[0] for vectors in apart]


async def test_a_vector_does_not_depend_on_the_number_of_threads(embedding: Embedding) -> None:
    team = Embedding(REF, by_ref, lambda: 2)
    text = "what a text means is the same on one core "
    assert await team.embed([text]) == await embedding.embed([text])
    await asyncio.to_thread(team.close)


async def test_callers_take_turns(embedding: Embedding) -> None:
    order: list[str] = []

    async def ask(name: str, texts: list[str], by: int) -> None:
        await embedding.embed(texts, by=by)
        order.append(name)

    await asyncio.gather(
        ask("flood", ["word " * 200] * 3, 1), ask("flood too", ["word " * 200] * 3, 1), ask("one", ["hello"], 2)
    )
    assert order[0] == "one"


async def test_who_goes_away_costs_no_more(embedding: Embedding) -> None:
    task = asyncio.create_task(embedding.embed(["word " * 100] * 200, by=3))
    await embedding.embed(["hello"], by=4)  # that has begun
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(20):
        await embedding.embed(["hello"], by=4)
        await embedding.embed(["hello"], by=3)


async def test_too_much_is_refused(embedding: Embedding) -> None:
    assert await embedding.embed([]) == []
    with pytest.raises(BadRequest):
        await embedding.embed(["x"] * (MAX_TEXTS + 1))
    with pytest.raises(BadRequest):
        await embedding.embed(["x" * 300_000])


async def test_without_a_model() -> None:
    none = Embedding("", by_ref, lambda: 1)
    with pytest.raises(NoSuchModel, match=r"\[memory\] embedding in config.toml"):
        await none.embed(["x"])
    assert none.state == "none"
    none.close()
    unknown = Embedding("nosuch", by_ref, lambda: 1)
    assert unknown.state == "idle"
    for _ in range(2):
        with pytest.raises(NoSuchModel, match="no model 'nosuch'"):
            await unknown.embed(["x"])
    assert unknown.state.startswith("failed: no model")
    unknown.close()


async def test_a_broken_model_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    await asyncio.to_thread(path.write_bytes, b"GGUF and nothing more")
    broken = Embedding(str(path), by_ref, lambda: 1)
    with pytest.raises(ModelBroken, match=r"broken\.gguf cannot be loaded"):
        await broken.embed(["x"])
    broken.close()


async def test_the_end_tells_those_who_wait() -> None:
    embedding = Embedding(REF, by_ref, lambda: 1)
    waiting = [asyncio.create_task(embedding.embed(["word " * 100] * 10, by=n)) for n in range(3)]
    await asyncio.sleep(0)
    await asyncio.to_thread(embedding.close)
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert [KernelStopping] * 3 == [type(error) for error in ended]
    with pytest.raises(KernelStopping):
        await embedding.embed(["x"])

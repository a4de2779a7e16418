"""What every Core must keep, tried on the scripted one and on the real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from aios_kernel.core import Core, EngineConfig, SamplingParams
from aios_kernel.errors import BadRequest, ModelBroken
from aios_kernel.models import find
from aios_kernel.testing import ScriptedCore

CONFIG = EngineConfig(slots=3, window=256)
NOWHERE = Path("/nonexistent")


def model_path() -> Path:
    """The embedded model."""
    return Path(find(NOWHERE, {}, NOWHERE)[0].path)


@pytest.fixture(scope="module", params=["scripted", pytest.param("llama", marks=pytest.mark.model)])
def core(request: pytest.FixtureRequest) -> Iterator[Core]:
    core: Core = ScriptedCore(config=CONFIG)
    if request.param == "llama":
        from aios_kernel.core.llama import LlamaCore

        core = LlamaCore.load(model_path(), CONFIG)
    yield core
    core.close()


@pytest.fixture(autouse=True)
def _empty(core: Core) -> None:
    for seq in range(core.spec.num_slots):
        core.trim(seq, 0)


def tokens_of(core: Core, text: str) -> list[int]:
    return core.tokenize(text, special=True)


def test_text_comes_back_from_its_tokens(core: Core) -> None:
    text = "Der Fuchs sprang: naïve 🦊!"
    assert text.encode() == b"".join(core.piece(token) for token in tokens_of(core, text))


def test_a_batch_gives_each_sequence_the_bits_it_has_alone(core: Core) -> None:
    prompts = [tokens_of(core, f"{name} went into the woods and met") for name in ("Ann", "Bartholomew", "Cleo")]
    alone = []
    for prompt in prompts:
        core.prefill(0, prompt, 0)
        alone.append(core.decode([0], [prompt[0]], [len(prompt)])[0].copy())
        core.trim(0, 0)
    for seq, prompt in enumerate(prompts):
        core.prefill(seq, prompt, 0)
    rows = core.decode([0, 1, 2], [prompt[0] for prompt in prompts], [len(prompt) for prompt in prompts])
    assert [row.tobytes() for row in alone] == [row.tobytes() for row in rows]


def test_a_restored_sequence_goes_on_with_the_same_bits(core: Core) -> None:
    prompt = tokens_of(core, "Once upon a time there was a robot who")
    core.prefill(0, prompt, 0)
    state = core.save(0)
    expected = core.decode([0], [prompt[0]], [len(prompt)])[0].copy()
    core.restore(2, state)
    assert expected.tobytes() == core.decode([2], [prompt[0]], [len(prompt)])[0].tobytes()


def test_a_trimmed_sequence_forgets_its_tail(core: Core) -> None:
    prompt = tokens_of(core, "Once upon a time there was a robot who")
    core.prefill(0, prompt, 0)
    first = core.decode([0], [prompt[0]], [len(prompt)])[0].copy()
    core.trim(0, len(prompt))
    assert first.tobytes() == core.decode([0], [prompt[0]], [len(prompt)])[0].tobytes()


def test_rebuild_empties_every_sequence(core: Core) -> None:
    prompt = tokens_of(core, "Once upon a time there was a robot who")
    first = core.prefill(1, prompt, 0).copy()
    core.rebuild()
    assert first.tobytes() == core.prefill(1, prompt, 0).tobytes()


def test_a_sampler_and_its_clone_choose_alike(core: Core) -> None:
    params = SamplingParams(temperature=1.5, seed=7, repeat_penalty=1.2)
    sampler = core.sampler(params, None)
    row = core.prefill(0, tokens_of(core, "The colours of the rainbow are"), 0).copy()
    for _ in range(5):
        sampler.sample(row)
    clone = sampler.clone()
    assert [sampler.sample(row) for _ in range(20)] == [clone.sample(row) for _ in range(20)]
    sampler.close()
    clone.close()


def test_a_broken_grammar_is_a_bad_request(core: Core) -> None:
    with pytest.raises(BadRequest, match="grammar"):
        core.sampler(SamplingParams(), "this is no grammar")


def test_logits_have_a_row_for_each_sequence(core: Core) -> None:
    core.prefill(0, tokens_of(core, "Ann went to the"), 0)
    core.prefill(1, tokens_of(core, "Bob went to the"), 0)
    sizes = [len(tokens_of(core, f"{name} went to the")) for name in ("Ann", "Bob")]
    rows = core.decode([0, 1], [65, 66], sizes)
    assert (rows.shape, rows.dtype) == ((2, core.spec.n_vocab), np.float32)


@pytest.mark.model
def test_a_missing_and_a_broken_model_are_one_line_each(tmp_path: Path) -> None:
    from aios_kernel.core.llama import LlamaCore

    broken = tmp_path / "broken.gguf"
    broken.write_bytes(model_path().read_bytes()[:50_000])
    for path in (tmp_path / "missing.gguf", broken):
        with pytest.raises(ModelBroken, match=path.name) as caught:
            LlamaCore.load(path, CONFIG)
        assert "\n" not in str(caught.value)


@pytest.mark.model
def test_the_default_model_is_exact_here() -> None:
    from aios_kernel.core.llama import LlamaCore

    core = LlamaCore.load(model_path(), CONFIG)
    assert core.spec.exact, core.spec.exact_reason
    core.close()


class Drifting(ScriptedCore):
    """A core whose numbers depend on the size of the batch, as flash attention's do."""

    def decode(self, seqs, tokens, positions):  # type: ignore[no-untyped-def]
        return super().decode(seqs, tokens, positions) + len(seqs) * 1e-3


def test_the_self_test_finds_a_core_that_is_not_exact() -> None:
    from aios_kernel.core.selftest import check_exactness

    assert (check_exactness(ScriptedCore(config=CONFIG))[0], True) == (True, True)
    exact, reason = check_exactness(Drifting(config=CONFIG))
    assert not exact
    assert "batch of 2" in reason

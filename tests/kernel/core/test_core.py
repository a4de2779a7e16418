"""What every Core must keep, tried on the scripted one and on the real one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aios_kernel.core import Core, CoreError, EngineConfig, KvBytes, Logits, SamplingParams
from aios_kernel.core.selftest import check_exactness
from aios_kernel.errors import BadRequest, ModelBroken
from aios_kernel.models import find
from aios_kernel.testing import ScriptedCore

# One thread: several wait for each other where other tests keep the cores busy.
CONFIG = EngineConfig(slots=3, window=256, threads=1)
NOWHERE = Path("/nonexistent")


def model_path() -> Path:
    """The embedded model."""
    return Path(find(NOWHERE, {}, NOWHERE)[0].path)


@pytest.fixture(scope="module")
def llama() -> Iterator[Core]:
    from aios_kernel.core.llama import LlamaCore

    core = LlamaCore.load(model_path(), CONFIG)
    yield core
    core.close()


@pytest.fixture(params=["scripted", pytest.param("llama", marks=pytest.mark.model)])
def core(request: pytest.FixtureRequest) -> Core:
    if request.param == "scripted":
        return ScriptedCore(config=CONFIG)
    core: Core = request.getfixturevalue("llama")
    for seq in range(core.spec.num_slots):
        core.trim(seq, 0)
    return core


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


def test_a_sampler_that_accepted_the_same_tokens_goes_on_alike(core: Core) -> None:
    params = SamplingParams(temperature=1.5, seed=7, repeat_penalty=1.2)
    first = core.sampler(params, None)
    row = core.prefill(0, tokens_of(core, "The colours of the rainbow are"), 0).copy()
    chosen = [first.sample(row, position) for position in range(6, 26)]
    other = core.sampler(params, None)
    for token in chosen[:5]:
        other.accept(token)
    assert chosen[5:] == [other.sample(row, position) for position in range(11, 26)]
    first.close()
    other.close()


@pytest.mark.model
def test_dice_follow_the_probabilities_and_the_seed(llama: Core) -> None:
    row = np.full(llama.spec.n_vocab, -30.0, dtype=np.float32)
    row[5], row[9] = np.log(0.75), np.log(0.25)
    draws = {}
    for seed in (1, 2):
        sampler = llama.sampler(SamplingParams(temperature=1.0, seed=seed), None)
        draws[seed] = [sampler.sample(row, position) for position in range(2_000)]
        sampler.close()
    assert set(draws[1]) == {5, 9}
    assert abs(draws[1].count(5) / 2_000 - 0.75) < 0.05
    assert draws[1] != draws[2]


@pytest.mark.model
def test_a_token_that_the_grammar_forbids_is_not_accepted(llama: Core) -> None:
    sampler = llama.sampler(SamplingParams(), 'root ::= "yes" | "no"')
    (maybe,) = llama.tokenize("maybe", special=False)[:1]
    with pytest.raises(CoreError, match="grammar"):
        sampler.accept(maybe)
    sampler.close()


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
def test_the_default_model_is_exact_here_with_all_cores_until_it_is_unloaded() -> None:
    from aios_kernel.core.llama import LlamaCore

    core = LlamaCore.load(model_path(), replace(CONFIG, threads=0))
    assert core.spec.exact, core.spec.exact_reason
    assert not core.spec.fixed_threads, "else the one thread of the other tests would prove less"
    core.close()
    with pytest.raises(CoreError, match="unloaded"):
        core.tokenize("hello", special=False)


class Drifting(ScriptedCore):
    """A core whose numbers change in batches of more than two, with threads, or after a restore."""

    def __init__(self, **flaws: bool) -> None:
        super().__init__(config=CONFIG)
        self.flaws = flaws
        self.restored = False

    def restore(self, seq: int, data: KvBytes) -> None:
        super().restore(seq, data)
        self.restored = True

    def decode(self, seqs: Sequence[int], tokens: Sequence[int], positions: Sequence[int]) -> Logits:
        rows = super().decode(seqs, tokens, positions)
        rows += 1e-3 * (self.flaws.get("batch", False) and len(seqs) > 2)
        rows += 1e-3 * (self.flaws.get("threads", False) and self.threads > 1)
        rows += 1e-3 * (self.flaws.get("restore", False) and self.restored)
        return rows


@pytest.mark.parametrize(
    ("flaws", "verdict"),
    [
        ({}, (True, 3, False)),
        ({"batch": True}, (True, 2, False)),
        ({"threads": True}, (True, 3, True)),
        ({"batch": True, "threads": True}, (True, 2, True)),
        ({"restore": True}, (False, 3, False)),
    ],
)
def test_the_self_test_finds_the_settings_that_are_exact(
    flaws: dict[str, bool], verdict: tuple[bool, int, bool]
) -> None:
    found = check_exactness(Drifting(**flaws), threads=2)
    assert verdict == (found.exact, found.max_batch, found.fixed_threads), found.reason
    assert ("larger batches" in found.reason) == ("batch" in flaws)


def divergence(one: Logits, other: Logits) -> float:
    """Kullback-Leibler, in nats, of what two rows of logits would draw."""
    first, second = (np.exp(np.float64(row) - np.max(row)) for row in (one, other))
    first, second = first / first.sum(), second / second.sum()
    return float(np.sum(first * np.log(first / second)))


@pytest.mark.model
def test_without_exactness_states_are_kept_all_the_same_and_never_taken_for_exact_ones(llama: Core) -> None:
    from aios_kernel.core.llama import LlamaCore

    fast = LlamaCore.load(model_path(), replace(CONFIG, exact=False))
    try:
        assert (fast.spec.exact, fast.spec.exact_reason) == (False, "exact = false in config.toml")
        assert fast.spec.build_key != llama.spec.build_key
        prompt = tokens_of(fast, "Once upon a time there was a robot who")
        fast.prefill(0, prompt, 0)
        state = fast.save(0)
        expected = fast.decode([0], [prompt[0]], [len(prompt)])[0].copy()
        fast.restore(2, state)
        again = fast.decode([2], [prompt[0]], [len(prompt)])[0]
        assert int(np.argmax(again)) == int(np.argmax(expected))
        llama.trim(0, 0)
        llama.prefill(0, prompt, 0)
        exact = llama.decode([0], [prompt[0]], [len(prompt)])[0]
        assert divergence(exact, expected) < 0.05  # as far as other chunks of a prompt get: some 0.003
    finally:
        fast.close()
        llama.trim(0, 0)

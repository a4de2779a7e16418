"""The model that says what a file tells it to: the part of it that agents' own tests do not show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis.strategies import text

from aios_kernel.core import CoreError, EngineConfig, SamplingParams
from aios_kernel.errors import ModelBroken
from aios_kernel.models import resolve
from aios_kernel.scripted import FileCore

PROMPT = "<|im_start|>user\nHow are you?<|im_end|>\n<|im_start|>assistant\n"


def core_of(path: Path, *replies: dict[str, object]) -> FileCore:
    path.write_text(json.dumps({"replies": [{"when": [], **reply} for reply in replies]}))
    return FileCore.load(path, EngineConfig(slots=2, window=4096))


def said(core: FileCore, prompt: str, given: str = "", num: int = 8) -> str:
    """What a generation of at most `num` tokens says."""
    sampler = core.sampler(SamplingParams(), None)
    tokens = [*core.tokenize(prompt, special=True), *(begun := core.tokenize(given, special=True))]
    for token in begun:
        sampler.accept(token)
    core.trim(0, 0)
    row, out = core.prefill(0, tokens, 0), b""
    for position in range(len(tokens), len(tokens) + num):
        token = sampler.sample(row, position)
        if core.is_eog(token):
            break
        out += core.piece(token)
        row = core.decode([0], [token], [position])[0]
    return out.decode()


@pytest.fixture(scope="module")
def spelling(tmp_path_factory: pytest.TempPathFactory) -> FileCore:
    return core_of(tmp_path_factory.mktemp("script") / "a.script.json")


@given(text())
def test_tokens_are_the_text(spelling: FileCore, written: str) -> None:
    tokens = spelling.tokenize(written, special=True)
    assert b"".join(map(spelling.piece, tokens)) == written.encode()


def test_replies_are_said_once_in_order_and_read_anew_with_the_file(tmp_path: Path) -> None:
    core = core_of(tmp_path / "a.script.json", {"say": "Well."}, {"say": "Fine, thanks."})
    assert [said(core, PROMPT), said(core, PROMPT)] == ["Well.", "Fine, thanks."]
    with pytest.raises(CoreError, match=r"no reply to 'How are you\?'"):
        said(core, PROMPT)
    asked = [json.loads(line) for line in (tmp_path / "a.script.asked").read_text().splitlines()]
    assert [(each["prompt"], each["reply"]) for each in asked] == [
        (PROMPT, "Well."),
        (PROMPT, "Fine, thanks."),
        (PROMPT, None),
    ]
    (tmp_path / "b").write_text(json.dumps({"replies": [{"say": "Again.", "when": []}]}))
    (tmp_path / "b").replace(tmp_path / "a.script.json")
    assert said(core, PROMPT) == "Again."


def test_the_last_text_must_be_in_the_last_message(tmp_path: Path) -> None:
    core = core_of(
        tmp_path / "a.script.json", {"say": "no", "when": ["you?", "How"]}, {"say": "yes", "when": ["How", "you?"]}
    )
    assert said(core, PROMPT) == "yes"
    later = PROMPT + "Fine.<|im_end|>\n<|im_start|>user\nGood.<|im_end|>\n<|im_start|>assistant\n"
    with pytest.raises(CoreError):
        said(core, later)


def test_a_reply_goes_on_from_what_is_given_and_a_cut_one_ends_as_max_tokens_does(tmp_path: Path) -> None:
    core = core_of(tmp_path / "a.script.json", {"say": "One, two."}, {"say": "One", "cut": True})
    assert said(core, PROMPT, given="One,") == " two."
    assert said(core, PROMPT, num=100) == "One"


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.script.json"
    for body in ("{", "[]", '{"replies": [{"when": []}]}'):
        path.write_text(body)
        with pytest.raises(ModelBroken, match=r"a\.script\.json"):
            FileCore.load(path, EngineConfig())
    assert resolve(str(path), []).ref == "a.script"

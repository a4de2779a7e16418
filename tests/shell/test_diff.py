from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis.strategies import integers, lists

from aios_kernel.errors import InvalidState
from aios_kernel.protocol import SnapshotDetail, Tier
from aios_shell.commands.diff import ISLAND, compare, differing

TOKENS = lists(integers(0, 5), max_size=40)


def snap(text: str) -> SnapshotDetail:
    """A context whose tokens are words."""
    pieces = text.split(" ")
    return SnapshotDetail(
        id="x",
        pid=1,
        tokens=len(pieces),
        bytes=0,
        tier=Tier.DISK,
        created_at=0.0,
        exact=True,
        task="",
        model="m",
        messages=[],
        unfinished=False,
        options={},
        prompt_tokens=0,
        reply_tokens=0,
        kv_bytes=0,
        build="",
        fits=True,
        token_ids=[sum(piece.encode()) for piece in pieces],
        pieces=pieces,
    )


@given(TOKENS, TOKENS)
def test_what_differs_put_in_place_makes_one_of_the_other(a: list[int], b: list[int]) -> None:
    made, position = [], 0
    for i1, i2, j1, j2 in differing(a, b):
        assert i1 < i2 or j1 < j2
        made += a[position:i1] + b[j1:j2]
        position = i2
    assert b == made + a[position:]


@given(TOKENS, TOKENS)
def test_stretches_are_in_order_and_apart(a: list[int], b: list[int]) -> None:
    stretches = differing(a, b)
    for (_, end, _, _), (start, _, _, _) in itertools.pairwise(stretches):
        assert start - end >= ISLAND


def test_the_same_has_no_stretches() -> None:
    compared = compare(snap("once upon a time"), snap("once upon a time"))
    assert (compared.shared, compared.stretches) == (4, [])


def test_a_stretch_tells_where_and_what() -> None:
    compared = compare(snap("a b c d e f g h i"), snap("a b X d Y f g h i Z"))
    told = [dataclasses.astuple(stretch) for stretch in compared.stretches]
    assert told == [(2, 3, 2, 3, "cde", "XdY"), (9, 0, 9, 1, "", "Z")]
    assert compared.shared == 2


def test_tokens_of_an_unknown_model_cannot_be_compared() -> None:
    with pytest.raises(InvalidState, match="made with m"):
        compare(snap("a b"), dataclasses.replace(snap("a b"), pieces=[]))

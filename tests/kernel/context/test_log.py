from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aios_kernel.context.log import TokenLog, cut

lengths = st.integers(0, 500)
chunks = st.integers(16, 128)
prompts = st.lists(st.integers(0, 1), min_size=1, max_size=120)


@given(length=lengths, chunk=chunks)
def test_pieces_cover_the_span_and_only_the_last_is_short(length: int, chunk: int) -> None:
    sizes = cut(length, chunk)
    assert length == sum(sizes)
    assert all(size == chunk for size in sizes[:-1])
    assert all(0 < size <= chunk for size in sizes[-1:])


def feed_all(log: TokenLog) -> list[tuple[int, ...]]:
    """Feed what is pending; the pieces as they were fed."""
    pieces = []
    while log.next_size:
        pieces.append(tuple(log.next_piece()[1]))
        log.fed += 1
    return pieces


@given(first=prompts, answer=prompts, second=prompts, chunk=st.integers(16, 40))
def test_a_lost_context_is_fed_again_in_the_very_same_pieces(
    first: list[int], answer: list[int], second: list[int], chunk: int
) -> None:
    log = TokenLog()
    log.begin(first, chunk)
    held: list[tuple[int, ...]] = feed_all(log)
    for token in answer:
        log.append(token)
        held += feed_all(log)
    kept = log.begin([*first, *answer, *second], chunk)
    assert kept == sum(len(piece) for piece in held[: log.fed])
    held = held[: log.fed] + feed_all(log)
    log.fed = 0
    assert held == feed_all(log)


@given(first=prompts, second=prompts, chunk=st.integers(16, 40))
def test_a_new_prompt_replaces_the_old_one_and_leaves_something_to_feed(
    first: list[int], second: list[int], chunk: int
) -> None:
    log = TokenLog()
    log.begin(first, chunk)
    feed_all(log)
    kept = log.begin(second, chunk)
    assert second == log.tokens
    assert first[:kept] == second[:kept]
    assert 0 <= kept < len(second)
    assert len(second) - kept == log.pending


def test_what_was_never_fed_is_forgotten() -> None:
    log = TokenLog()
    log.begin(list(range(40)), 16)
    log.fed = 1
    log.drop_pending()
    assert (list(range(16)), 0) == (log.tokens, log.pending)


@given(head=st.integers(0, 90), one=prompts, other=prompts, chunk=st.integers(16, 40))
def test_prompts_with_one_head_share_every_piece_of_it(head: int, one: list[int], other: list[int], chunk: int) -> None:
    start = [7] * head
    pieces = []
    for rest in (one, other):
        log = TokenLog()
        log.begin([*start, *rest], chunk, head)
        assert [*cut(head, chunk), *cut(len(rest), chunk)] == [end - begin for begin, end in pairwise([0, *log.ends])]
        pieces.append(list(log.grid(chunk, 0)))
    shared = [piece for piece, same in zip(*pieces, strict=False) if piece == same]
    assert head <= sum(map(len, shared))

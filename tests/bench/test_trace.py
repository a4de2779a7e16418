from __future__ import annotations

from itertools import pairwise

import pytest

from aios_shell.bench import agents, mixed, neighbours, short
from aios_shell.bench.trace import Trace, Writer

TRACES = {"short": short.trace, "mixed": mixed.trace, "agents": agents.trace, "neighbours": neighbours.trace}


@pytest.fixture(params=TRACES)
def make(request: pytest.FixtureRequest):
    return TRACES[request.param]


def texts(trace: Trace) -> list[str]:
    return [turn.text for conversation in trace.conversations for turn in conversation.turns]


def test_one_seed_writes_one_trace(make) -> None:
    assert make(Writer("a 0"), False) == make(Writer("a 0"), False)


def test_another_run_has_other_words_and_the_same_shape(make) -> None:
    first, second = make(Writer("a 0"), False), make(Writer("a 1"), False)
    changing = [text for text in texts(first) if text != "Go on with it."]
    assert not set(changing) & set(texts(second))
    assert [c.group for c in first.conversations] == [c.group for c in second.conversations]
    assert [t.max_tokens for c in first.conversations for t in c.turns] == [
        t.max_tokens for c in second.conversations for t in c.turns
    ]


def test_quick_asks_for_less(make) -> None:
    full, quick = make(Writer("a 0"), False), make(Writer("a 0"), True)
    assert sum(t.max_tokens for c in quick.conversations for t in c.turns) < sum(
        t.max_tokens for c in full.conversations for t in c.turns
    )


def test_mixed_sends_long_prompts_first_and_short_ones_while_they_are_read_in() -> None:
    trace = mixed.trace(Writer("mixed 0"), False)
    long = [c for c in trace.conversations if c.group == "long"]
    short_ones = [c for c in trace.conversations if c.group == "short"]
    assert (len(long), len(short_ones)) == (3, 16)
    assert all(2600 < len(c.turns[0].text.split()) < 2800 for c in long)
    assert all(c.arrives_s == 0 for c in long)
    assert all(0.5 <= c.arrives_s <= 20 for c in short_ones)


def test_agents_share_the_system_prompt_within_a_run_alone() -> None:
    systems = {c.system for c in agents.trace(Writer("a 0"), False).conversations}
    assert len(systems) == 1
    assert systems != {c.system for c in agents.trace(Writer("a 1"), False).conversations}
    assert agents.trace(Writer("a 0"), False).num_turns == 24 * 4


def test_arrivals_are_in_order_and_within_their_time() -> None:
    times = Writer("x").arrivals(50, 1.0, 9.0)
    assert all(earlier <= later for earlier, later in pairwise(times))
    assert times[0] >= 1.0
    assert times[-1] <= 9.0
    assert Writer("x").arrivals(1, 2.0, 2.0) == [2.0]

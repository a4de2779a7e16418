"""The client against a real server on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bench.loopback import Script, serving

from aios_shell.bench.replay import Endpoint, Reply, play
from aios_shell.bench.trace import Conversation, Trace, Turn
from aios_shell.bench.traced import summary


@pytest.fixture
def server() -> Iterator[Script]:
    with serving() as script:
        yield script


def endpoint(server: Script, key: str | None = None) -> Endpoint:
    return Endpoint("tiny", f"{server.url}/v1", "tiny", 4, key)


def one(text: str, *, tokens: int = 5, limit_s: float | None = None, group: str = "one") -> Conversation:
    return Conversation(group, 0.0, (Turn(text, tokens, limit_s),))


def test_a_reply_is_timed_and_counted(server: Script) -> None:
    (reply,) = play(Trace((one("hello"),), 10.0), endpoint(server, "secret"))
    assert (reply.error, reply.tokens_in, reply.tokens_cached, reply.tokens_out) == ("", 10, 4, 3)
    assert reply.first_s is not None
    assert reply.sent_s <= reply.first_s <= reply.ended_s
    (body,) = server.asked
    assert (body["model"], body["max_tokens"], body["temperature"], body["stream"]) == ("tiny", 5, 0, True)
    assert server.keys == ["Bearer secret"]


def test_without_usage_pieces_are_counted(server: Script) -> None:
    server.usage = False
    (reply,) = play(Trace((one("hello"),), 10.0), endpoint(server))
    assert reply.tokens_out == 3


def test_a_conversation_sends_what_was_said_before(server: Script) -> None:
    turns = (Turn("first", 5), Turn("second", 5))
    replies = play(Trace((Conversation("agent", 0.0, turns, system="be brief"),), 10.0), endpoint(server))
    assert [reply.turn for reply in replies] == [0, 1]
    said = [(m["role"], m["content"]) for m in server.asked[1]["messages"]]
    expected = [("system", "be brief"), ("user", "first"), ("assistant", " w0 w1 w2"), ("user", "second")]
    assert expected == said


def test_conversations_run_beside_each_other_and_arrive_in_time(server: Script) -> None:
    waiting = tuple(Conversation("late", 0.2, (Turn("hello", 5),)) for _ in range(3))
    heard: list[Reply] = []
    replies = play(Trace((one("hang", limit_s=0.5), *waiting), 10.0), endpoint(server), heard.append)
    assert all(reply.sent_s >= 0.2 for reply in replies if reply.group == "late")
    assert replies == heard
    assert server.together > 1


def test_who_is_cut_off_at_the_turn_s_limit_has_not_failed(server: Script) -> None:
    (reply,) = play(Trace((one("hang", limit_s=0.2),), 10.0), endpoint(server))
    assert (reply.error, reply.tokens_out) == ("", 1)
    assert reply.ended_s >= 0.2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("refuse", "HTTP 429"),
        ("cut", "before [DONE]"),
        ("garbage", "not JSON"),
        ("hang", "not answered within the trace's 0.5 s"),
    ],
)
def test_a_failure_is_a_reply_with_its_reason_and_ends_its_conversation_alone(
    server: Script, text: str, says: str
) -> None:
    server.errors["refuse"] = 429
    broken = Conversation("broken", 0.0, (Turn(text, 5), Turn("never asked", 5)))
    replies = play(Trace((broken, one("hello")), 0.5), endpoint(server))
    (failed,) = [reply for reply in replies if reply.error]
    assert failed.group == "broken"
    assert says in failed.error
    assert len(replies) == 2


def test_nobody_there_is_a_failure_too() -> None:
    with serving() as script:
        gone = endpoint(script)
    (reply,) = play(Trace((one("hello"),), 5.0), gone)
    assert reply.error


def test_a_summary_counts_what_succeeded_and_names_what_failed(server: Script) -> None:
    server.errors["refuse"] = 500
    agent = Conversation("agent", 0.0, (Turn("a", 5), Turn("b", 5)))
    side = summary(play(Trace((agent, agent, one("refuse")), 10.0), endpoint(server)))
    assert (side["tokens_out"], side["tokens_in"], side["tokens_cached"]) == (12, 40, 16)
    assert (len(side["completed_s"]["agent"]), len(side["first_s"]["agent"])) == (2, 4)
    assert side["completed_s"]["one"] == []
    (failure,) = side["failures"]
    assert failure.startswith("one 2, turn 1: HTTP 500")

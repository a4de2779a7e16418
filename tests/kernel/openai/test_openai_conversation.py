from __future__ import annotations

from aios_kernel.openai.conversation import MAX_CONVERSATIONS, Conversations
from aios_kernel.openai.request import Message
from aios_kernel.protocol import Pid

SYSTEM = Message("system", "You are brief.")


def talk(*texts: str) -> list[Message]:
    roles = ("user", "assistant")
    return [SYSTEM, *(Message(roles[i % 2], text) for i, text in enumerate(texts))]  # type: ignore[arg-type]


def test_turns_that_begin_alike_are_one_conversation() -> None:
    conversations = Conversations()
    assert conversations.began("user", talk("Hi"), Pid(1)) == 1
    assert conversations.began("user", talk("Hi", "Hello.", "Why?"), Pid(2)) == 1
    assert conversations.began("user", talk("Hey"), Pid(3)) == 3
    assert conversations.began("guest", talk("Hi"), Pid(4)) == 4


def test_the_least_recently_heard_of_is_forgotten() -> None:
    conversations = Conversations()
    for number in range(MAX_CONVERSATIONS + 1):
        conversations.began("user", talk(str(number)), Pid(number))
        assert conversations.began("user", talk("0"), Pid(10_000)) == 0
    assert conversations.began("user", talk("1"), Pid(20_000)) == 20_000

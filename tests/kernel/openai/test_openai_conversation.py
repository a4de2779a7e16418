from __future__ import annotations

from typing import Any

from aios_kernel.openai.conversation import MAX_CONVERSATIONS, Conversations, earlier, name_of
from aios_kernel.protocol import ChatReply, Pid, ToolCall

SYSTEM = {"role": "system", "content": "You are brief."}


def talk(*texts: str) -> list[dict[str, Any]]:
    roles = ("user", "assistant")
    return [SYSTEM, *({"role": roles[i % 2], "content": text} for i, text in enumerate(texts))]


def reply(text: str, *calls: ToolCall) -> ChatReply:
    return ChatReply(text, list(calls), "stop", 0, 0, 0, 0.0, 0.0, 0.0, exact=True)


def test_turns_that_begin_alike_are_one_conversation() -> None:
    conversations = Conversations()
    assert conversations.began("user", talk("Hi"), Pid(1)) == 1
    assert conversations.began("user", talk("Hi", "Hello.", "Why?"), Pid(2)) == 1
    assert conversations.began("user", talk("Hey"), Pid(3)) == 3
    assert conversations.began("guest", talk("Hi"), Pid(4)) == 4
    assert conversations.began("user", [SYSTEM], Pid(5)) == 5


def test_the_least_recently_heard_of_is_forgotten() -> None:
    conversations = Conversations()
    for number in range(MAX_CONVERSATIONS + 1):
        conversations.began("user", talk(str(number)), Pid(number))
        assert conversations.began("user", talk("0"), Pid(10_000)) == 0
    assert conversations.began("user", talk("1"), Pid(20_000)) == 20_000


def test_a_turn_goes_on_from_what_begins_it_and_a_reply_ends() -> None:
    name = name_of("user", talk("Hi"), reply(" Hello."))
    assert [name] == earlier("user", talk("Hi", "Hello.", "Why?"))
    longer = name_of("user", talk("Hi", "Hello.", "Why?"), reply("Because."))
    assert [longer, name] == earlier("user", talk("Hi", "Hello.", "Why?", "Because.", "Oh."))


def test_another_group_an_edit_and_an_older_history_go_on_from_nothing() -> None:
    name = name_of("user", talk("Hi", "Hello.", "Why?"), reply("Because."))
    for group, messages in (
        ("guest", talk("Hi", "Hello.", "Why?", "Because.", "Oh.")),
        ("user", talk("Hi", "Hello.", "Why?", "Just so.", "Oh.")),
        ("user", talk("Hi!", "Hello.", "Why?", "Because.", "Oh.")),
        ("user", talk("Hi", "Hello.", "Why?")),
    ):
        assert name not in earlier(group, messages)


def test_calls_are_known_again_however_their_arguments_are_ordered() -> None:
    question = talk("1 + 2?")
    name = name_of("user", question, reply("", ToolCall("add", {"a": 1, "b": 2}, "call_1")))
    calls = [{"name": "add", "arguments": {"b": 2, "a": 1}, "id": "another"}]
    result = {"role": "tool", "content": "3", "name": "add"}
    told = [*question, {"role": "assistant", "content": "", "tool_calls": calls}, result]
    assert [name] == earlier("user", told)
    calls[0]["arguments"] = {"a": 1, "b": 3}
    assert name not in earlier("user", told)

"""What prompts of one kind begin with is fed once, to its last token."""

from __future__ import annotations

from typing import Any

import pytest
from chats import CONFIG, real_model, run

from aios_kernel.chat.manager import ChatManager
from aios_kernel.protocol import ChatReply, ChatRequest, Pid, ToolSpec
from aios_kernel.scheduler.engine import Engine

pytestmark = pytest.mark.model

SYSTEM = {"role": "system", "content": "You are terse. Answer with one word, whatever you are asked, and nothing else."}
TOOL = ToolSpec("look", "Looks a word up.", {"type": "object", "properties": {"word": {"type": "string"}}})


def asked(text: str, *before: dict[str, Any], **options: Any) -> ChatRequest:
    return ChatRequest([*before, {"role": "user", "content": text}], max_tokens=4, logits_hash=True, **options)


def replies(*requests: ChatRequest) -> list[ChatReply]:
    """Each by a process of its own, one after the other."""
    found: list[ChatReply] = []

    async def use(manager: ChatManager, _: Engine) -> None:
        for number, request in enumerate(requests, 1):
            found.append(await manager.chat(Pid(number), request, 0))

    run(real_model, use, CONFIG)
    return found


@pytest.mark.parametrize(
    ("before", "options"),
    [((), {}), ((SYSTEM,), {}), ((SYSTEM,), {"tools": [TOOL]})],
    ids=["template", "system", "tools"],
)
def test_a_head_is_fed_once(before: tuple[dict[str, Any], ...], options: dict[str, Any]) -> None:
    first, second = replies(asked("Name a fruit.", *before, **options), asked("How old is Rome?", *before, **options))
    assert first.tokens_cached == 0
    assert second.tokens_in - second.tokens_cached <= 16, "only what the user says, and the reply's opening, is fed"
    (alone,) = replies(asked("How old is Rome?", *before, **options))
    assert (alone.text, alone.logits_hash) == (second.text, second.logits_hash)

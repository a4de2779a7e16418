"""Which requests of foreign programs are turns of one conversation.

A request says nothing of the ones before it, but carries all that was said. Turns of one conversation begin with the
same messages, up to what the user said first: the scheduler takes them for one program, whose service adds up, as it
takes an agent with its children. One that begins with all of an earlier one, and its reply, goes on from its context.

Messages are in llm.chat's form.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

from aios_kernel.protocol import ChatReply, Pid

Message = dict[str, Any]

MAX_CONVERSATIONS: Final = 4_096  # the least recently heard of are forgotten


class Conversations:
    """The process that each conversation began with. Event loop only."""

    def __init__(self) -> None:
        self._first: OrderedDict[bytes, Pid] = OrderedDict()

    def began(self, group: str, messages: Sequence[Message], pid: Pid) -> Pid:
        """The pid that the conversation of `pid`'s request began with; its own for a new one."""
        upto = next((n for n, message in enumerate(messages, 1) if message["role"] == "user"), len(messages))
        *_, name = names(group, messages[:upto])
        first = self._first.setdefault(name, pid)
        self._first.move_to_end(name)
        if len(self._first) > MAX_CONVERSATIONS:
            self._first.popitem(last=False)
        return first


def names(group: str, messages: Iterable[Message]) -> Iterator[bytes]:
    """A name for all that was said up to each message.

    What clients change in a reply that they send back is left out: space around it, how its calls' arguments are
    written. Whether its tokens fit what they send is another matter, for whoever goes on from them.
    """
    digest = blake2b(group.encode(), digest_size=16)
    for message in messages:
        calls = [(call["name"], call["arguments"]) for call in message.get("tool_calls", ())]
        said = (message["role"], message.get("name"), message["content"].strip(), calls)
        digest.update(msgspec.json.encode(said, order="deterministic"))
        yield digest.digest()


def earlier(group: str, messages: Sequence[Message]) -> list[bytes]:
    """Names of the conversations that `messages` may go on from, the longest first: those that end in a reply."""
    told = zip(messages, names(group, messages), strict=True)
    return [name for message, name in told if message["role"] == "assistant"][::-1]


def name_of(group: str, messages: Sequence[Message], reply: ChatReply) -> bytes:
    """The name of a conversation with its reply."""
    calls = [{"name": call.name, "arguments": call.arguments} for call in reply.tool_calls]
    *_, name = names(group, [*messages, {"role": "assistant", "content": reply.text, "tool_calls": calls}])
    return name

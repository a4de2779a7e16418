"""Which requests of foreign programs are turns of one conversation.

A request says nothing of the ones before it, but carries all that was said. Turns of one conversation begin with the
same messages, up to what the user said first: the scheduler takes them for one program, whose service adds up, as it
takes an agent with its children.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from aios_kernel.openai.request import Message
from aios_kernel.protocol import Pid

MAX_CONVERSATIONS: Final = 4_096  # the least recently heard of are forgotten


class Conversations:
    """The process that each conversation began with. Event loop only."""

    def __init__(self) -> None:
        self._first: OrderedDict[bytes, Pid] = OrderedDict()

    def began(self, group: str, messages: Iterable[Message], pid: Pid) -> Pid:
        """The pid that the conversation of `pid`'s request began with; its own for a new one."""
        digest = blake2b(group.encode(), digest_size=16)
        for message in messages:
            digest.update(f"\0{message.role}\0{message.text}".encode(errors="surrogatepass"))
            if message.role == "user":
                break
        first = self._first.setdefault(digest.digest(), pid)
        self._first.move_to_end(digest.digest())
        if len(self._first) > MAX_CONVERSATIONS:
            self._first.popitem(last=False)
        return first

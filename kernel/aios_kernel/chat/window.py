"""What a prompt leaves out when its conversation has outgrown the context window. Pure: messages in, messages out.

Messages are checked ones: each has a role, a content and tool_calls. The system's always stay. Of the others, called
spoken here, whole turns may go, the oldest first; a turn is a user's message and what follows it up to the next one.
Of the last turn the user's message stays and what the reply answers to; tool exchanges between them may go. An exchange
is an assistant's message with the results of its calls; it is never cut.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What a conversation's prompts leave out, from the moment it outgrew the window. JSON-able."""

    dropped: tuple[int, ...]  # which of the spoken messages, counted from 0, rising
    digest: str  # of the spoken messages up to the last one dropped: agents send the whole conversation each time
    summary: str = ""  # what is said in their place


@dataclass(frozen=True, slots=True)
class Unit:
    """Spoken messages that go or stay together: a turn, or an exchange of the last turn."""

    indexes: tuple[int, ...]
    is_turn: bool


def droppable(messages: Sequence[Message], dropped: Collection[int] = ()) -> list[Unit]:
    """What may be left out beside what is dropped already, in the order in which it goes."""
    spoken = [(i, message) for i, message in enumerate(_spoken(messages)) if i not in dropped]
    cuts = [*_cuts([message for _, message in spoken]), len(spoken)]
    parts = [spoken[start:end] for start, end in itertools.pairwise(cuts)]
    begins = [n for n, part in enumerate(parts) if part[0][1]["role"] == "user"]
    last = begins[-1] if begins else 0
    turns = itertools.pairwise(sorted({0, *begins}))
    older = [Unit(tuple(i for part in parts[start:end] for i, _ in part), is_turn=True) for start, end in turns]
    exchanges = parts[last + bool(begins) : -1]
    return older + [
        Unit(tuple(i for i, _ in part), is_turn=False)
        for part in exchanges
        if all(message["role"] != "user" for _, message in part)
    ]


def forget(messages: Sequence[Message], units: Sequence[Unit], former: Forgotten | None) -> Forgotten:
    """`units` of `messages` are left out from now on, beside what was before."""
    dropped = sorted({*(former.dropped if former else ()), *(i for unit in units for i in unit.indexes)})
    return Forgotten(tuple(dropped), _digest(_spoken(messages)[: dropped[-1] + 1]), former.summary if former else "")


def recall(messages: Sequence[Message], known: Sequence[Forgotten]) -> Forgotten | None:
    """What earlier prompts of this conversation left out, so that this one begins with the same tokens."""
    spoken = _spoken(messages)
    for forgotten in reversed(known):
        upto = max(forgotten.dropped, default=-1) + 1
        if upto < len(spoken) and _digest(spoken[:upto]) == forgotten.digest:
            return forgotten
    return None


def leave_out(messages: Sequence[Message], forgotten: Forgotten) -> list[Message]:
    """The messages that stay. A summary of the others comes after the system's first messages, as an exchange of its
    own: many templates want user and assistant to alternate, and one system message at most."""
    dropped, numbers = frozenset(forgotten.dropped), itertools.count()
    kept = [message for message in messages if message["role"] == "system" or next(numbers) not in dropped]
    if forgotten.summary:
        start = sum(1 for _ in itertools.takewhile(lambda message: message["role"] == "system", messages))
        kept[start:start] = [
            {"role": "user", "content": "Summarise what we said so far.", "tool_calls": []},
            {"role": "assistant", "content": forgotten.summary, "tool_calls": []},
        ]
    return kept


def messages_of(messages: Sequence[Message], units: Sequence[Unit]) -> list[Message]:
    """Those of `messages` that `units` are made of."""
    spoken = _spoken(messages)
    return [spoken[i] for unit in units for i in unit.indexes]


def count(units: Sequence[Unit]) -> str:
    """For a person: 3 turns; 1 turn and 2 tool exchanges."""
    turns = sum(unit.is_turn for unit in units)
    parts = [(turns, "turn"), (len(units) - turns, "tool exchange")]
    return " and ".join(f"{number} {noun}{'s' if number > 1 else ''}" for number, noun in parts if number)


def _spoken(messages: Sequence[Message]) -> list[Message]:
    return [message for message in messages if message["role"] != "system"]


def _cuts(spoken: Sequence[Message]) -> list[int]:
    """Where spoken messages may be cut apart: before a user's or an assistant's, unless a tool's result after it
    belongs to a call before it."""
    cuts, whole = [], True
    for at in range(len(spoken) - 1, -1, -1):
        message = spoken[at]
        whole = message["role"] != "tool" and (whole or bool(message["tool_calls"]))
        if whole or at == 0:
            cuts.append(at)
    return cuts[::-1]


def _digest(messages: Sequence[Message]) -> str:
    return hashlib.blake2b(msgspec.json.encode(messages, order="deterministic"), digest_size=16).hexdigest()

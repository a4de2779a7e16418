"""What processes last said to the model and what they got, as text and as the tokens they really were."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from aios_kernel.chat.request import Ask
from aios_kernel.chat.window import Forgotten
from aios_kernel.protocol import ChatRequest
from aios_kernel.scheduler.request import GenResult
from aios_kernel.scheduler.text import TextStream

if TYPE_CHECKING:
    from aios_kernel.chat.fitting import Fit

RECENT: Final = 2  # conversations whose tokens a process's memory holds: its main one and one beside it

Tokenize = Callable[[str], list[int]]


@dataclass(frozen=True, slots=True)
class Conversation:
    """One llm.chat and its reply, or what there is of it. All of it is JSON-able; a copy needs every field.

    The llm.chat that goes on with an unfinished reply has the messages
    [*messages, {"role": "assistant", "content": reply}], continue_final_message, and the options, of max_tokens what
    is left: len(tokens) - prompt_tokens are used. The conversation of such a chat has the same `messages` as the one
    it goes on with, and all of the reply in `reply`, so it can be taken further in the same way.
    """

    messages: list[dict[str, Any]]  # as the process sent them, the reply left out
    options: dict[str, Any]  # the rest of that ChatRequest
    text: str  # the rendered prompt and `reply`
    tokens: list[int]  # of prompt and reply, as they were fed and produced
    prompt_tokens: int  # leading ones of `tokens` that were the prompt
    finished: bool  # the reply is complete
    reply: str = ""  # what could be shown of it; while it is unfinished its last tokens may say more
    forgotten: Forgotten | None = None  # what the prompt leaves out of `messages`

    @property
    def prompt(self) -> str:
        return self.text.removesuffix(self.reply)

    def ended(self, result: GenResult, tokenize: Tokenize) -> Conversation:
        """With its reply. Where a stop string cut that, its last tokens said more than its text: it is cut anew."""
        produced = tokenize(result.text) if result.cut else result.tokens
        return replace(
            self,
            text=self.text + result.text,
            tokens=[*self.tokens, *produced],
            finished=result.finish_reason != "cancelled",
            reply=self.reply + result.text,
        )

    def reached(self, tokens: Sequence[int], piece: Callable[[int], bytes]) -> Conversation | None:
        """With as much of the reply as a context of `tokens` holds; None when that is another conversation's.

        A reply of which nothing can be shown yet has not begun.
        """
        if self.finished or list(tokens[: len(self.tokens)]) != self.tokens:
            return None
        stream = TextStream(self.options["stop"])
        for token in self.tokens[self.prompt_tokens :]:
            stream.skip(piece(token))
        text = "".join(stream.feed(piece(token)) for token in tokens[len(self.tokens) :])
        if not text:
            return self
        return replace(self, text=self.text + text, tokens=list(tokens), reply=self.reply + text)


def begun(request: ChatRequest, ask: Ask, fit: Fit) -> Conversation:
    """The conversation of a request whose reply is to come."""
    prompt = fit.prompt
    options = msgspec.to_builtins(request)
    del options["messages"], options["continue_final_message"]
    options["max_tokens"] += len(prompt.given)
    return Conversation(
        messages=request.messages[:-1] if request.continue_final_message else request.messages,
        options=options,
        text=prompt.text + ask.given,
        tokens=prompt.tokens + prompt.given,
        prompt_tokens=len(prompt.tokens),
        finished=False,
        reply=ask.given,
        forgotten=fit.forgotten,
    )


@dataclass(slots=True, eq=False)
class UnderWay:
    """A conversation whose reply is produced."""

    conversation: Conversation

    def end(self, result: GenResult, tokenize: Tokenize) -> None:
        self.conversation = self.conversation.ended(result, tokenize)


class Memory:
    """A process's conversations: those under way, and the last ones that have ended.

    The event loop alone changes it, by putting new lists in the place of the old ones: `tokens` may run in any thread.
    """

    def __init__(self) -> None:
        self._under_way: list[UnderWay] = []  # in the order in which the engine runs them
        self._recent: list[Conversation] = []
        self.forgotten: list[Forgotten] = []  # what its conversations leave out

    def keep(self, forgotten: Forgotten, former: Forgotten | None = None) -> None:
        """What a conversation leaves out from now on, in the place of what it left out before."""
        self.forgotten = [*(other for other in self.forgotten if other != former), forgotten][-RECENT:]

    def plant(self, conversation: Conversation) -> None:
        """As if the process had had this conversation."""
        self.remember(conversation)
        if conversation.forgotten is not None:
            self.keep(conversation.forgotten)

    @contextmanager
    def holding(self, conversation: Conversation) -> Iterator[UnderWay]:
        """Hold a conversation while its reply is produced, then remember it as it ended."""
        under_way = UnderWay(conversation)
        self._under_way.append(under_way)
        try:
            yield under_way
        finally:
            self._under_way.remove(under_way)
            self.remember(under_way.conversation)

    def remember(self, conversation: Conversation) -> None:
        """In the place of those that it goes on from."""
        others = [c for c in self._recent if not conversation.text.startswith(c.prompt)]
        self._recent = [*others[1 - RECENT :], conversation]

    def conversation(self, tokens: Sequence[int], piece: Callable[[int], bytes]) -> Conversation | None:
        """The one under way, else the last one. tokens: the process's context, which may hold a part of its reply."""
        candidates = [under_way.conversation for under_way in self._under_way] or self._recent[-1:]
        reached = (conversation.reached(tokens, piece) for conversation in candidates)
        return next((known for known in [*reached, *candidates] if known is not None), None)

    def tokens(self, prompt: str, given: str, tokenize: Tokenize) -> tuple[list[int], list[int]]:
        """Tokens of a prompt, and of the part of the reply that is given.

        What is known to have been fed or produced keeps its tokens, so that its KV is reused: text that is cut anew
        may give other tokens than those the model produced.
        """
        for known in reversed(self._recent):
            if given and known.text == prompt + given and known.reply == given:
                return known.tokens[: known.prompt_tokens], known.tokens[known.prompt_tokens :]
        text, tokens = "", []
        for known in self._recent:
            for known_text, end in ((known.prompt, known.prompt_tokens), (known.text, len(known.tokens))):
                whole = known.finished or end == known.prompt_tokens  # else the tokens may say more than the text
                if whole and len(known_text) > len(text) and prompt.startswith(known_text):
                    text, tokens = known_text, known.tokens[:end]
        return tokens + tokenize(prompt[len(text) :]), tokenize(given) if given else []

"""Turns with the model, remembered."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, cast

from aios_kernel.errors import PromptTooLong
from aios_kernel.protocol import ChatReply

if TYPE_CHECKING:
    from aios_agents.generation import ChatOptions, Message
    from aios_agents.sdk import Agent

# Options that a conversation goes on with as it began; the others were for one reply.
_SAMPLING: Final = ("temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed")


class Conversation:
    """Turns with the model. Where they outgrow the context window the kernel leaves some out, and a note says so."""

    def __init__(self, agent: Agent, system: str, options: ChatOptions) -> None:
        self._agent = agent
        self._system: list[Message] = [{"role": "system", "content": system}] if system else []
        self._options = options
        self.turns: list[Message] = []
        self.unfinished = False  # the last reply is not complete
        if agent.history is not None:
            self._begin_with(agent.history.messages, agent.history.options)
            self.unfinished = agent.history.unfinished

    def _begin_with(self, messages: list[Message], options: dict[str, Any]) -> None:
        num_system = 1 if messages[0]["role"] == "system" else 0
        self._system, self.turns = messages[:num_system], messages[num_system:]
        sampling = {name: options[name] for name in _SAMPLING if name in options}
        self._options = cast("ChatOptions", {**self._options, **sampling})

    async def say(self, text: str) -> ChatReply:
        """Say something; the reply is streamed to standard output and remembered.

        An interrupted turn keeps what was said, without a reply. Raises PromptTooLong when `text` alone is too long.
        """
        self.turns.append({"role": "user", "content": text})
        try:
            reply = await self._agent.answer([*self._system, *self.turns], **self._options)
        except PromptTooLong:
            self.turns.pop()
            raise
        if reply.window is not None:
            self._agent.note(f"(the conversation has outgrown the model's window: {reply.window})")
        self.turns.append(assistant_message(reply))
        return reply

    async def finish(self) -> ChatReply:
        """Have the model finish the reply that the process began with; what follows is streamed and remembered."""
        reply = await self._agent.go_on()
        if self.turns[-1]["role"] == "assistant":
            began = self.turns.pop()["content"]
            self.turns.append({**assistant_message(reply), "content": began + reply.text})
        else:
            self.turns.append(assistant_message(reply))
        self.unfinished = False
        return reply


def assistant_message(reply: ChatReply) -> Message:
    """A reply as a message of the conversation."""
    message: Message = {"role": "assistant", "content": reply.text}
    if reply.tool_calls:
        message["tool_calls"] = [asdict(call) for call in reply.tool_calls]
    return message

"""Conversation: with a task it answers and ends; without one it talks until standard input ends.

Begun with a copy of another's context it goes on from there; a reply that was cut off is then all of its task.
Messages from other processes are turns too, and a process that sent one gets the reply into its mailbox.
An interrupt ends the turn, not the conversation.
"""

from __future__ import annotations

from typing import Final

from aios_agents import Agent

SYSTEM: Final = "You are a helpful assistant. Answer briefly and in plain words."
REPEAT_PENALTY: Final = 1.1  # keeps a very small model from repeating itself; greedy all the same


async def main(agent: Agent) -> None:
    conversation = agent.conversation(SYSTEM, repeat_penalty=REPEAT_PENALTY)
    if agent.task.strip():
        await conversation.say(await agent.input())
        return
    if conversation.unfinished:
        await conversation.finish()
        return
    async for heard in agent.listen():
        if not heard.text.strip():
            continue
        reply = await agent.interruptible(conversation.say(heard.text))
        if reply is None:
            agent.note("(interrupted)")
        elif heard.sender:
            await agent.send(heard.sender, reply.text)

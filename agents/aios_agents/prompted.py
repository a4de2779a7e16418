"""Agents without code: a system prompt and kernel tools, from the manifest alone."""

from __future__ import annotations

from aios_agents.generation import Message
from aios_agents.manifest import Manifest
from aios_agents.sdk import Agent, AgentFailed


async def main(agent: Agent, manifest: Manifest) -> None:
    """Answer the task and standard input; without either, finish a reply that the process began with.

    Raises AgentFailed (exit 2) when there is nothing to do.
    """
    text, history = await agent.input(), agent.history
    if not text and history is not None and history.unfinished:
        await agent.go_on()
        return
    if not text:
        raise AgentFailed(f"nothing to do: give {manifest.name} a task or something on standard input", code=2)
    system: list[Message] = [{"role": "system", "content": manifest.system}]
    messages = [*(history.messages if history is not None else system), {"role": "user", "content": text}]
    if not manifest.tools:
        await agent.answer(messages)
        return
    reply = await agent.run_tools(messages, manifest.tools)
    agent.write(reply.text.strip() + "\n")

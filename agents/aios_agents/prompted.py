"""Agents without code: a system prompt and kernel tools, from the manifest alone."""

from __future__ import annotations

from aios_agents.manifest import Manifest
from aios_agents.sdk import Agent, AgentFailed, Message


async def main(agent: Agent, manifest: Manifest) -> None:
    """Answer the task and standard input. Raises AgentFailed (exit 2) when both are empty."""
    text = await agent.input()
    if not text:
        raise AgentFailed(f"nothing to do: give {manifest.name} a task or something on standard input", code=2)
    messages: list[Message] = [{"role": "system", "content": manifest.system}, {"role": "user", "content": text}]
    if not manifest.tools:
        await agent.answer(messages)
        return
    reply = await agent.run_tools(messages, manifest.tools)
    agent.write(reply.text.strip() + "\n")

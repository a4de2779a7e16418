"""Write an agent: `async def main(agent: Agent) -> None` beside an agent.toml, and `aios run NAME` runs it."""

from aios_agents.conversation import Conversation
from aios_agents.sdk import Agent, AgentFailed, Generation, Message
from aios_agents.tool import Tool, tool

__all__ = ["Agent", "AgentFailed", "Conversation", "Generation", "Message", "Tool", "tool"]

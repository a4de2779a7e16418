"""Write an agent: `async def main(agent: Agent) -> None`, or a subclass of Agent, beside an agent.toml.

`aios agents new NAME` makes one, `aios run NAME` runs it.
"""

from aios_agents.conversation import Conversation
from aios_agents.generation import ChatOptions, Generation, Message
from aios_agents.sdk import Agent, AgentFailed
from aios_agents.tool import Tool, tool

__all__ = ["Agent", "AgentFailed", "ChatOptions", "Conversation", "Generation", "Message", "Tool", "tool"]

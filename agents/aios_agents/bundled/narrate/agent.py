"""A short story, streamed while the model writes it, that ends with a whole sentence."""

from __future__ import annotations

from typing import Final

from aios_agents import Agent, AgentFailed

SYSTEM: Final = (
    "You are a storyteller. Write one short story with a beginning, a middle and an end. Plain words, no title."
)
MAX_TOKENS: Final = 160
FREE_CHARS: Final = 480  # about 110 tokens; beyond, the limit may fall into any sentence
REPEAT_PENALTY: Final = 1.1  # at 1.0 the 135M model goes in circles


async def main(agent: Agent) -> None:
    """Stream a story about the task and standard input. Exit 2 when both are empty."""
    subject = await agent.input()
    if not subject:
        raise AgentFailed('what about? for example: narrate "a fox"', code=2)
    await agent.answer(
        [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": f"Tell a short story about {subject} in about 100 words."},
        ],
        max_tokens=MAX_TOKENS,
        repeat_penalty=REPEAT_PENALTY,
        whole_after=FREE_CHARS,
    )

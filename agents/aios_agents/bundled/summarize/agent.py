"""A summary of standard input, streamed. A text longer than the window is summed up in parts, then the parts."""

from __future__ import annotations

from typing import Final

from aios_agents import Agent, AgentFailed, Message
from aios_agents.generation import sentence_end
from aios_kernel.errors import PromptTooLong

# About 750 tokens of English: a very small model loses the thread in longer ones.
PART_CHARS: Final = 3_000
REPEAT_PENALTY: Final = 1.05  # at 1.0 the 135M model repeats itself, at 1.1 it makes up numbers to avoid repeating them
SUMMARY_TOKENS: Final = 160
PART_TOKENS: Final = 80
FREE_CHARS: Final = 400  # about 90 tokens; beyond, the limit may fall into any sentence


async def main(agent: Agent) -> None:
    """Stream the summary; a task, if given, says what to look for. Exit 2 when there is nothing to sum up."""
    text = (await agent.stdin.read()).strip() if agent.has_stdin else ""
    if not text:
        raise AgentFailed("nothing on standard input: try  cat notes.txt | summarize", code=2)
    while len(text) > PART_CHARS:
        text = await shorten(agent, text)
    await agent.answer(
        prompt(text, agent.task),
        repeat_penalty=REPEAT_PENALTY,
        max_tokens=SUMMARY_TOKENS,
        whole_after=FREE_CHARS,
    )


async def shorten(agent: Agent, text: str) -> str:
    """The summaries of the parts of `text`, one a line."""
    parts = split(text, PART_CHARS)
    summaries: list[str] = []
    for number, part in enumerate(parts, 1):
        agent.note(f"summarize: part {number} of {len(parts)}")
        summaries.append(await part_summary(agent, part))
    return "\n".join(summaries)


async def part_summary(agent: Agent, part: str) -> str:
    """A sentence or two on `part`; it is halved where it has more tokens than the window."""
    try:
        reply = await agent.chat(prompt(part, agent.task), repeat_penalty=REPEAT_PENALTY, max_tokens=PART_TOKENS)
    except PromptTooLong:
        halves = split(part, len(part) // 2 + 1)
        return " ".join([await part_summary(agent, half) for half in halves])
    text = " ".join(reply.text.split())
    return text[: sentence_end(text)] or text


def prompt(text: str, task: str) -> list[Message]:
    focus = f" Say above all: {task}." if task.strip() else ""
    content = f"{text}\n\nWrite a short summary of the text above.{focus} Use only facts from the text."
    return [{"role": "user", "content": content}]


def split(text: str, max_chars: int) -> list[str]:
    """Parts of at most `max_chars` that together are `text`: cut between paragraphs, else lines, sentences, words."""
    parts: list[str] = []
    while len(text) > max_chars:
        cuts = (text.rfind(mark, max_chars // 2, max_chars) for mark in ("\n\n", "\n", ". ", " "))
        cut = next((cut + 1 for cut in cuts if cut > 0), max_chars)
        parts.append(text[:cut].strip())
        text = text[cut:]
    return [part for part in (*parts, text.strip()) if part]

"""A diary: every entry is a line of a file with versions and a note that is found again by what it says.

`forget` deletes the file, which cannot be taken for granted: the kernel asks a person first.
"""

from __future__ import annotations

from typing import Final

from aios_agents import Agent, AgentFailed
from aios_kernel.errors import NotPermitted

FILE: Final = "diary.md"
NUM_REMINDERS: Final = 2


async def main(agent: Agent) -> None:
    entry = (await agent.input()).strip()
    if not entry:
        raise AgentFailed("tell me something, or `forget`", code=2)
    if entry == "forget":
        await forget(agent)
    else:
        await keep(agent, entry)


async def keep(agent: Agent, entry: str) -> None:
    """Say what the entry reminds of, then keep it."""
    reminders = await agent.memory.search(entry, k=NUM_REMINDERS)
    today, *_ = (await agent.tool("clock")).split()
    file = await agent.files.append(FILE, f"- {today}: {entry}\n")
    await agent.memory.add(entry)
    agent.write(f"kept, as version {file.version} of {FILE}\n")
    for hit in reminders:
        agent.write(f"that reminds me: {hit.note.content}\n")


async def forget(agent: Agent) -> None:
    try:
        await agent.files.delete(FILE)
    except NotPermitted as error:
        raise AgentFailed("then I keep it", code=126) from error
    agent.write(f"{FILE} is in the bin\n")

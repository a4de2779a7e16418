"""File operations in plain words: the model turns each part of the sentence into a step, the plan is shown, then done.

Nothing is changed before a person agrees: the kernel asks by itself before it replaces, deletes or shares a file, and
this agent asks it to about the other changes.
"""

from __future__ import annotations

import json
from typing import Final

from aios_agents import Agent, AgentFailed, Message
from aios_agents.bundled.librarian.plan import CHANGES, Shelf, Step, choices, clauses, step_of
from aios_kernel.protocol import FileKind

SYSTEM: Final = "Turn the request into one step with files."
EXAMPLES: Final = (
    ("notes.txt", "show me the notes", {"do": "read", "path": "notes.txt"}),
    ("a.txt, b.txt", "delete b.txt", {"do": "delete", "path": "b.txt"}),
    ("draft.md", "rename the draft to final.md", {"do": "move", "path": "draft.md", "to": "final.md"}),
    ("", 'write "hello" into hi.txt', {"do": "write", "path": "hi.txt", "content": "hello"}),
    ("shop.txt", "add milk to shop.txt", {"do": "append", "path": "shop.txt", "content": "milk"}),
    ("plan.md", "undo the last change to the plan", {"do": "rollback", "path": "plan.md", "version": -1}),
    ("x.txt, y.txt", "which files mention rain?", {"do": "search", "words": "rain"}),
    ("x.txt", "what files are there", {"do": "list", "path": ""}),
    ("x.txt", "create a folder called old", {"do": "mkdir", "path": "old"}),
)
MAX_TOKENS: Final = 300  # of one step
SHOWN_FILES: Final = 12
# The kernel asks about these by itself, in words of its own.
ASKED_ANYWAY: Final = frozenset({"delete", "rollback", "share"})


async def main(agent: Agent) -> None:
    """Print the plan and what comes of it. Exit 2 without a request, 126 when a person says no."""
    request = (await agent.input()).strip()
    if not request:
        raise AgentFailed('what shall I do? for example: librarian "rename draft.txt to letters/final.txt"', code=2)
    shelf = await look(agent)
    steps: list[Step] = []
    for clause in clauses(request):
        step = await choose(agent, clause, shelf)
        steps.append(step)
        shelf = shelf.after(step)
    if len(steps) > 1 or steps[0].do in CHANGES:
        agent.write("".join(f"{number}. {step.line}\n" for number, step in enumerate(steps, 1)))
    await agree(agent, steps, await look(agent))
    for step in steps:
        agent.write(await do(agent, step))


async def look(agent: Agent) -> Shelf:
    entries = await agent.files.entries(recursive=True)
    return Shelf(
        files=tuple(entry.path for entry in entries if entry.kind is FileKind.FILE),
        folders=tuple(entry.path for entry in entries if entry.kind is FileKind.FOLDER),
        bin=tuple(dict.fromkeys(entry.path for entry in await agent.files.bin())),
    )


async def choose(agent: Agent, clause: str, shelf: Shelf) -> Step:
    """The step that the model takes the clause for. Raises AgentFailed where none fits."""
    found = choices(clause, shelf)
    if not found:
        raise AgentFailed(f"I cannot tell which file or text is meant: {clause}")
    messages: list[Message] = [{"role": "system", "content": SYSTEM}]
    for files, asked, step in EXAMPLES:
        messages.append({"role": "user", "content": f"Files: {files}\nRequest: {asked}"})
        messages.append({"role": "assistant", "content": json.dumps(step)})
    files = ", ".join(shelf.files[:SHOWN_FILES])
    messages.append({"role": "user", "content": f"Files: {files}\nRequest: {clause}"})
    return step_of(await agent.ask_json(messages, {"anyOf": found}, max_tokens=MAX_TOKENS))


async def agree(agent: Agent, steps: list[Step], shelf: Shelf) -> None:
    """Have a person asked about the changes that the kernel would make without. Raises NotPermitted."""
    changes = [
        step
        for step in steps
        if step.do in CHANGES - ASKED_ANYWAY and not (step.do == "write" and step.path in shelf.files)
    ]
    if changes:
        await agent.request_access("file:write", changes[0].path, why="; ".join(step.line for step in changes))


async def do(agent: Agent, step: Step) -> str:
    """Do one step; what to print."""
    files = agent.files
    match step.do:
        case "list":
            return "".join(f"{each.path}\n" for each in await files.entries(step.path, recursive=True)) or "no files\n"
        case "read":
            text = await files.read(step.path)
            return text if text.endswith("\n") else text + "\n"
        case "search":
            hits = (await files.search(step.words)).hits
            return "".join(f"{hit.path}:{hit.line}: {hit.text}\n" for hit in hits) or "nothing found\n"
        case "history":
            return "".join(f"{row.version}. {row.what}, {row.size} bytes\n" for row in await files.history(step.path))
        case _:
            return await change(agent, step)


async def change(agent: Agent, step: Step) -> str:
    """Do a step that changes something; what to print."""
    files = agent.files
    match step.do:
        case "write":
            info = await files.write(step.path, step.content and step.content + "\n")
        case "append":
            info = await files.append(step.path, step.content + "\n")
        case "mkdir":
            await files.mkdir(step.path)
            return f"{step.path}/ is there\n"
        case "move":
            info = await files.move(step.path, step.to)
        case "delete":
            count = await files.delete(step.path, recursive=True)
            return f"{step.path} is in the bin ({count} file{'s' * (count != 1)})\n"
        case "rollback":
            info = await files.rollback(step.path, step.version)
        case "restore":
            info = await files.restore(step.path)
        case _:
            share = await files.share(step.path, step.to)
            return f"{share.to} may read it as ~{share.owner}/{share.path}\n"
    return f"{info.path} is there, version {info.version}\n"

"""What the benchmarks run: chat calls as told, and a line of JSON with the times of each."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, replace

import msgspec

from aios_agents import Agent, AgentFailed, Message
from aios_agents.generation import ChatOptions


@dataclass(frozen=True, slots=True)
class Task:
    """Calls to make."""

    prompt: str
    system: str = ""
    calls: int = 1
    max_tokens: int = 64
    turns: bool = False  # each call goes on with the conversation, instead of starting it anew
    at_once: bool = False  # all calls are under way together, instead of one after the other
    children: int = 0  # so many children make these calls each; the probe itself waits for them
    waits: bool = False  # for a message, before the first call
    stream: bool = True
    logits_hash: bool = False


async def main(agent: Agent) -> None:
    """One line a call: {"wall_ms", "first_ms", "started_at", "ended_at"} and the fields of protocol.ChatReply."""
    try:
        task = msgspec.json.decode(agent.task, type=Task)
    except msgspec.DecodeError as error:
        raise AgentFailed(f"the task is not what probe takes: {error}", code=2) from error
    if task.children:
        await with_children(agent, task)
        return
    if task.waits:
        await agent.recv()
    messages: list[Message] = [{"role": "system", "content": task.system}] if task.system else []
    prompt: Message = {"role": "user", "content": task.prompt}
    if task.at_once:
        await asyncio.gather(*(call(agent, task, [*messages, prompt]) for _ in range(task.calls)))
        return
    for _ in range(task.calls):
        text = await call(agent, task, [*messages, prompt])
        if task.turns:
            messages += [prompt, {"role": "assistant", "content": text}]


async def with_children(agent: Agent, task: Task) -> None:
    """Raises AgentFailed when one of them fails."""
    own = msgspec.json.encode(replace(task, children=0)).decode()
    pids = [await agent.spawn("probe", own) for _ in range(task.children)]
    ends = await asyncio.gather(*(agent.wait(pid) for pid in pids))
    failed = sum(end.exit_code != 0 for end in ends)
    if failed:
        raise AgentFailed(f"{failed} of {task.children} children failed")


async def call(agent: Agent, task: Task, messages: list[Message]) -> str:
    """One chat call and its line of output. Returns the reply's text."""
    options: ChatOptions = {"max_tokens": task.max_tokens, "logits_hash": task.logits_hash}
    started_at, started, first = time.time(), time.perf_counter(), 0.0
    if task.stream:
        generation = agent.stream(messages, **options)
        async for _piece in generation:
            first = first or time.perf_counter()
        reply = generation.reply
    else:
        reply = await agent.chat(messages, **options)
    ended = time.perf_counter()
    times = {"wall_ms": (ended - started) * 1e3, "first_ms": ((first or ended) - started) * 1e3}
    ends = {"started_at": started_at, "ended_at": started_at + ended - started}
    agent.write(json.dumps({**times, **ends, **msgspec.to_builtins(reply)}) + "\n")
    return reply.text

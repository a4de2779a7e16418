"""What the benchmarks run: chat calls as told, and a line of JSON with the times of each."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import msgspec

from aios_agents import Agent, AgentFailed, Message


@dataclass(frozen=True, slots=True)
class Task:
    """Calls to make, one after the other."""

    prompt: str
    system: str = ""
    calls: int = 1
    max_tokens: int = 64
    turns: bool = False  # each call goes on with the conversation, instead of starting it anew
    logits_hash: bool = False


async def main(agent: Agent) -> None:
    """One line a call: {"wall_ms", "first_ms", "started_at", "ended_at"} and the fields of protocol.ChatReply."""
    try:
        task = msgspec.json.decode(agent.task, type=Task)
    except msgspec.DecodeError as error:
        raise AgentFailed(f"the task is not what probe takes: {error}", code=2) from error
    messages: list[Message] = [{"role": "system", "content": task.system}] if task.system else []
    for _ in range(task.calls):
        prompt: Message = {"role": "user", "content": task.prompt}
        generation = agent.stream(
            [*messages, prompt], max_tokens=task.max_tokens, logits_hash=task.logits_hash, stop=[]
        )
        started_at, started, first = time.time(), time.perf_counter(), 0.0
        async for _piece in generation:
            first = first or time.perf_counter()
        ended = time.perf_counter()
        times = {"wall_ms": (ended - started) * 1e3, "first_ms": ((first or ended) - started) * 1e3}
        ends = {"started_at": started_at, "ended_at": started_at + ended - started}
        agent.write(json.dumps({**times, **ends, **msgspec.to_builtins(generation.reply)}) + "\n")
        if task.turns:
            messages += [prompt, {"role": "assistant", "content": generation.reply.text}]

"""What the benchmarks run: chat calls as told, and a line of JSON with the times of each."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import msgspec

from aios_agents import Agent, AgentFailed, Message
from aios_agents.sdk import ChatOptions


@dataclass(frozen=True, slots=True)
class Task:
    """Calls to make, one after the other."""

    prompt: str
    system: str = ""
    calls: int = 1
    max_tokens: int = 64
    turns: bool = False  # each call goes on with the conversation, instead of starting it anew
    stream: bool = True
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
        options: ChatOptions = {"max_tokens": task.max_tokens, "logits_hash": task.logits_hash}
        started_at, started, first = time.time(), time.perf_counter(), 0.0
        if task.stream:
            generation = agent.stream([*messages, prompt], **options)
            async for _piece in generation:
                first = first or time.perf_counter()
            reply = generation.reply
        else:
            reply = await agent.chat([*messages, prompt], **options)
        ended = time.perf_counter()
        times = {"wall_ms": (ended - started) * 1e3, "first_ms": ((first or ended) - started) * 1e3}
        ends = {"started_at": started_at, "ended_at": started_at + ended - started}
        agent.write(json.dumps({**times, **ends, **msgspec.to_builtins(reply)}) + "\n")
        if task.turns:
            messages += [prompt, {"role": "assistant", "content": reply.text}]

"""Agents of the AIOS reference SDK, Cerebrum: a folder with a config.json and a class that has `run`.

Source: agiresearch/Cerebrum, cerebrum/example/agents. config.json there is {"name", "description" (a text or a list of
texts), "tools", "meta", "build": {"entry": "agent.py", "module": "MathAgent"}}. Classes are made with (agent_name), or
with (agent_name, task_input, config); `run` takes the task, or nothing; its result is a text, or a dict with "result".
"""

from __future__ import annotations

import asyncio
import inspect
import json
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from aios_agents.sdk import Agent

FILE: Final = "config.json"
MAX_DESCRIPTION: Final = 200  # characters, as in an agent.toml


def parse(text: str) -> dict[str, Any]:
    """The config.json as an agent.toml would say it. Raises ValueError naming what is missing."""
    config = json.loads(text)
    build = config.get("build") if isinstance(config, dict) else None
    if (
        not isinstance(build, dict)
        or not isinstance(build.get("entry"), str)
        or not isinstance(build.get("module"), str)
    ):
        raise ValueError("build: must have entry (a file) and module (a class)")
    description = config.get("description", "")
    if isinstance(description, list):
        description = " ".join(str(part) for part in description)
    line = " ".join(str(description).split()) or "A Cerebrum agent."
    return {
        "name": str(config.get("name", "")).rpartition("/")[2].lower(),  # "author/name"
        "description": line if len(line) <= MAX_DESCRIPTION else line[: MAX_DESCRIPTION - 1] + "…",
        "entry": f"{build['entry'].removesuffix('.py')}:{build['module']}",
        "tools": config.get("tools", []),
    }


def program(kind: Callable[..., Any], folder: Path) -> Callable[[Agent], Awaitable[None]]:
    """The class as the main function of an agent: its result goes to standard output."""
    config = json.loads((folder / FILE).read_text(encoding="utf-8"))

    async def main(agent: Agent) -> None:
        task = await agent.input()
        # It runs in place of the event loop, which has nothing else to do, and an interrupt must reach it.
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        foreign = kind(*(config["name"], task, config)[: _num_params(kind)])
        result = foreign.run(task) if _num_params(foreign.run) else foreign.run()
        if isinstance(result, dict) and "result" in result:
            result = result["result"]
        if result is not None:
            agent.write((result if isinstance(result, str) else json.dumps(result, default=str)) + "\n")

    return main


def _num_params(function: Callable[..., Any]) -> int:
    """How many arguments it takes by position: of a class, its constructor."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in kinds for parameter in inspect.signature(function).parameters.values())

"""The registry: what tools there are, and the one way to run one."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from aios_kernel.clock import Clock
from aios_kernel.errors import DeadlineHit, NoSuchTool, ToolFailed
from aios_kernel.protocol import ToolSpec
from aios_kernel.tools import calculator, clock

MAX_THREADS: Final = 4


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: what the model is told of it, and the function that does it (in a worker thread)."""

    spec: ToolSpec
    run: Callable[[dict[str, Any]], Any]
    timeout_s: float = 10.0


def builtin_tools(machine: Clock) -> list[Tool]:
    return [
        Tool(calculator.SPEC, calculator.run, timeout_s=5.0),
        Tool(clock.SPEC, lambda arguments: clock.run(arguments, machine)),
    ]


class ToolRegistry:
    """Tools by name. Close it when done."""

    def __init__(self, tools: list[Tool]) -> None:
        self._tools = {tool.spec.name: tool for tool in tools}
        self._workers = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="tool")

    def specs(self) -> list[ToolSpec]:
        return [tool.spec for tool in self._tools.values()]

    async def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """Run a tool and return its JSON-able result.

        Raises:
            NoSuchTool: no tool has this name.
            ToolFailed: the arguments break the schema, or the tool raised.
            DeadlineHit: the tool's own timeout passed; its thread ends by itself, tools are bounded.
        """
        tool = self._tools.get(name)
        if tool is None:
            near = difflib.get_close_matches(name, self._tools, n=1)
            hint = f"; did you mean {near[0]}?" if near else f" (there are {', '.join(self._tools)})"
            raise NoSuchTool(f"no tool {name!r}{hint}", name=name)
        _check(tool.spec, arguments)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(tool.timeout_s):
                return await loop.run_in_executor(self._workers, tool.run, arguments)
        except TimeoutError as error:
            raise DeadlineHit(f"tool {name}: not done after {tool.timeout_s:g} s", name=name) from error
        except ToolFailed:
            raise
        except Exception as error:  # a tool's own fault is the caller's news, never the kernel's end
            raise ToolFailed(f"tool {name}: {type(error).__name__}: {error}", name=name) from error

    def close(self) -> None:
        self._workers.shutdown(wait=False, cancel_futures=True)


def _check(spec: ToolSpec, arguments: dict[str, Any]) -> None:
    import jsonschema  # imported by the first call: it costs 150 ms

    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(spec.parameters).iter_errors(arguments))
    if error is not None:
        where = ".".join(str(part) for part in error.absolute_path) or "arguments"
        raise ToolFailed(f"tool {spec.name}: {where}: {error.message}", name=spec.name, argument=where)

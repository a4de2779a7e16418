"""The tools that an agent lets the model call: functions of its own, and the kernel's by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from aios_agents.generation import Message
from aios_agents.tool import Tool, result_text
from aios_kernel.errors import BadRequest, DeadlineHit, LimitHit, NoSuchTool, NotPermitted, ToolFailed
from aios_kernel.protocol import ToolCall, ToolSpec

# What a tool may fail with and the model can do something about; any other error is the agent's.
_FOR_THE_MODEL: Final = (ToolFailed, NoSuchTool, BadRequest, NotPermitted, LimitHit, DeadlineHit)


class Toolbox:
    """Some tools, and the running of them."""

    def __init__(
        self,
        tools: Sequence[Tool | str],
        kernels: Mapping[str, ToolSpec],
        run_kernels: Callable[..., Awaitable[Any]],
    ) -> None:
        """kernels: the kernel's tools; run_kernels(name, **arguments) runs one. Raises NoSuchTool for another name."""
        self._own = {tool.name: tool for tool in tools if isinstance(tool, Tool)}
        self._run_kernels = run_kernels
        self.specs = [tool.spec for tool in self._own.values()]
        for name in tools:
            if isinstance(name, str):
                if name not in kernels:
                    raise NoSuchTool(f"the kernel has no tool {name!r}; it has {', '.join(kernels)}", name=name)
                self.specs.append(kernels[name])

    async def run(self, name: str, arguments: dict[str, Any]) -> str:
        """The tool's result as the model reads it; one that fails gives its error."""
        try:
            return result_text(await self._run(name, arguments))
        except _FOR_THE_MODEL as error:
            return f"error: {error}"

    async def answer(self, call: ToolCall) -> Message:
        """The message that answers a call of the model."""
        content = await self.run(call.name, call.arguments)
        return {"role": "tool", "name": call.name, "tool_call_id": call.id, "content": content}

    async def _run(self, name: str, arguments: dict[str, Any]) -> Any:
        if name not in self._own:
            return await self._run_kernels(name, **arguments)
        try:
            return await self._own[name].run(arguments)
        except Exception as error:  # the tool's own code: whatever it raises is news for the model
            raise ToolFailed(f"{name}: {type(error).__name__}: {error}") from error

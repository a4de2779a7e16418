"""A tool: what the model is told of it, what runs it, and within which bounds."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aios_kernel.access.need import Need
from aios_kernel.errors import KernelError, ToolFailed
from aios_kernel.protocol import Category, ToolSpec

BUILT_IN: Final = "built-in"
NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")

Arguments = dict[str, Any]
MakeSyscall = Callable[[str, Arguments], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Caller:
    """In whose name a tool runs.

    Args:
        agent: name of the process's agent, whose files are the tool's.
        require: decides about one more act; raises NotPermitted. See AccessManager.require.
        syscall: makes a syscall as the process itself would, and returns its result.
    """

    pid: int
    agent: str
    require: Callable[[Need], Awaitable[None]]
    syscall: MakeSyscall


Run = Callable[[Arguments, Caller], Awaitable[Any]]
Needs = Callable[[Arguments, Caller], Sequence[Need]]


class ConnectionLost(ToolFailed):
    """What ran the tool went away before it answered: the tool may or may not have done its work."""


def no_needs(_: Arguments, __: Caller) -> Sequence[Need]:
    return ()


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool. `run` gets arguments that fit the schema, ends when it is cancelled, and returns what JSON can say.

    Args:
        timeout_s: of one run; waiting for a place among `concurrency` comes before that.
        idempotent: running it twice is as good as once, so it is tried again where a connection was lost.
        max_output_bytes: of the result as JSON; a longer one is an error.
        needs: what a run takes beyond the right to call it. Must not block.
        trusted: its schema is ours; another's is checked only as far as that takes bounded time.
    """

    spec: ToolSpec
    run: Run
    category: Category = Category.OTHER
    source: str = BUILT_IN
    timeout_s: float = 10.0
    concurrency: int = 8
    idempotent: bool = False
    max_output_bytes: int = 256 << 10
    needs: Needs = no_needs
    asks: bool = False
    trusted: bool = False

    @property
    def name(self) -> str:
        return self.spec.name


def plain(function: Callable[[Arguments], Any]) -> Run:
    """A `run` of a function that is sure to end within milliseconds. Anything else needs a process of its own."""

    async def run(arguments: Arguments, _: Caller) -> Any:
        return function(arguments)

    return run


def fault(name: str, error: Exception) -> KernelError:
    """What a run that ended with `error` is called: a tool's own fault is its caller's news, never the kernel's end."""
    if isinstance(error, KernelError):
        return error
    return ToolFailed(f"tool {name}: {type(error).__name__}: {short(str(error))}", name=name)


def short(text: str, limit: int = 300) -> str:
    """`text` on one line of at most `limit` characters, its middle left out: it is another's, and may be long."""
    line = " ".join((text if len(text) <= 4 * limit else text[: 2 * limit] + text[-2 * limit :]).split())
    head = limit // 2
    return line if len(line) <= limit else f"{line[:head]}…{line[head + 1 - limit :]}"

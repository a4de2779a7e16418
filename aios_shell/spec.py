"""What the table of commands has in a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Param:
    """One argument (no flags) or option of a command.

    `complete` says what its values are, for completion: pid, agent, model, policy, class, state, signal, snapshot,
    context (a snapshot or a pid), group, action, grant, tool, server, command, benchmark, file, dir, stored (a file of
    an agent's).
    """

    name: str  # the handler's keyword
    help: str
    kind: type[str] | type[int] | type[float] | type[bool] = str
    flags: tuple[str, ...] = ()
    default: Any = None
    required: bool = False
    many: bool = False
    complete: str = ""
    metavar: str = ""
    minimum: float | None = None
    maximum: float | None = None

    @property
    def label(self) -> str:
        return self.metavar or self.name.upper()


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One command. `handler` is "module:function" under aios_shell.commands, imported when the command runs.

    `dashed` names the option that a leading dash word stands for: `kill -9` is `kill --signal 9`; "" as in
    `nice -5 3` makes it an argument.
    `own_words`: a dash word that is none of the options belongs to the text: `run math -3 + 4`.
    """

    name: str  # "ps", "snap ls"
    summary: str
    category: str
    handler: str
    params: tuple[Param, ...] = ()
    examples: tuple[str, ...] = ()
    dashed: str | None = None
    own_words: bool = False
    hidden: bool = False

    @property
    def arguments(self) -> tuple[Param, ...]:
        return tuple(param for param in self.params if not param.flags)

    @property
    def options(self) -> tuple[Param, ...]:
        return tuple(param for param in self.params if param.flags)

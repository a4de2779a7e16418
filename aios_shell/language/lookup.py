"""What the first word of a command names: a built-in, then an agent, then a program of this machine."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from aios_kernel.client import paths
from aios_kernel.errors import KernelError, NoSuchAgent
from aios_shell import registry
from aios_shell.session import Session


@dataclass(frozen=True, slots=True)
class Builtin:
    """A line for the registry. An agent is `run AGENT ...`, so that its options are read in the same place."""

    words: list[str]
    agent: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    path: str
    words: list[str]


class NoSuchCommand(NoSuchAgent):
    """Nothing has this name. Exit code 127."""


def look_up(
    words: list[str], session: Session, note: Callable[[str], None], *, programs: bool = True
) -> Builtin | Program:
    """What `words` run.

    Raises NoSuchCommand with the nearest name, or the error that kept the kernel from starting.
    """
    name = words[0]
    if "/" not in name and registry.is_builtin(name):
        return Builtin(words)
    variable, equals, _ = name.partition("=")
    if equals and variable.isidentifier():
        raise NoSuchCommand(f"no command is called '{name}'; `export {variable}=VALUE` sets a variable")
    path = _program(name, session) if programs else None
    if "/" not in name:
        try:
            if session.find_agent(name, session.connect(note)) is not None:
                return Builtin(["run", *words], agent=True)
        except KernelError:
            if path is None:
                raise
    if path is None:
        raise NoSuchCommand(_missing(name, session, programs=programs))
    return Program(path, words)


def _program(name: str, session: Session) -> str | None:
    return shutil.which(str(session.path(name)) if "/" in name else name, path=session.env.get("PATH"))


def nearest(name: str, names: list[str]) -> str:
    """The end of a message about a name that nothing has: the one that was probably meant."""
    close = difflib.get_close_matches(name, names, 1)
    return f"; did you mean '{close[0]}'?" if close else ""


def unknown_agent(name: str, session: Session) -> str:
    """The end of a message about an agent that is not there: its folder is, or the one that was probably meant."""
    here = paths()
    folder = here.agents / name
    if name and "/" not in name and folder.is_dir():
        return f"; what is wrong with {folder} is told in {here.log}"
    return nearest(name, list(session.agents))


def _missing(name: str, session: Session, *, programs: bool) -> str:
    kinds = "command, agent or program" if programs else "command or agent"
    hint = unknown_agent(name, session) or nearest(name, registry.first_words())
    return f"no {kinds} is called '{name}'{hint or '; see `aios help`'}"

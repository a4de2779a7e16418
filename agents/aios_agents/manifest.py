"""agent.toml: what an agent is called, what it does, and where its code or its prompt is.

An agent is a folder with an agent.toml. With `entry = "module:name"` a function in the folder's module, or a subclass
of Agent, is its program; with `system = "..."` it has no code, and the prompt, together with kernel tools named in
`tools`, is all of it. A folder with Cerebrum's config.json in its place is an agent too.
"""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from aios_agents import cerebrum
from aios_agents.generation import ChatOptions
from aios_kernel.protocol import AgentInfo, Overflow

BUNDLED: Final = Path(__file__).parent / "bundled"
FILE: Final = "agent.toml"
VENV: Final = ".venv"  # in the folder of an agent with requirements: the environment that it runs in

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_ENTRY: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_KEYS: Final[dict[str, type]] = {
    "name": str,
    "description": str,
    "entry": str,
    "system": str,
    "tools": list,
    "group": str,
    "reads_stdin": bool,
    "overflow": str,
    "limits": dict,
}
_LIMITS: Final[dict[str, tuple[type, ...]]] = {"max_tokens": (int,), "deadline_s": (int, float)}
_TYPE_NAMES: Final[dict[type, str]] = {
    str: "text",
    list: "a list of texts",
    bool: "true or false",
    dict: "a table",
}


class ManifestError(Exception):
    """A manifest that cannot be used; the message names file and key."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One valid manifest. Exactly one of `entry` and `system` is set."""

    name: str
    description: str
    folder: Path
    entry: str | None = None
    system: str | None = None
    tools: tuple[str, ...] = ()  # kernel tools
    group: str = "user"  # its processes are of this group, or of a lesser one where they are started so
    reads_stdin: bool = False  # where the manifest does not say, an agent without code does
    overflow: Overflow | None = None  # what to do with a prompt that outgrows the window; None: as configured
    max_tokens: int | None = None  # [limits]: the longest single reply; None: the protocol's default
    deadline_s: float | None = None  # [limits]: the longest that it runs where it is not started with a deadline
    foreign: bool = False  # a Cerebrum agent: a class with run(task)

    @property
    def bundled(self) -> bool:
        return self.folder.parent == BUNDLED

    def info(self) -> AgentInfo:
        source = "bundled" if self.bundled else str(self.folder)
        return AgentInfo(self.name, self.description, source, self.tools, self.group, self.reads_stdin, self.deadline_s)

    @property
    def python(self) -> Path | None:
        """The interpreter of its own environment; None: it runs in ours."""
        path = self.folder / VENV / "bin" / "python"
        return path if path.exists() else None

    @property
    def defaults(self) -> ChatOptions:
        """Options of its calls of the model."""
        options = ChatOptions()
        if self.max_tokens is not None:
            options["max_tokens"] = self.max_tokens
        if self.overflow is not None:
            options["overflow"] = self.overflow
        return options

    def load(self) -> Callable[..., Any]:
        """Import the entry and return its function or class. Raises ManifestError without one, else as the import does.

        A user's agent is imported with its folder first on sys.path, so only a process of its own may load it.
        """
        assert self.entry is not None
        module_name, _, function_name = self.entry.partition(":")
        if self.bundled:
            module_name = f"{__package__}.bundled.{self.folder.name}.{module_name}"
        elif str(self.folder) not in sys.path:
            sys.path.insert(0, str(self.folder))
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name != module_name:  # something that the agent imports
                raise
            raise ManifestError(f"{self.folder / FILE}: entry: there is no module {module_name}") from error
        function = getattr(module, function_name, None)
        if not callable(function):
            raise ManifestError(f"{self.folder / FILE}: entry: {module_name} has no function {function_name}")
        return cerebrum.program(function, self.folder) if self.foreign else function


def read(folder: Path) -> Manifest:
    """The manifest in `folder`. Raises ManifestError."""
    path = folder / FILE
    foreign = not path.exists() and (folder / cerebrum.FILE).exists()
    parse: Callable[[str], dict[str, Any]] = tomllib.loads
    if foreign:
        path, parse = folder / cerebrum.FILE, cerebrum.parse
    try:
        table = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ManifestError(f"{path}: there is none") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:  # the parser's own, and what some texts drive it into
        raise ManifestError(f"{path}: {error}" if foreign else f"{path}: not TOML: {error}") from error
    _check_types(path, table)
    _check_values(path, table)
    limits = table.get("limits", {})
    return Manifest(
        name=table["name"],
        description=table["description"],
        folder=folder,
        entry=table.get("entry"),
        system=table.get("system"),
        tools=tuple(table.get("tools", ())),
        group=table.get("group", "user"),
        reads_stdin=table.get("reads_stdin", "system" in table),
        overflow=Overflow(table["overflow"]) if "overflow" in table else None,
        max_tokens=limits.get("max_tokens"),
        deadline_s=limits.get("deadline_s"),
        foreign=foreign,
    )


def check_name(name: str, where: str = "") -> None:
    """Raises ManifestError, beginning with `where`, for what cannot be an agent's name."""
    if not _NAME.fullmatch(name):
        raise ManifestError(f"{where}{name!r} is not lower-case letters, digits, - and _ (at most 32)")


def _check_types(path: Path, table: dict[str, Any]) -> None:
    for key, value in table.items():
        if key not in _KEYS:
            raise ManifestError(f"{path}: {key}: unknown key; accepted are {', '.join(_KEYS)}")
        kind = _KEYS[key]
        if not isinstance(value, kind) or (kind is list and not all(isinstance(item, str) for item in table[key])):
            raise ManifestError(f"{path}: {key}: must be {_TYPE_NAMES[kind]}")
    for key in ("name", "description"):
        if not table.get(key):
            raise ManifestError(f"{path}: {key}: is missing")


def _check_values(path: Path, table: dict[str, Any]) -> None:
    check_name(table["name"], f"{path}: name: ")
    if "\n" in table["description"] or len(table["description"]) > 200:
        raise ManifestError(f"{path}: description: must be one line of at most 200 characters")
    if ("entry" in table) == ("system" in table):
        raise ManifestError(f"{path}: entry: give either entry (a program) or system (a prompt)")
    if "entry" in table and not _ENTRY.fullmatch(table["entry"]):
        raise ManifestError(f'{path}: entry: {table["entry"]!r} is not "module:function"')
    if table.get("overflow", Overflow.REFUSE) not in tuple(Overflow):
        raise ManifestError(f"{path}: overflow: must be one of {', '.join(Overflow)}")
    for key, value in table.get("limits", {}).items():
        if key not in _LIMITS:
            raise ManifestError(f"{path}: limits.{key}: unknown key; accepted are {', '.join(_LIMITS)}")
        if type(value) not in _LIMITS[key] or not 0 < value < float("inf"):
            kind = "integer" if _LIMITS[key] == (int,) else "number"
            raise ManifestError(f"{path}: limits.{key}: must be a positive {kind}")


def find(user_folder: Path | None) -> tuple[dict[str, Manifest], dict[str, ManifestError]]:
    """All agents by name, and what is wrong with the others by folder name.

    A user's agent hides a bundled one, also when it is broken: running another program instead would surprise.
    The bundled ones are read once; the user's folder is read anew each time.
    """
    agents, broken = _read_all(user_folder) if user_folder else ({}, {})
    bundled, broken_bundled = _read_bundled()
    unhidden = {name: agent for name, agent in bundled.items() if name not in broken}
    return {**unhidden, **agents}, {**broken_bundled, **broken}


def _read_all(parent: Path) -> tuple[dict[str, Manifest], dict[str, ManifestError]]:
    agents: dict[str, Manifest] = {}
    broken: dict[str, ManifestError] = {}
    folders = {path.parent for name in (FILE, cerebrum.FILE) for path in parent.glob(f"*/{name}")}
    for folder in sorted(folders):
        try:
            manifest = read(folder)
        except ManifestError as error:
            broken[folder.name] = error
        else:
            agents[manifest.name] = manifest
    return agents, broken


@cache
def _read_bundled() -> tuple[dict[str, Manifest], dict[str, ManifestError]]:
    return _read_all(BUNDLED)

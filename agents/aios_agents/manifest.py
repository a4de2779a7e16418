"""agent.toml: what an agent is called, what it does, and where its code or its prompt is.

An agent is a folder with an agent.toml. With `entry = "module:function"` the folder's module is its program; with
`system = "..."` it has no code, and the prompt, together with kernel tools named in `tools`, is all of it.
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

from aios_kernel.protocol import AgentInfo

BUNDLED: Final = Path(__file__).parent / "bundled"
FILE: Final = "agent.toml"

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
    "limits": dict,
}
_LIMITS: Final = ("max_tokens",)
_TYPE_NAMES: Final[dict[type, str]] = {
    str: "text",
    list: "a list of texts",
    bool: "true or false",
    dict: "a table",
}


class ManifestError(Exception):
    """An agent.toml that cannot be used; the message names file and key."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One valid agent.toml. Exactly one of `entry` and `system` is set."""

    name: str
    description: str
    folder: Path
    entry: str | None = None
    system: str | None = None
    tools: tuple[str, ...] = ()  # kernel tools
    group: str = "user"
    reads_stdin: bool = False
    max_tokens: int | None = None  # [limits]: the longest single reply; None: the protocol's default

    @property
    def bundled(self) -> bool:
        return self.folder.parent == BUNDLED

    def info(self) -> AgentInfo:
        source = "bundled" if self.bundled else str(self.folder)
        return AgentInfo(self.name, self.description, source, self.tools, self.group, self.reads_stdin)

    def load(self) -> Callable[..., Any]:
        """Import the entry and return its function. Raises ManifestError when there is none, else as the import does.

        A user's agent is imported with its folder first on sys.path, so only a process of its own may load it.
        """
        assert self.entry is not None
        module_name, _, function_name = self.entry.partition(":")
        if self.bundled:
            module_name = f"{__package__}.bundled.{self.folder.name}.{module_name}"
        elif str(self.folder) not in sys.path:
            sys.path.insert(0, str(self.folder))
        function = getattr(importlib.import_module(module_name), function_name, None)
        if not callable(function):
            raise ManifestError(f"{self.folder / FILE}: entry: {module_name} has no function {function_name}")
        return function  # type: ignore[no-any-return]  # callable() does not tell the signature


def read(folder: Path) -> Manifest:
    """The manifest in `folder`. Raises ManifestError."""
    path = folder / FILE
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:  # tomllib's own, and what some texts drive it into
        raise ManifestError(f"{path}: not TOML: {error}") from error
    _check_types(path, table)
    _check_values(path, table)
    return Manifest(
        name=table["name"],
        description=table["description"],
        folder=folder,
        entry=table.get("entry"),
        system=table.get("system"),
        tools=tuple(table.get("tools", ())),
        group=table.get("group", "user"),
        reads_stdin=table.get("reads_stdin", False),
        max_tokens=table.get("limits", {}).get("max_tokens"),
    )


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
    if not _NAME.fullmatch(table["name"]):
        raise ManifestError(f"{path}: name: {table['name']!r} is not lower-case letters, digits, - and _ (at most 32)")
    if "\n" in table["description"] or len(table["description"]) > 200:
        raise ManifestError(f"{path}: description: must be one line of at most 200 characters")
    if ("entry" in table) == ("system" in table):
        raise ManifestError(f"{path}: entry: give either entry (a program) or system (a prompt)")
    if "entry" in table and not _ENTRY.fullmatch(table["entry"]):
        raise ManifestError(f'{path}: entry: {table["entry"]!r} is not "module:function"')
    limits = table.get("limits", {})
    for key, value in limits.items():
        if key not in _LIMITS:
            raise ManifestError(f"{path}: limits.{key}: unknown key; accepted are {', '.join(_LIMITS)}")
        if type(value) is not int or value < 1:
            raise ManifestError(f"{path}: limits.{key}: must be a positive integer")


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
    for path in sorted(parent.glob(f"*/{FILE}")):
        try:
            manifest = read(path.parent)
        except ManifestError as error:
            broken[path.parent.name] = error
        else:
            agents[manifest.name] = manifest
    return agents, broken


@cache
def _read_bundled() -> tuple[dict[str, Manifest], dict[str, ManifestError]]:
    return _read_all(BUNDLED)

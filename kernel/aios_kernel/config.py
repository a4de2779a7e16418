"""config.toml, as one frozen dataclass. A wrong key or value is an error that names file, line and what is accepted."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from aios_kernel.access.config import AccessConfig
from aios_kernel.client.address import Address, parse_address
from aios_kernel.core import EngineConfig
from aios_kernel.errors import BadConfig, BadRequest
from aios_kernel.memory.config import MemoryConfig
from aios_kernel.protocol import Overflow
from aios_kernel.sandbox.config import SandboxConfig
from aios_kernel.storage.config import StorageConfig
from aios_kernel.tools.config import ToolsConfig
from aios_kernel.tools.mcp.config import ServerConfig


@dataclass(frozen=True, slots=True)
class Config:
    """What the user chose; absent keys have their defaults."""

    model: str | None = None  # reference, as `aios model ls` shows it; None: the embedded model
    listen: Address | None = None  # where foreign clients are answered on TCP; None: nowhere
    overflow: Overflow = Overflow.DROP_OLDEST  # what to do with a prompt that outgrows the window
    engine: EngineConfig = field(default_factory=EngineConfig)
    access: AccessConfig = field(default_factory=AccessConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    sandbox: SandboxConfig = field(default_factory=SandboxConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    tools: ToolsConfig = field(default_factory=ToolsConfig)
    mcp: dict[str, ServerConfig] = field(default_factory=dict)  # MCP servers by name


# section -> key -> (type, field of EngineConfig or of Config)
_KEYS: Final[dict[str, dict[str, tuple[type, str]]]] = {
    "model": {
        "ref": (str, "model"),
        "slots": (int, "slots"),
        "window": (int, "window"),
        "threads": (int, "threads"),
        "gpu_layers": (int, "gpu_layers"),
        "exact": (bool, "exact"),
    },
    "sched": {"policy": (str, "policy"), "quantum": (int, "quantum"), "step_ms": (int, "step_ms")},
    "context": {
        "overflow": (str, "overflow"),
        "ram_bytes": (int, "ram_bytes"),
        "disk_bytes": (int, "disk_bytes"),
        "prefix_bytes": (int, "prefix_bytes"),
    },
    "kernel": {"listen": (str, "listen")},
}
# Sections whose keys are the fields of a dataclass of their own, which is a field of Config under the section's name.
SECTIONS: Final[dict[str, type]] = {
    "access": AccessConfig,
    "memory": MemoryConfig,
    "sandbox": SandboxConfig,
    "storage": StorageConfig,
    "tools": ToolsConfig,
}
MCP: Final = "mcp"  # [mcp.NAME]: a section for each server
_TYPES: Final[dict[Any, type]] = {"int": int, "str": str, "bool": bool}
_TYPE_NAMES: Final = {str: "a text in quotes", int: "a whole number", bool: "true or false"}


def load(path: Path, policies: tuple[str, ...]) -> Config:
    """Read config.toml; a file that is not there means all defaults.

    Args:
        policies: accepted values of sched.policy.

    Raises:
        BadConfig: one line with file, line number and what is accepted.
    """
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except FileNotFoundError:
        return Config()
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        where = f"{path}:{found[1]}" if found else str(path)
        raise BadConfig(f"{where}: {error}", file=str(path)) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise BadConfig(f"{path}:{line}: this is not UTF-8", file=str(path), line=line) from error
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror}", file=str(path)) from error
    return _Checker(path, text, policies).check(table)


class _Checker:
    def __init__(self, path: Path, text: str, policies: tuple[str, ...]) -> None:
        self._path, self._text, self._policies = path, text, policies

    def check(self, table: dict[str, Any]) -> Config:
        values: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for section, body in table.items():
            if section not in _KEYS and section not in SECTIONS and section != MCP:
                raise self._error(section, "", _unknown("section", section, _KEYS | SECTIONS | {MCP: None}))
            if not isinstance(body, dict):
                raise self._error(section, "", f"{section} is a section: write [{section}]")
            if section == MCP:
                own[MCP] = self._servers(body)
            elif section in SECTIONS:
                own[section] = self._section(section, body)
            else:
                values.update(self._values(section, body, _KEYS[section]))
        self._check_choice("sched", "policy", values, self._policies)
        self._check_choice("context", "overflow", values, tuple(Overflow))
        model, overflow = values.pop("model", None), Overflow(values.pop("overflow", Overflow.DROP_OLDEST))
        try:
            listen = parse_address(values.pop("listen")) if "listen" in values else None
            return Config(model, listen, overflow, EngineConfig(**values), **own)
        except (BadConfig, BadRequest) as error:
            key = str(error.data.get("key", ""))
            section = next((name for name, keys in _KEYS.items() if key in keys), "")
            raise self._error(section, key, error.message) from error

    def _values(self, section: str, body: dict[str, Any], keys: dict[str, tuple[type, str]]) -> dict[str, Any]:
        """A section's values by what its keys mean."""
        values = {}
        for key, value in body.items():
            if key not in keys:
                raise self._error(section, key, _unknown("key", key, keys))
            kind, target = keys[key]
            if type(value) is not kind:
                raise self._error(section, key, f"{key} = {value!r}: must be {_TYPE_NAMES[kind]}")
            values[target] = value
        return values

    def _section(self, section: str, body: dict[str, Any]) -> Any:
        """A section that has a dataclass of its own."""
        keys = {each.name: (_TYPES[each.type], each.name) for each in fields(SECTIONS[section])}
        try:
            return SECTIONS[section](**self._values(section, body, keys))
        except BadConfig as error:
            if "file" in error.data:
                raise
            raise self._error(section, str(error.data.get("key", "")), error.message) from error

    def _servers(self, body: dict[str, Any]) -> dict[str, ServerConfig]:
        servers = {}
        for name, table in body.items():
            if not isinstance(table, dict):
                raise self._error(MCP, name, f"{name} is the name of a server: write [mcp.{name}]")
            try:
                servers[name] = ServerConfig.parse(name, table)
            except BadConfig as error:
                raise self._error(f"{MCP}.{name}", str(error.data["key"]), f"[mcp.{name}] {error.message}") from error
        return servers

    def _check_choice(self, section: str, key: str, values: dict[str, Any], accepted: tuple[str, ...]) -> None:
        value = values.get(key)
        if value is not None and value not in accepted:
            raise self._error(section, key, f"{key} = {value!r}: must be one of {', '.join(accepted)}")

    def _error(self, section: str, key: str, message: str) -> BadConfig:
        line = line_of(self._text, section, key)
        where = f"{self._path}:{line}" if line else str(self._path)
        return BadConfig(f"{where}: {message}", file=str(self._path), line=line, section=section, key=key)


def _unknown(what: str, name: str, accepted: dict[str, Any]) -> str:
    near = difflib.get_close_matches(name, accepted, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"unknown {what} {name!r}{hint} (accepted: {', '.join(accepted)})"


def line_of(text: str, section: str, key: str) -> int | None:
    """Line number, from 1, of `key` in [section] (or of the section itself when key is ""), None when not found.

    tomllib keeps no positions. The forms of plain configuration files are known: a key below its header, a dotted key,
    an inline table.
    """
    bare = r"[\"']?{}[\"']?".format
    header = re.compile(rf"\s*\[\s*{bare(re.escape(section))}\s*\]")
    own = re.compile(rf"\s*{bare(re.escape(key))}\s*=")
    dotted = re.compile(rf"\s*{bare(re.escape(section))}\s*(\.\s*{bare(re.escape(key))}\s*=|=.*\b{re.escape(key)}\b)")
    current = False
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"\s*\[", line):
            current = header.match(line) is not None
        if (not key and (current or re.match(rf"\s*{bare(re.escape(section))}\s*[.=]", line))) or (
            key and ((current and own.match(line)) or dotted.match(line))
        ):
            return number
    return None

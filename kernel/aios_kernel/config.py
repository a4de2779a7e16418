"""config.toml, as one frozen dataclass. A wrong key or value is an error that names file, line and what is accepted."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from aios_kernel.access.config import AccessConfig
from aios_kernel.client.address import Address, parse_address
from aios_kernel.client.toml import TomlFile, unknown
from aios_kernel.core import EngineConfig
from aios_kernel.errors import BadConfig, BadRequest
from aios_kernel.memory.config import MemoryConfig
from aios_kernel.protocol import Overflow
from aios_kernel.sandbox.config import SandboxConfig
from aios_kernel.storage.config import StorageConfig
from aios_kernel.tools.config import ToolsConfig
from aios_kernel.tools.mcp.config import ServerConfig


@dataclass(frozen=True, slots=True)
class JournalConfig:
    max_bytes: int = 4 << 30  # of all processes' events and syscalls; beyond, those of the longest ended go

    def __post_init__(self) -> None:
        if not 1 << 30 <= self.max_bytes <= 1 << 50:
            raise BadConfig(f"max_bytes = {self.max_bytes}: must be {1 << 30} to {1 << 50}", key="max_bytes")


@dataclass(frozen=True, slots=True)
class Config:
    """What the user chose; absent keys have their defaults."""

    model: str | None = None  # reference, as `aios model ls` shows it; None: the embedded model
    listen: Address | None = None  # where foreign clients are answered on TCP; None: nowhere
    overflow: Overflow = Overflow.DROP_OLDEST  # what to do with a prompt that outgrows the window
    engine: EngineConfig = field(default_factory=EngineConfig)
    access: AccessConfig = field(default_factory=AccessConfig)
    journal: JournalConfig = field(default_factory=JournalConfig)
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
    "journal": JournalConfig,
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
        file = TomlFile.read(path)
    except FileNotFoundError:
        return Config()
    return _Checker(file, policies).check(file.table)


class _Checker:
    def __init__(self, file: TomlFile, policies: tuple[str, ...]) -> None:
        self._file, self._policies = file, policies

    def check(self, table: dict[str, Any]) -> Config:
        values: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for section, body in table.items():
            if section not in _KEYS and section not in SECTIONS and section != MCP:
                raise self._file.error(section, "", unknown("section", section, _KEYS | SECTIONS | {MCP: None}))
            if not isinstance(body, dict):
                raise self._file.error(section, "", f"{section} is a section: write [{section}]")
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
            raise self._file.error(section, key, error.message) from error

    def _values(self, section: str, body: dict[str, Any], keys: dict[str, tuple[type, str]]) -> dict[str, Any]:
        """A section's values by what its keys mean."""
        values = {}
        for key, value in body.items():
            if key not in keys:
                raise self._file.error(section, key, unknown("key", key, keys))
            kind, target = keys[key]
            if type(value) is not kind:
                raise self._file.error(section, key, f"{key} = {value!r}: must be {_TYPE_NAMES[kind]}")
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
            raise self._file.error(section, str(error.data.get("key", "")), error.message) from error

    def _servers(self, body: dict[str, Any]) -> dict[str, ServerConfig]:
        servers = {}
        for name, table in body.items():
            if not isinstance(table, dict):
                raise self._file.error(MCP, name, f"{name} is the name of a server: write [mcp.{name}]")
            try:
                servers[name] = ServerConfig.parse(name, table)
            except BadConfig as error:
                raise self._file.error(
                    f"{MCP}.{name}", str(error.data["key"]), f"[mcp.{name}] {error.message}"
                ) from error
        return servers

    def _check_choice(self, section: str, key: str, values: dict[str, Any], accepted: tuple[str, ...]) -> None:
        value = values.get(key)
        if value is not None and value not in accepted:
            raise self._file.error(section, key, f"{key} = {value!r}: must be one of {', '.join(accepted)}")

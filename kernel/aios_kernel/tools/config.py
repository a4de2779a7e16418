"""[tools] of config.toml."""

from __future__ import annotations

from dataclasses import dataclass

from aios_kernel.errors import BadConfig


@dataclass(frozen=True, slots=True)
class ToolsConfig:
    http_fetch: bool = False  # the tool http_fetch; a person is asked before it connects to a host
    python: bool = True  # the tool python, in the sandbox
    shell: bool = True  # the tool shell, in the sandbox
    timeout_s: int = 30  # that one run of python, shell, table_query and functions of packages may take
    memory_bytes: int = 512 << 20  # of one such run

    def __post_init__(self) -> None:
        for key, low, high in (("timeout_s", 1, 86_400), ("memory_bytes", 64 << 20, 1 << 50)):
            value = getattr(self, key)
            if not low <= value <= high:
                raise BadConfig(f"{key} = {value}: must be {low} to {high}", key=key, low=low, high=high)

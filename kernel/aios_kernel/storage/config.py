"""[storage] of config.toml."""

from __future__ import annotations

from dataclasses import dataclass

from aios_kernel.errors import BadConfig


@dataclass(frozen=True, slots=True)
class StorageConfig:
    agent_bytes: int = 1 << 30  # that one agent may keep, all versions together, each content once
    agent_files: int = 20_000  # that one agent may keep, those in its bin too
    file_bytes: int = 8 << 20  # of one file
    versions: int = 100  # kept of one file; beyond, the oldest go
    bin_days: int = 30  # that a deleted file can be restored

    def __post_init__(self) -> None:
        bounds = {
            "agent_bytes": (1 << 20, 1 << 50),
            "agent_files": (1, 1_000_000),
            "file_bytes": (1, 8 << 20),  # in base64 it still fits a syscall
            "versions": (1, 100_000),
            "bin_days": (0, 36_500),
        }
        for key, (low, high) in bounds.items():
            value = getattr(self, key)
            if not low <= value <= high:
                raise BadConfig(f"{key} = {value}: must be {low} to {high}", key=key, low=low, high=high)

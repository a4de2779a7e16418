"""[memory] of config.toml."""

from __future__ import annotations

from dataclasses import dataclass

from aios_kernel.errors import BadConfig


@dataclass(frozen=True, slots=True)
class MemoryConfig:
    embedding: str = ""  # reference or path of the model that finds by meaning; "": words alone find
    ram_bytes: int = 128 << 20  # interaction logs and notes' vectors in memory; beyond, they go to storage and back
    log_bytes: int = 1 << 30  # interaction logs of all processes; beyond, the longest loses its beginning
    agent_bytes: int = 64 << 20  # notes of one agent, vectors and former versions included

    def __post_init__(self) -> None:
        for key, low in (("ram_bytes", 1 << 16), ("log_bytes", 1 << 16), ("agent_bytes", 1 << 16)):
            value = getattr(self, key)
            if not low <= value <= 1 << 50:
                raise BadConfig(f"{key} = {value}: must be {low} to {1 << 50}", key=key, low=low, high=1 << 50)

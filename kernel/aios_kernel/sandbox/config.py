"""[sandbox] of config.toml."""

from __future__ import annotations

from dataclasses import dataclass

from aios_kernel.errors import BadConfig


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    agents: bool = True  # they are confined where that can be had; false: they have all the rights that you have
    unprotected: bool = False  # python and shell tools run as you where they cannot be confined; false: they refuse to
    memory_bytes: int = 4 << 30  # of an agent's address space
    scratch_bytes: int = 256 << 20  # of all that is in an agent's folder at a time
    output_bytes: int = 256 << 20  # of standard output and error in an agent's life
    threads: int = 64  # of an agent
    cpu_s: int = 86_400  # of processor time in an agent's life

    def __post_init__(self) -> None:
        for key, low, high in (
            ("memory_bytes", 256 << 20, 1 << 50),
            ("scratch_bytes", 1 << 20, 1 << 50),
            ("output_bytes", 1 << 20, 1 << 50),
            ("threads", 4, 4_096),
            ("cpu_s", 1, 10 * 365 * 86_400),
        ):
            value = getattr(self, key)
            if not low <= value <= high:
                raise BadConfig(f"{key} = {value}: must be {low} to {high}", key=key, low=low, high=high)

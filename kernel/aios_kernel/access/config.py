"""[access] of config.toml."""

from __future__ import annotations

from dataclasses import dataclass

from aios_kernel.errors import BadConfig


@dataclass(frozen=True, slots=True)
class AccessConfig:
    answer_s: int = 300  # seconds that a question waits for a person; then it is answered with no
    audit_bytes: int = 512 << 20  # of the audit log; beyond, the oldest rows are dropped, which a row tells

    def __post_init__(self) -> None:
        for key, low, high in (("answer_s", 1, 7 * 86_400), ("audit_bytes", 16 << 20, 1 << 50)):
            value = getattr(self, key)
            if not low <= value <= high:
                raise BadConfig(f"{key} = {value}: must be {low} to {high}", key=key, low=low, high=high)

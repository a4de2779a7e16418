"""A store on real files, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aios_kernel.storage.config import StorageConfig
from aios_kernel.storage.store import Store
from aios_kernel.testing import FakeClock


def open_store(folder: Path, clock: FakeClock | None = None, **config: Any) -> Store:
    return Store("me", folder / "files", folder / "kept", StorageConfig(**config), clock or FakeClock())

"""The storage manager: files of agents in jails, every version of them, a bin, shares, mounts, searches."""

from aios_kernel.storage.config import StorageConfig
from aios_kernel.storage.manager import StorageManager

__all__ = ["StorageConfig", "StorageManager"]

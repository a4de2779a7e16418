"""The first NVIDIA GPU, by the driver's own library where there is one.

Source: NVML API reference, "Device Queries" and "Initialization and Cleanup"; the library's calls return 0 for success.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Final

LIBRARY: Final = "libnvidia-ml.so.1"
NAME_BYTES: Final = 96  # NVML_DEVICE_NAME_V2_BUFFER_SIZE


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))  # percent of the last sample, up to a second long


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))  # bytes


@dataclass(frozen=True, slots=True)
class GpuReading:
    """What the driver tells; None where it does not, as of a part of a GPU. Memory in bytes."""

    percent: float | None
    used: int | None
    total: int | None


class Gpu:
    """An open device. Keeps the library initialised for the life of the process."""

    def __init__(self, library: Any, device: ctypes.c_void_p, name: str) -> None:
        self._library = library
        self._device = device
        self.name = name

    def read(self) -> GpuReading:
        use, memory = _Utilization(), _Memory()
        told = self._library.nvmlDeviceGetUtilizationRates(self._device, ctypes.byref(use)) == 0
        known = self._library.nvmlDeviceGetMemoryInfo(self._device, ctypes.byref(memory)) == 0
        return GpuReading(
            percent=float(use.gpu) if told else None,
            used=int(memory.used) if known else None,
            total=int(memory.total) if known else None,
        )


def open_gpu() -> Gpu | None:
    """None where there is no NVIDIA driver, or no GPU that it would tell of."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    device, name = ctypes.c_void_p(), ctypes.create_string_buffer(NAME_BYTES)
    if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device)):
        return None
    if library.nvmlDeviceGetName(device, name, NAME_BYTES):
        return None
    return Gpu(library, device, name.value.decode(errors="replace"))

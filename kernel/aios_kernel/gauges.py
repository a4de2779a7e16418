"""What the machine under the kernel is doing: read once a second for all who watch, only while somebody does."""

from __future__ import annotations

from typing import Final

import psutil

from aios_kernel.gpu import Gpu, open_gpu
from aios_kernel.protocol import HostInfo

EVERY_S: Final = 1.0  # a reading costs 0.1 ms, and shorter samples of the CPU are noise


class Gauges:
    """Event loop only."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._gpu: Gpu | None = None
        self._last: tuple[float, HostInfo] | None = None

    def read(self, now: float) -> HostInfo:
        """The last reading, or a new one when that is a second old. now: seconds, monotonic."""
        if self._last is None:
            self._gpu = open_gpu()
        if self._last is None or now - self._last[0] >= EVERY_S:
            self._last = now, self._read()
        return self._last[1]

    def _read(self) -> HostInfo:
        memory = psutil.virtual_memory()
        gpu = self._gpu.read() if self._gpu is not None else None
        return HostInfo(
            cpu_percent=psutil.cpu_percent(),  # since the last reading; at first since the kernel started
            cores=psutil.cpu_count() or 1,
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            kernel_rss=self._process.memory_info().rss,
            gpu=self._gpu.name if self._gpu is not None else "",
            gpu_percent=gpu.percent if gpu is not None else None,
            gpu_used=gpu.used if gpu is not None else None,
            gpu_total=gpu.total if gpu is not None else None,
        )

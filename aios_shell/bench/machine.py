"""The machine that figures were taken on, and what ran there."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Machine:
    cpu: str
    cores: int  # that this process may use
    memory_bytes: int
    os: str
    python: str
    llama_cpp_python: str
    aios_shell: str


def describe() -> Machine:
    return Machine(
        cpu=_cpu_model(),
        cores=num_cores(),
        memory_bytes=psutil.virtual_memory().total,
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        llama_cpp_python=version("llama-cpp-python"),
        aios_shell=version("aios-shell"),
    )


def num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):  # not Linux, or an ARM
        return platform.processor() or platform.machine()

"""kernel start, stop, restart, status."""

from __future__ import annotations

import os
import sys

from aios_kernel.client import KernelClient, launch
from aios_shell import render
from aios_shell.io import Io


def start(io: Io, foreground: bool) -> None:
    if foreground:
        os.execv(sys.executable, [sys.executable, "-m", "aios_kernel", "--foreground"])  # noqa: S606 -- becomes the kernel
    status = io.session.connect(io.note).status()
    io.note(f"the kernel runs (pid {status.pid})")


def stop(io: Io) -> None:
    if not launch.stop():
        io.note("no kernel runs")


def restart(io: Io) -> None:
    launch.stop()
    start(io, foreground=False)


def status(io: Io, json: bool) -> int:
    """Asks the kernel that is there and starts none. Exit code 3 without one."""
    info = KernelClient().status()
    if json:
        render.json(io, info)
        return 0
    pairs = [
        ("pid", info.pid),
        ("version", info.version),
        ("socket", info.socket),
        ("url", info.url or "not listening"),
        ("model", f"{info.model} ({info.model_state})"),
        ("policy", info.policy),
        ("exact", "yes" if info.exact else f"no: {info.exact_reason}"),
        ("up", render.span(info.uptime_s * 1000)),
        ("slots", f"{info.slots_used} of {info.slots}"),
        ("threads", info.threads),
        ("processes", info.procs),
        ("tokens/s", f"{info.tok_per_s:.1f}"),
        ("contexts", f"{render.size(info.kv_bytes)} in slots, {render.size(info.ram_bytes)} in memory"),
    ]
    render.facts(io, pairs)
    return 0

"""kernel start, stop, restart, status, key."""

from __future__ import annotations

import os
import sys

from aios_kernel.client import KernelClient, launch
from aios_kernel.client.address import Address, parse_address
from aios_kernel.errors import InvalidState, KernelUnreachable
from aios_shell import render
from aios_shell.io import Io


def start(io: Io, listen: str | None, foreground: bool) -> None:
    address = parse_address(listen) if listen is not None else None
    if foreground:
        words = ["--listen", str(address)] if address is not None else []
        os.execv(sys.executable, [sys.executable, "-m", "aios_kernel", "--foreground", *words])  # noqa: S606 -- becomes the kernel
    _start(io, address)


def _start(io: Io, address: Address | None) -> None:
    """Raises InvalidState when a kernel runs that listens elsewhere."""
    info = launch.connect(io.note, address).status()
    at = parse_address(info.url) if info.url else None
    if address is not None and (at is None or at.host != address.host or address.port not in (0, at.port)):
        raise InvalidState(
            f"a kernel runs already (pid {info.pid}) and listens {f'on {at}' if at else 'nowhere'}: "
            f"`aios kernel restart --listen {address}`"
        )
    io.note(f"the kernel runs (pid {info.pid})" + (f" and listens on {info.url}" if at else ""))
    if at is not None and not at.is_loopback:
        io.note(f"warning: {at} is plain HTTP: whoever can read the network there can read the key")


def stop(io: Io) -> None:
    if not launch.stop():
        io.note("no kernel runs")


def restart(io: Io, listen: str | None) -> None:
    """Without `listen` the new kernel listens where the old one does."""
    address = parse_address(listen) if listen is not None else _listens_on()
    launch.stop()
    _start(io, address)


def _listens_on() -> Address | None:
    try:
        url = KernelClient().status().url
    except KernelUnreachable:
        return None
    return parse_address(url) if url else None


def key(io: Io, group: str, new: bool, json: bool) -> None:
    info = io.session.connect(io.note).key(group, new=new)
    if json:
        render.json(io, info)
    else:
        io.line(info.key)


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
        ("policy", f"{info.policy}, quantum {info.quantum}"),
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

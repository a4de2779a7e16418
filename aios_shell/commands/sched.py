"""queue, sched."""

from __future__ import annotations

from aios_shell import render
from aios_shell.io import Io


def queue(io: Io, json: bool) -> None:
    client = io.session.connect(io.note)
    entries = client.queue()
    if json:
        render.json(io, entries)
        return
    rows = [
        (
            entry.pid,
            entry.queue,
            entry.position,
            "" if entry.queue == "running" or entry.eta_ms is None else render.span(entry.eta_ms),
            entry.reason,
        )
        for entry in entries
    ]
    render.table(io, ("PID", "QUEUE", "POS", "ETA", "WHY"), rows, right=frozenset({"PID", "POS", "ETA"}))
    error = client.status().eta_error
    if error is not None and io.tty(io.stdout) and any(entry.queue == "ready" for entry in entries):
        io.note(f"estimates of late were {error:.0%} off (median)")


def sched(io: Io, policy: str | None, quantum: int | None, json: bool) -> None:
    client = io.session.connect(io.note)
    info = client.sched()
    if policy is not None or quantum is not None:
        info = client.set_sched(policy or info.policy, quantum)
    if json:
        render.json(io, info)
        return
    render.facts(io, [("policy", info.policy), ("quantum", info.quantum), ("policies", ", ".join(info.policies))])

"""queue, sched, snap ls."""

from __future__ import annotations

import datetime

from aios_shell import render
from aios_shell.io import Io


def queue(io: Io, json: bool) -> None:
    entries = io.session.connect(io.note).queue()
    if json:
        render.json(io, entries)
        return
    rows = [
        (
            entry.pid,
            entry.queue,
            entry.position,
            ", ".join(map(str, entry.behind)),
            "" if entry.eta_ms is None else render.span(entry.eta_ms),
            entry.reason,
        )
        for entry in entries
    ]
    render.table(io, ("PID", "QUEUE", "POS", "BEHIND", "ETA", "WHY"), rows, right=frozenset({"PID", "POS", "ETA"}))


def sched(io: Io, policy: str | None, quantum: int | None, json: bool) -> None:
    client = io.session.connect(io.note)
    info = client.sched()
    if policy is not None or quantum is not None:
        info = client.set_sched(policy or info.policy, quantum)
    if json:
        render.json(io, info)
        return
    render.facts(io, [("policy", info.policy), ("quantum", info.quantum), ("policies", ", ".join(info.policies))])


def snap_ls(io: Io, json: bool) -> None:
    snapshots = io.session.connect(io.note).snapshots()
    if json:
        render.json(io, snapshots)
        return
    rows = [
        (
            snap.id,
            snap.pid,
            snap.tokens,
            render.size(snap.bytes),
            snap.tier.value,
            datetime.datetime.fromtimestamp(snap.created_at).strftime("%Y-%m-%d %H:%M:%S"),
            "yes" if snap.exact else "no",
        )
        for snap in snapshots
    ]
    columns = ("ID", "PID", "TOKENS", "SIZE", "TIER", "CREATED", "EXACT")
    render.table(io, columns, rows, right=frozenset({"PID", "TOKENS", "SIZE"}))

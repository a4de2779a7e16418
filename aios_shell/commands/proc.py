"""ps, kill, suspend, resume, nice, wait."""

from __future__ import annotations

from collections.abc import Callable

from aios_kernel.errors import BadRequest, KernelError, NoSuchProcess, row_of
from aios_kernel.protocol import SIGNAL_NUMBERS, ProcInfo, ProcState, Signal
from aios_shell import render
from aios_shell.io import Io
from aios_shell.session import exit_status, wait_for

_COLUMNS = ("PID", "PPID", "AGENT", "STATE", "NI", "TOKENS", "TOK/S", "CTX", "KV", "WAIT", "TIME", "WHY", "TASK")
_RIGHT = frozenset({"PID", "PPID", "NI", "TOKENS", "TOK/S", "CTX", "KV", "WAIT", "TIME"})

_SPARE = ("PPID", "KV", "WAIT", "NI", "TIME", "TOK/S", "CTX", "WHY")


def ps(io: Io, all: bool, tree: bool, json: bool) -> None:
    procs = io.session.connect(io.note).procs(all=all)
    procs.sort(key=lambda proc: (proc.state is not ProcState.ASKING, proc.pid))
    if json:
        render.json(io, procs)
        return
    depths = _depths(procs) if tree else [(proc, 0) for proc in procs]
    render.table(io, _COLUMNS, [_row(proc, depth) for proc, depth in depths], right=_RIGHT, spare=_SPARE)


def _row(proc: ProcInfo, depth: int) -> tuple[object, ...]:
    ended = proc.exit_code is not None
    whys = [f"code {proc.exit_code}" if ended else "", proc.reason, proc.window, "" if proc.exact else "not exact"]
    return (
        proc.pid,
        proc.ppid,
        "  " * depth + proc.agent,
        proc.state.value,
        proc.nice,
        proc.tokens_out,
        "" if ended else f"{proc.tok_per_s:.1f}",
        f"!{proc.ctx_used}" if proc.window else proc.ctx_used,
        render.size(proc.kv_bytes),
        render.span(proc.wait_ms),
        render.span(proc.turnaround_ms),
        ", ".join(filter(None, whys)),
        proc.task,
    )


def _depths(procs: list[ProcInfo]) -> list[tuple[ProcInfo, int]]:
    """Each child under its parent; one whose parent is not listed stands at the root."""
    pids = {proc.pid for proc in procs}
    children: dict[int, list[ProcInfo]] = {}
    for proc in procs:
        children.setdefault(proc.ppid if proc.ppid in pids else 0, []).append(proc)
    ordered: list[tuple[ProcInfo, int]] = []
    pending = [(proc, 0) for proc in reversed(children.get(0, []))]
    while pending:
        proc, depth = pending.pop()
        ordered.append((proc, depth))
        pending += [(child, depth + 1) for child in reversed(children.get(proc.pid, []))]
    return ordered


def kill(io: Io, pids: list[int], signal: str) -> int:
    client = io.session.connect(io.note)
    number = _signal(signal)
    return _each(io, pids, lambda pid: client.signal(pid, number))


def suspend(io: Io, pids: list[int]) -> int:
    client = io.session.connect(io.note)
    return _each(io, pids, lambda pid: client.signal(pid, Signal.STOP))


def resume(io: Io, pids: list[int]) -> int:
    client = io.session.connect(io.note)
    return _each(io, pids, lambda pid: client.signal(pid, Signal.CONT))


def nice(io: Io, nice: int, pids: list[int]) -> int:
    client = io.session.connect(io.note)
    return _each(io, pids, lambda pid: client.nice(pid, nice))


def wait(io: Io, pids: list[int], state: str, timeout: float | None) -> int:
    """The exit status of the last process named, as in sh; 0 when it is alive in the state asked for."""
    if not pids:
        io.session.wait_jobs()
        return 0
    try:
        wanted = ProcState(state)
    except ValueError:
        raise BadRequest(f"no state is called '{state}'; there are {', '.join(ProcState)}") from None
    client = io.session.connect(io.note)
    return [exit_status(wait_for(client, pid, wanted, timeout, lambda: io.cancel.fired)) for pid in pids][-1]


def _each(io: Io, pids: list[int], act: Callable[[int], ProcInfo]) -> int:
    """Do it to each; a process that is not there does not keep the others from it."""
    status = 0
    for pid in pids:
        try:
            act(pid)
        except KernelError as error:
            io.note(error.message if isinstance(error, NoSuchProcess) else f"{pid}: {error.message}")
            status = row_of(error).exit
    return status


def _signal(name: str) -> Signal:
    """TERM, SIGTERM, term or 15. Raises BadRequest."""
    plain = name.upper().removeprefix("SIG")
    for signal, number in SIGNAL_NUMBERS.items():
        if plain in (signal.value, str(number)):
            return signal
    known = ", ".join(f"{signal} ({number})" for signal, number in SIGNAL_NUMBERS.items())
    raise BadRequest(f"no signal is called '{name}'; there are {known}")

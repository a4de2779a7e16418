"""One reply is decoded while another program keeps the cores busy: first a program that never sleeps, then a second
llama.cpp with a thread for every core.

llama.cpp's threads wait for each other hundreds of times a token, so one that loses its core stalls the rest. What
can be hoped for is the share of the CPU that is left over: the cores that the neighbour does not use, and at least
half of them, times the speed with nothing beside. The kernel gives up threads in time to come near that.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from aios_shell.bench import Setting
from aios_shell.bench.lab import busy_program, second_llama
from aios_shell.bench.machine import num_cores
from aios_shell.bench.measure import Chart, Goal, Measure, Run, Series, measure
from aios_shell.bench.peer import choose, warm
from aios_shell.bench.replay import Endpoint, Reply, RequestFailed, play
from aios_shell.bench.trace import Conversation, Trace, Turn, Writer

SLOTS: Final = 8
TOKENS: Final = 96
ADAPT_TOKENS: Final = 16  # of a first reply, which is not measured: the threads are seen to be in the way
LIMIT_S: Final = 20.0  # then the client hangs up and counts what has come
DEADLINE_S: Final = 120.0
GOAL: Final = Goal(0.8, "at least")

ALONE: Final = "alone"
# name -> (how it reads, cores that it uses, None: all)
NEIGHBOURS: Final[dict[str, tuple[str, int | None]]] = {
    "busy": ("beside a busy program", 1),
    "llama": ("beside a second llama.cpp", None),
}


def left_over(cores: int, used: int | None) -> float:
    """The share of the CPU (0 to 1) that a neighbour on so many cores leaves: half, when it uses all or most."""
    return max(cores - (cores if used is None else used), cores / 2) / cores


def trace(writer: Writer, quick: bool) -> Trace:
    adapt, tokens, limit_s = (4, 8, 5.0) if quick else (ADAPT_TOKENS, TOKENS, LIMIT_S)
    turns = (Turn(writer.story(), adapt, limit_s), Turn("Go on with it.", tokens, limit_s))
    return Trace((Conversation("decode", 0.0, turns),), DEADLINE_S)


def decode_rate(replies: Sequence[Reply]) -> float:
    """Tokens a second of the last reply, its first token left out: that one is the prefill's. Raises RequestFailed."""
    last = max(replies, key=lambda reply: reply.turn)
    if last.error:
        raise RequestFailed(f"the request failed: {last.error}")
    if last.first_s is None or last.ended_s <= last.first_s:
        return 0.0
    return (last.tokens_out - 1) / (last.ended_s - last.first_s)


def runs(setting: Setting) -> Generator[Run, None, None]:
    """Yields {"cores", "peer_name", "alone"|"busy"|"llama": {"ours", "peer"}} with tokens a second."""
    peer = choose(setting.peers, SLOTS)
    setting.begin(setting.runs * (1 + len(NEIGHBOURS)) * (2 if peer else 1))
    with setting.lab({"model": {"slots": SLOTS}}, listen=True) as here:
        servers = {"ours": here.endpoint(), **({"peer": peer} if peer else {})}
        warm(servers["ours"])
        beside: dict[str, Callable[[], AbstractContextManager[Any]]] = {
            ALONE: nullcontext,
            "busy": busy_program,
            "llama": lambda: second_llama(here.model),
        }
        for number in range(setting.runs):
            run: Run = {"cores": num_cores(), "peer_name": peer.label if peer else ""}
            for name, neighbour in beside.items():
                with neighbour():
                    run[name] = _rates(setting, number, name, servers)
            yield run


def _rates(setting: Setting, number: int, name: str, servers: dict[str, Endpoint]) -> dict[str, float]:
    sides = list(servers) if number % 2 == 0 else list(servers)[::-1]
    rates = {}
    for side in sides:
        setting.step(f"run {number + 1}, {NEIGHBOURS[name][0] if name in NEIGHBOURS else name}, {side}")
        words = Writer(f"{setting.name} {setting.seed} {number} {name}")
        rates[side] = decode_rate(play(trace(words, setting.quick), servers[side]))
    return rates


def measures(runs: Sequence[Run]) -> list[Measure]:
    found = []
    for name, (reads, used) in NEIGHBOURS.items():
        ours = [run[name]["ours"] for run in runs]
        shares = [left_over(run["cores"], used) * run[ALONE]["ours"] for run in runs]
        found.append(
            measure(reads, ours, shares, unit="tok/s", peer_name="alone, times the share of the CPU left", goal=GOAL)
        )
    for name, reads in ((ALONE, "with nothing beside"), *((key, row[0]) for key, row in NEIGHBOURS.items())):
        peers = [run[name]["peer"] for run in runs if "peer" in run[name]]
        if peers:
            ours = [run[name]["ours"] for run in runs]
            found.append(measure(f"{reads}, both", ours, peers, unit="tok/s", peer_name=runs[0]["peer_name"]))
    return found


def charts(runs: Sequence[Run]) -> list[Chart]:
    names = (ALONE, *NEIGHBOURS)
    labels = (ALONE, *(row[0] for row in NEIGHBOURS.values()))
    series = []
    for side in ("ours", "peer"):
        if side in runs[0][ALONE]:
            rates = tuple(measure(name, [run[name][side] for run in runs], unit="").ours for name in names)
            series.append(Series(side, labels, rates))
    return [Chart("Decoding beside other programs", "bars", "", "tokens/s", tuple(series))]

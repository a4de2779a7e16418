"""250, 500, 1,000 and 2,000 agents are started, each a process of its own, and wait for a message: all are alive at
the same moment. Then each gets its message, asks the model one short question and ends.

The time from the first start to the last end should grow in proportion to their number (R² of the straight line
through the four). The kernel's memory is that of its process at the worst moment. Contexts that it keeps off their
slots have budgets of their own ([context] in config.toml); besides those, it may grow by no more than a little for
each agent. An agent's own memory is what its process does not share with the others.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Sequence
from typing import Final

import psutil

from aios_kernel.errors import InternalError
from aios_kernel.protocol import KernelStatus, ProcState
from aios_shell.bench import Setting
from aios_shell.bench.lab import Lab, until
from aios_shell.bench.measure import Chart, Goal, Measure, Run, Series, failed, measure
from aios_shell.bench.stats import r_squared, slope
from aios_shell.bench.trace import Writer

SIZES: Final = (250, 500, 1000, 2000)
QUICK_SIZES: Final = (4, 12)
SYSTEM: Final = (
    "You are one of many agents. Answer with a single word, in lower case, and with nothing else: no greeting, "
    "no explanation, no full stop."
)
TOKENS: Final = 4
ALIVE_S: Final = 120.0  # for all of them to have come to wait for their message
END_S: Final = 900.0
LOOK_EVERY_S: Final = 0.5  # at the kernel's memory: looking takes time from the model
GOAL_LINE: Final = Goal(0.99, "at least", "value")
GOAL_FINISHED: Final = Goal(100, "at least", "value")
GOAL_MEMORY: Final = Goal(256, "at most", "value")  # kB an agent: event log, mailbox, pipes, rows of tables


def runs(setting: Setting) -> Generator[Run, None, None]:
    """Yields one size after the other: see `_run`."""
    sizes = QUICK_SIZES if setting.quick else SIZES
    setting.begin(setting.runs * len(sizes) * 2)
    for number in range(setting.runs):
        for size in sizes:
            with setting.lab() as here:
                yield _run(setting, here, size, Writer(f"scale {number} {size}"))


def _run(setting: Setting, here: Lab, size: int, writer: Writer) -> Run:
    memory = _Memory(here)
    setting.step(f"{size} agents start")
    started = time.perf_counter()
    fixed = {"system": SYSTEM, "max_tokens": TOKENS, "waits": True, "stream": False}
    pids = [here.start(prompt=f"Name a {writer.thing()}.", **fixed) for _ in range(size)]
    _await_all(here, pids)
    alive = time.perf_counter()
    num_alive, own_mb = memory.look().procs, _private_mb(here)
    setting.step(f"{size} agents run")
    for pid in pids:
        here.client.send(pid, "go")
    until(lambda: not memory.look().procs, END_S, f"not all of {size} agents have ended", LOOK_EVERY_S)
    wanted = set(pids)
    ended = [info for info in here.client.procs(all=True) if info.pid in wanted]
    codes = Counter(info.exit_code for info in ended)
    failures = [f"{count} of {size} agents ended with {code}" for code, count in codes.items() if code != 0]
    first, last = min(info.started_at for info in ended), max(info.ended_at or time.time() for info in ended)
    return {
        "agents": size,
        "alive": num_alive,
        "seconds": last - first,
        "start_s": alive - started,
        "finished": codes[0],
        "kernel_idle_mb": memory.idle / 1e6,
        "kernel_peak_mb": memory.peak / 1e6,
        "kernel_besides_mb": memory.besides / 1e6,
        "agent_mb": own_mb,
        "failures": failures,
    }


def _await_all(here: Lab, pids: Sequence[int]) -> None:
    """Return once every agent waits for its message. Raises DeadlineHit, InternalError when one has ended already."""
    deadline = time.monotonic() + ALIVE_S
    for pid in pids:
        info = here.client.wait(pid, state=ProcState.WAITING, timeout_s=max(0.0, deadline - time.monotonic()))
        if info.exit_code is not None:
            raise InternalError(f"agent {pid} ended before it got its message: {info.reason}")


class _Memory:
    """The kernel's memory in bytes: before the agents, at most, and at most besides what contexts take off slots."""

    def __init__(self, here: Lab) -> None:
        self._here = here
        self.idle = self.peak = self.besides = 0
        self.look()
        self.idle = self.peak

    def look(self) -> KernelStatus:
        status, used = self._here.client.status(), self._here.process.memory_info().rss
        self.peak = max(self.peak, used)
        self.besides = max(self.besides, used - status.ram_bytes - status.prefix_bytes)
        return status


def _private_mb(here: Lab) -> float:
    """Memory that the middle one of the agents does not share, in MB."""
    infos = here.client.procs()
    memory = psutil.Process(infos[len(infos) // 2].os_pid).memory_full_info()
    return float(memory.uss / 1e6)


def measures(runs: Sequence[Run]) -> list[Measure]:
    sizes = [float(run["agents"]) for run in runs]
    shares = [100 * run["finished"] / run["agents"] for run in runs]
    most = max(runs, key=lambda run: int(run["agents"]))
    name = f"{most['agents']:,} agents"
    found = [measure("alive at the same moment", [most["alive"]], unit="agents")]
    found += [measure(f"of up to {name} finished", [min(shares)], unit="%", goal=GOAL_FINISHED)]
    if len(set(sizes)) > 1:
        seconds = [run["seconds"] for run in runs]
        besides = [run["kernel_besides_mb"] * 1e3 for run in runs]
        each = "kernel memory besides contexts, for each agent more"
        found += [
            measure("R² of time over agents", [r_squared(sizes, seconds)], unit="", goal=GOAL_LINE),
            measure("time for each agent more", [slope(sizes, seconds)[0] * 1e3], unit="ms"),
            measure(each, [slope(sizes, besides)[0]], unit="kB", goal=GOAL_MEMORY),
        ]
    found += [
        measure(f"time, {name}", [most["seconds"]], unit="s"),
        measure(f"of this starting them, {name}", [most["start_s"]], unit="s"),
        measure("kernel memory, idle", [most["kernel_idle_mb"]], unit="MB"),
        measure(f"kernel memory, {name}", [most["kernel_peak_mb"]], unit="MB"),
        measure("an agent's own memory", [most["agent_mb"]], unit="MB"),
    ]
    return found + failed("agents", [error for run in runs for error in run["failures"]])


def charts(runs: Sequence[Run]) -> list[Chart]:
    sizes = tuple(run["agents"] for run in runs)
    seconds = tuple(run["seconds"] for run in runs)
    times = [Series("measured", sizes, seconds)]
    if len(set(sizes)) > 1:
        factor, offset = slope(sizes, seconds)
        times.append(Series("straight line", sizes, tuple(factor * size + offset for size in sizes)))
    memory = [
        Series("kernel", sizes, tuple(run["kernel_peak_mb"] for run in runs)),
        Series("besides contexts off slots", sizes, tuple(run["kernel_besides_mb"] for run in runs)),
    ]
    return [
        Chart("Agents alive at once", "points", "agents", "seconds from first start to last end", tuple(times)),
        Chart("Memory of the kernel", "points", "agents", "MB", tuple(memory)),
    ]

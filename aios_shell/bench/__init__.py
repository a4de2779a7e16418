"""What `aios bench` runs: each benchmark in kernels of its own, its figures beside a peer's, its goals judged.

A benchmark is a module with `runs`, which does the work and gives the raw figures of one run after the other, and the
pure functions `measures` and `charts` over those. Its docstring says what is measured; docs/benchmarks.md shows it.
"""

from __future__ import annotations

import contextlib
import importlib
import secrets
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

from aios_kernel.errors import BadRequest, KernelError
from aios_shell.bench.measure import Chart, Measure, Run

if TYPE_CHECKING:
    from aios_shell.bench.lab import Config, Lab
    from aios_shell.bench.progress import Progress
    from aios_shell.bench.replay import Endpoint
    from aios_shell.io import Cancel


INTERRUPTED: Final = "interrupted"
# Memory for contexts takes a second to get and to give; several threads wait for each other where cores are busy.
QUICK_MODEL: Final = {"slots": 4, "window": 2048, "threads": 1}


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One row of `aios bench ls`. The minutes are those of its runs on two cores, with a peer."""

    name: str
    summary: str
    runs: int  # whose median counts, unless --runs says another number
    minutes: float

    @property
    def module(self) -> Module:
        return cast(Module, importlib.import_module(f"aios_shell.bench.{self.name}"))


class Module(Protocol):
    """What each benchmark's module has."""

    def runs(self, setting: Setting) -> Generator[Run, None, None]:
        """Do the work; yields each run as soon as it is complete. Raises KernelError when there can be no figures."""
        ...

    def measures(self, runs: Sequence[Run]) -> list[Measure]:
        """What one or more runs say."""
        ...

    def charts(self, runs: Sequence[Run]) -> list[Chart]: ...


BENCHMARKS: Final[dict[str, Benchmark]] = {
    row.name: row
    for row in (
        Benchmark("paper", "Math, Narrating, Rec agents: waiting and turnaround under each way of scheduling", 2, 3),
        Benchmark(
            "consistency", "same tokens and logits alone, together, preempted, through disk, on a prefix", 1, 1.5
        ),
        Benchmark("switch", "a context switch against recomputing the context, 256 to 4,096 tokens", 1, 1),
        Benchmark("short", "8 short requests at once", 5, 1),
        Benchmark("mixed", "long prefills, then short requests", 3, 4),
        Benchmark("agents", "multi-turn agents with a shared prompt, more of them than slots", 2, 4),
        Benchmark("fair", "one agent floods: how long its victims take", 2, 1.5),
        Benchmark("scale", "250 to 2,000 agents alive at once", 1, 7.5),
        Benchmark("overhead", "what the kernel costs over the bare core", 3, 1.5),
        Benchmark("neighbours", "decoding while other programs keep the cores busy", 2, 2),
        Benchmark("ui", "the app: first paint, CPU time and keys with 200 agents, paging through 2,000", 2, 3),
    )
}


@dataclass(frozen=True, slots=True)
class Setting:
    """How one benchmark is to run.

    quick: sizes that take seconds and show that it works; its figures mean nothing.
    peers: servers named with --peer, looked at and warm.
    notes: what a reader of the figures must know; benchmarks add to it.
    models: those that the kernels have run.
    """

    name: str
    runs: int
    progress: Progress
    cancel: Cancel
    quick: bool = False
    peers: tuple[Endpoint, ...] = ()
    seed: str = field(default_factory=lambda: secrets.token_hex(4))  # a lasting peer must not know the prompts already
    notes: list[str] = field(default_factory=list)
    models: set[str] = field(default_factory=set)

    def begin(self, num_steps: int) -> None:
        self.progress.begin(self.name, num_steps)

    def step(self, what: str) -> None:
        self.progress.step(what)

    @contextmanager
    def lab(self, config: Config | None = None, *, listen: bool = False) -> Generator[Lab, None, None]:
        """A kernel for the block, with this configuration. listen: foreign clients reach it too."""
        from aios_shell.bench.lab import lab

        config = config or {}
        sizes = {"model": {**QUICK_MODEL, **config.get("model", {})}} if self.quick else {}
        listening = {"kernel": {"listen": "127.0.0.1:0"}} if listen else {}
        with lab({**config, **sizes, **listening}, self.cancel) as here:
            self.models.add(Path(here.model).name)
            yield here

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


@dataclass(slots=True)
class Result:
    """What one benchmark found, in full or up to where it was broken off."""

    measures: list[Measure] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    error: str = ""  # why it could not be completed
    seconds: float = 0.0
    runs: list[Run] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.error and all(measure.met is not False for measure in self.measures)


def find(names: Sequence[str]) -> list[Benchmark]:
    """The named benchmarks, all without a name. Raises BadRequest for a name there is not."""
    for name in names:
        if name not in BENCHMARKS:
            raise BadRequest(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    return [BENCHMARKS[name] for name in names] or list(BENCHMARKS.values())


def run(benchmark: Benchmark, setting: Setting, result: Result) -> None:
    """Run a benchmark and fill in `result`, also when KeyboardInterrupt ends it early."""
    module, started = benchmark.module, time.perf_counter()
    result.notes = setting.notes
    try:
        with contextlib.closing(module.runs(setting)) as generator:
            for figures in generator:
                result.runs.append(figures)
    except KernelError as error:
        result.error = INTERRUPTED if setting.cancel.fired else error.message
    except KeyboardInterrupt:
        result.error = INTERRUPTED
        raise
    finally:
        setting.progress.end()
        result.seconds, result.models = time.perf_counter() - started, sorted(setting.models)
        if result.runs:
            result.measures, result.charts = module.measures(result.runs), module.charts(result.runs)
        if setting.quick:
            result.measures = [replace(measure, met=None) for measure in result.measures]

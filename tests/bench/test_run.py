"""How `aios bench` runs benchmarks: what it keeps when one fails or is broken off."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator
from types import SimpleNamespace

import pytest
from shell.conftest import Shell

from aios_kernel.errors import BadRequest, InternalError
from aios_shell import bench
from aios_shell.bench import BENCHMARKS, Benchmark, Result, Setting, find
from aios_shell.bench.measure import Chart, Goal, Measure, Run, Series, measure
from aios_shell.io import Cancel

TINY = Benchmark("tiny", "a benchmark that measures nothing", 2, 0.1)


class Steps:
    """Notes what a benchmark says of its progress."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def begin(self, name: str, num_steps: int) -> None:
        self.said.append(f"{name} {num_steps}")

    def step(self, what: str) -> None:
        self.said.append(what)

    def end(self) -> None:
        self.said.append("end")


def measures(runs: list[Run]) -> list[Measure]:
    return [measure("size", [run["size"] for run in runs], unit="", goal=Goal(2, "at least", "value"))]


def charts(runs: list[Run]) -> list[Chart]:
    numbers = tuple(range(len(runs)))
    return [Chart("Sizes", "points", "run", "size", (Series("size", numbers, tuple(run["size"] for run in runs)),))]


Runs = Callable[[Setting], Generator[Run, None, None]]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Callable[[Runs], None]:
    """Makes a benchmark of the name `tiny` that does what it is given."""

    def make(runs: Runs) -> None:
        module = SimpleNamespace(__doc__="It measures nothing.", runs=runs, measures=measures, charts=charts)
        monkeypatch.setitem(sys.modules, "aios_shell.bench.tiny", module)
        monkeypatch.setitem(BENCHMARKS, "tiny", TINY)

    return make


def setting(steps: Steps, *, quick: bool = False) -> Setting:
    return Setting("tiny", 2, steps, Cancel(), quick)


def two_runs(setting: Setting) -> Generator[Run, None, None]:
    setting.begin(2)
    for size in (1.0, 3.0):
        setting.step(f"size {size:g}")
        yield {"size": size}


def test_a_run_gives_measures_charts_and_raw_figures(tiny) -> None:
    tiny(two_runs)
    steps, result = Steps(), Result()
    bench.run(TINY, setting(steps), result)
    assert steps.said == ["tiny 2", "size 1", "size 3", "end"]
    assert (result.runs, result.error) == ([{"size": 1.0}, {"size": 3.0}], "")
    assert (result.measures[0].ours, result.measures[0].met) == (2.0, True)
    assert result.charts[0].title == "Sizes"
    assert result.good


def test_quick_judges_no_goal(tiny) -> None:
    tiny(two_runs)
    result = Result()
    bench.run(TINY, setting(Steps(), quick=True), result)
    assert result.measures[0].met is None
    assert result.good


def test_what_was_complete_is_kept_when_the_rest_fails(tiny) -> None:
    closed = []

    def failing(setting: Setting) -> Generator[Run, None, None]:
        setting.begin(2)
        try:
            yield {"size": 5.0}
            raise InternalError("the second run broke")
        finally:
            closed.append(True)

    tiny(failing)
    steps, result = Steps(), Result()
    bench.run(TINY, setting(steps), result)
    assert (result.error, result.measures[0].ours) == ("the second run broke", 5.0)
    assert (closed, steps.said[-1]) == ([True], "end")
    assert not result.good


def test_an_interrupt_keeps_what_was_complete_and_goes_on_up(tiny) -> None:
    def interrupted(setting: Setting) -> Generator[Run, None, None]:
        setting.begin(2)
        yield {"size": 5.0}
        raise KeyboardInterrupt

    tiny(interrupted)
    result = Result()
    with pytest.raises(KeyboardInterrupt):
        bench.run(TINY, setting(Steps()), result)
    assert (result.error, len(result.measures)) == ("interrupted", 1)


def test_an_unknown_name_is_told_with_those_there_are() -> None:
    with pytest.raises(BadRequest, match="no benchmark 'mixd'; there are paper, consistency"):
        find(["mixd"])
    assert list(BENCHMARKS.values()) == find([])


@pytest.mark.parametrize("row", BENCHMARKS.values(), ids=lambda row: row.name)
def test_every_benchmark_explains_itself_in_two_to_four_sentences_or_more(row: Benchmark) -> None:
    text = row.module.__doc__ or ""
    assert text.count(".") >= 2
    assert row.runs >= 1
    assert len(row.summary) < 90


# --- the command


def test_ls_lists_each_with_its_time(shell: Shell) -> None:
    status, out, err = shell.words("bench", "ls")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(BENCHMARKS)
    assert "min" in out
    assert len(BENCHMARKS) == len(json.loads(shell.words("bench", "ls", "--json")[1]))


def test_figures_as_a_table_as_json_and_as_a_chart(shell: Shell, tiny) -> None:
    tiny(two_runs)
    status, out, err = shell.words("bench", "tiny")
    assert status == 0
    assert out.split()[:9] == ["BENCH", "RATIO", "OURS", "PEER", "UNIT", "GOAL", "MET", "MEASURE", "AGAINST"]
    assert "yes" in out
    assert "aios: bench tiny 2/2: size 3\n" in err
    status, out, _ = shell.words("bench", "tiny", "--json", "--plot", "charts")
    found = json.loads(out)
    assert {"date", "quick", "machine", "peers", "benchmarks"} == found.keys()
    assert found["machine"]["cores"] >= 1
    assert found["benchmarks"]["tiny"]["runs"] == [{"size": 1.0}, {"size": 3.0}]
    assert (shell.folder / "charts" / "bench-tiny.svg").read_text().startswith("<?xml")


def test_a_missed_goal_is_exit_code_1(shell: Shell, tiny) -> None:
    def small(setting: Setting) -> Generator[Run, None, None]:
        setting.begin(1)
        yield {"size": 1.0}

    tiny(small)
    status, out, _ = shell.words("bench", "tiny")
    assert status == 1
    assert " no " in out


def test_an_interrupt_prints_what_there_is_and_is_exit_code_130(shell: Shell, tiny) -> None:
    def interrupted(setting: Setting) -> Generator[Run, None, None]:
        setting.begin(1)
        yield {"size": 3.0}
        raise KeyboardInterrupt

    tiny(interrupted)
    status, out, err = shell.words("bench", "tiny", "tiny")
    assert status == 130
    assert "size" in out
    assert "interrupted" in err


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["nosuch"], 2, "no benchmark 'nosuch'"),
        (["short", "--peer", "localhost"], 2, "must be a URL"),
        (["short", "--peer", "http://127.0.0.1:9"], 1, "no server of OpenAI chat completions"),
    ],
    ids=["name", "url", "nobody"],
)
def test_what_cannot_be_is_told_before_anything_runs(shell: Shell, words: list[str], status: int, says: str) -> None:
    found = shell.words("bench", *words)
    assert (status, "") == found[:2]
    assert says in found[2]
    assert found[2].count("\n") == 1


def test_without_matplotlib_a_plot_is_refused_at_once(shell: Shell, tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny(two_runs)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = shell.words("bench", "tiny", "--plot", "charts")
    assert found == (1, "", "aios: --plot needs matplotlib: install aios-shell[plots]\n")

"""What is told of a process whose events went to keep the journal below its bound."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest
from system import System

HOSTILE = Path(__file__).parents[1] / "hostile" / "agent"  # which needs no model


@pytest.mark.parametrize("how", [(), ("--follow",), ("--output",), ("--json",), ("--follow", "--output")])
def test_logs_say_that_they_are_no_longer_kept(trimmed: System, how: tuple[str, ...]) -> None:
    done = trimmed.run("logs", "1", *how)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "aios: the events of process 1 are no longer kept: the journal grew too long\n"


def test_ps_still_tells_of_it(trimmed: System) -> None:
    assert [info["exit_code"] for info in trimmed.json("ps", "--all") if info["pid"] == 1] == [0]


@pytest.fixture(scope="module")
def trimmed(system: System) -> System:
    """A kernel that has process 1 only as having been."""
    shutil.copytree(HOSTILE, system.home / "data" / "agents" / "hostile")
    system.ok("kernel", "start")
    system.start("hostile", '{"do": "absent"}')
    system.ok("wait", "1")
    system.ok("kernel", "stop")
    with duckdb.connect(str(system.home / "state" / "journal.duckdb")) as journal:
        journal.execute("DELETE FROM events; INSERT INTO trims VALUES (1, 0)")
    system.ok("kernel", "start")
    return system

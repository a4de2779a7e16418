"""Each benchmark end to end on the real model, at sizes that take seconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from bench.loopback import SLOTS, serving
from system import System

from aios_shell.bench import BENCHMARKS

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

WITH_A_PEER = ("short", "mixed", "agents", "neighbours")
DEADLINE_S = 280


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where benchmarks make the folders of their kernels. It must be empty again afterwards."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def start(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "aios_shell", "bench", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def figures(name: str, *words: str) -> dict[str, Any]:
    with start(name, "--quick", "--json", *words) as process:
        out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, f"{err}{out}"
    result: dict[str, Any] = json.loads(out)["benchmarks"][name]
    assert result["error"] == "", err
    assert result["runs"]
    assert result["charts"]
    assert [row["name"] for row in result["measures"] if "failed" in row["name"]] == []
    return result


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name not in (*WITH_A_PEER, "consistency")])
def test_a_benchmark_of_our_own(name: str, temporary: Path) -> None:
    result = figures(name)
    assert all(row["met"] is None for row in result["measures"])
    assert list(temporary.iterdir()) == []


def test_nothing_changes_what_the_model_says(temporary: Path) -> None:
    """The goal of `consistency`: it needs no quiet machine."""
    ways = figures("consistency")["runs"]
    assert list(temporary.iterdir()) == []
    assert [(way["way"], way["same"]) for way in ways] == [(way["way"], way["agents"]) for way in ways]
    assert all(way["happened"] for way in ways)


@pytest.mark.parametrize("name", WITH_A_PEER)
def test_a_benchmark_beside_a_peer(name: str, temporary: Path) -> None:
    with serving() as peer:
        result = figures(name, "--peer", peer.url)
    assert peer.asked
    assert any(row["peer"] is not None and "aiohttp" in row["peer_name"] for row in result["measures"])
    if name in ("short", "mixed"):
        assert f"so ours has {SLOTS} slots" in str(result["notes"])


def test_without_a_peer_our_own_policy_is_the_other_side(temporary: Path) -> None:
    result = figures("agents")
    assert any(row["peer_name"] == "our policy fifo" for row in result["measures"])
    assert "not judged" in str(result["notes"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
def test_broken_off_it_leaves_nothing_behind(number: signal.Signals, temporary: Path) -> None:
    with start("overhead", "--quick") as process:
        assert process.stderr is not None
        assert "1/3" in process.stderr.readline()  # the kernel runs
        process.send_signal(number)
        out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert out == ""  # no run was complete
    assert list(temporary.iterdir()) == []
    assert [p for p in psutil.process_iter() if str(temporary) in _home(p)] == []


def _home(process: psutil.Process) -> str:
    try:
        return process.environ().get("AIOS_HOME", "") if process.uids().real == os.getuid() else ""
    except psutil.Error:
        return ""


def test_in_a_pipeline_it_can_be_broken_off_too(system: System, temporary: Path) -> None:
    with system.popen("-c", "bench overhead --quick | cat", start_new_session=True) as process:
        assert process.stderr is not None
        assert "1/3" in process.stderr.readline()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
        _, err = process.communicate(timeout=DEADLINE_S)
    assert "interrupted" in err
    assert [p for p in psutil.process_iter() if str(temporary) in _home(p)] == []

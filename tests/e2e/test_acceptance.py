"""What a person does in the first hour, through the real command line on the real model."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess

import psutil
import pytest
from system import System, runs

pytestmark = pytest.mark.model

# Says the rest of its reply when it is told to go on.
HALTING = """
async def main(agent):
    pieces = aiter(agent.stream("Tell a short story about a slow river.", max_tokens=32))
    agent.write(await anext(pieces))
    await agent.recv()
    async for piece in pieces:
        agent.write(piece)
"""

MEETING = "The meeting moved to Tuesday at 3pm because Bob travels on Monday."


@pytest.fixture(scope="module", autouse=True)
def unconfigured(system: System) -> None:
    """As it is after it was installed."""
    system.configure("")


def test_math_answers_on_stdout_alone(system: System) -> None:
    done = system.run("run", "math", "What is 12*7?")
    assert done.returncode == 0, done.stderr
    assert "84" in done.stdout
    assert done.stdout.count("\n") == 1


def test_summarize_reads_a_pipe_and_streams_into_one(system: System) -> None:
    cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with cat, system.popen("run", "summarize", stdin=subprocess.PIPE, stdout=cat.stdin) as aios:
        assert cat.stdin is not None
        cat.stdin.close()
        _, err = aios.communicate(MEETING, timeout=60)
        assert cat.stdout is not None
        text = cat.stdout.read()
    assert aios.returncode == 0, err
    assert "meeting" in text.lower()


def test_output_arrives_while_it_is_written(system: System) -> None:
    """The first token is read while the agent is at it still, however late one looks."""
    folder = system.home / "data" / "agents" / "halting"
    folder.mkdir(parents=True)
    (folder / "agent.toml").write_text('name = "halting"\ndescription = "A test."\nentry = "agent:main"\n')
    (folder / "agent.py").write_text(HALTING)
    with system.popen("run", "halting") as aios:
        assert aios.stdout is not None
        first = os.read(aios.stdout.fileno(), 4096)
        (row,) = system.json("ps")
        assert (row["agent"], aios.poll()) == ("halting", None)
        system.ok("send", str(row["pid"]), "go on")
        rest, err = aios.communicate(timeout=60)
    assert aios.returncode == 0, err
    assert 0 < len(first) < len(rest)


def test_two_background_jobs_run_at_once(system: System, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("jobs")
    out = system.ok("-c", 'narrate "a fox" > a.txt & narrate "a robot" > b.txt & wait; ps --all --json', cwd=folder)
    rows = [row for row in json.loads(out) if row["task"] in ("a fox", "a robot")]
    assert [row["exit_code"] for row in rows] == [0, 0]
    (first, second) = rows
    assert first["started_at"] < second["ended_at"]
    assert second["started_at"] < first["ended_at"]
    assert (folder / "a.txt").read_text().strip()
    assert (folder / "b.txt").read_text().strip()


def test_suspend_in_mid_sentence_and_resume(system: System) -> None:
    pid = system.start("narrate", "a lighthouse keeper")
    with system.popen("logs", str(pid), "-f", "--output") as follow:
        assert follow.stdout is not None
        os.read(follow.stdout.fileno(), 1)  # the first token is out: the agent is in mid-sentence
        system.ok("suspend", str(pid))
        row = system.ps(pid)
        assert row["state"] == "suspended"
        assert row["tier"] == "ram"
        assert row["kv_bytes"] > 0
        assert row["slot"] is None
        assert [pid] == [s["pid"] for s in system.json("snap", "ls") if s["tier"] == "ram"]
        written = system.ok("logs", str(pid), "--output")
        assert written == system.ok("logs", str(pid), "--output")  # nothing moves while it is suspended
        system.ok("resume", str(pid))
        system.ok("wait", str(pid))
        follow.communicate(timeout=60)
    assert system.ok("logs", str(pid), "--output").startswith(written)


@pytest.mark.parametrize(("option", "code"), [((), 143), (("-9",), 137), (("-INT",), 130)])
def test_kill_gives_the_signal_s_exit_code(system: System, option: tuple[str, ...], code: int) -> None:
    pid = system.start("narrate", "a long night")
    system.ok("kill", *option, str(pid))
    assert code == system.run("wait", str(pid)).returncode
    assert code == system.ps(pid)["exit_code"]


def test_killing_nobody_is_one_line(system: System) -> None:
    done = system.run("kill", "4242")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "4242" in done.stderr


def test_unknown_word_and_broken_line(system: System) -> None:
    done = system.run("nosuch")
    assert (done.returncode, done.stdout) == (127, "")
    assert "nosuch" in done.stderr
    done = system.run("-c", "run math | | x")
    assert (done.returncode, done.stdout) == (2, "")
    assert "^" in done.stderr


def test_a_killed_kernel_is_replaced_and_remembers(system: System) -> None:
    system.ok("run", "math", "What is 2+3?")
    before = {row["pid"] for row in system.json("ps", "--all")}
    kernel = psutil.Process(system.json("kernel", "status")["pid"])
    kernel.kill()
    with contextlib.suppress(psutil.NoSuchProcess):
        kernel.wait(30)  # it takes a moment to give a gigabyte back, and answers nobody meanwhile
    done = system.run("ps", "--all", "--json")
    assert done.returncode == 0, done.stderr
    assert "died" in done.stderr
    assert before == {row["pid"] for row in system.json("ps", "--all")}


def test_stop_leaves_nothing_behind(system: System) -> None:
    kernel = psutil.Process(system.json("kernel", "status")["pid"])
    family = [kernel, *kernel.children(recursive=True)]
    system.ok("kernel", "stop")
    assert [process for process in family if runs(process)] == []
    left = {path.name for path in system.home.rglob("*") if path.name.startswith("kernel.")}
    assert left <= {"kernel.log", "kernel.lock"}  # the lock file stays, unlocked

"""`aios mem …` against a real kernel whose memory is so small that interactions have to leave it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from system import LIGHT, System

MANIFEST = """
name = "scout"
description = "Keeps notes."
entry = "scout:main"
"""

PROGRAM = r"""
import asyncio

async def main(agent):
    call = agent._kernel.syscall
    await call("mem.add", {"content": "Rain fell in April.\nThe path is wet.", "tags": ["weather"]})
    await call("mem.add", {"content": "The mill has a new wheel \x1b[31mred"})
    await call("mem.update", {"id": "1", "content": "Rain fell in April; the path is closed."})
    for number in range(60):
        expression = " " * 900 + f"1 + {number}"
        await call("tool.call", {"name": "calculator", "arguments": {"expression": expression}})
    rows = await call("mem.log", {"last": 1_000})
    agent.write(f"{[row['answered'] for row in rows] == [str(n + 1) for n in range(60)]}\n")
    await asyncio.Event().wait()
"""


@pytest.fixture(scope="module")
def scout(system: System) -> Iterator[int]:
    system.configure(f"{LIGHT}[memory]\nram_bytes = 65536\n")
    folder = system.home / "data" / "agents" / "scout"
    folder.mkdir(parents=True)
    (folder / "agent.toml").write_text(MANIFEST)
    (folder / "scout.py").write_text(PROGRAM)
    pid = system.start("scout", "")
    with system.popen("attach", str(pid)) as attached:
        assert attached.stdout is not None
        assert attached.stdout.readline() == "True\n"  # all of its log, out and back
        attached.kill()
    yield pid
    system.run("kill", "-9", str(pid))


def test_notes_are_listed_and_found(system: System, scout: int) -> None:
    lines = system.ok("mem").splitlines()
    assert lines[0].split() == ["NOTE", "UPDATED", "TAGS", "LINKS", "CONTENT"]
    assert [line.split()[0] for line in lines[1:]] == ["scout/2", "scout/1"]
    assert "\x1b" not in "".join(lines)
    assert [note["id"] for note in system.json("mem", "ls", "scout", "--tag", "weather")] == ["1"]
    assert system.json("mem", "ls", "nobody") == []
    assert [hit["note"]["id"] for hit in system.json("mem", "search", "closed", "paths")] == ["1"]
    assert system.json("mem", "search", "closed", "--agent", "nobody") == []


def test_a_note_is_shown_with_what_it_was(system: System, scout: int) -> None:
    shown = system.ok("mem", "show", "scout/1")
    assert shown.startswith("Rain fell in April; the path is closed.\n\ntags      weather\n")
    assert "version 1, until" in shown
    assert "  Rain fell in April.\n  The path is wet.\n" in shown
    assert "\x1b" not in system.ok("mem", "show", "scout/2")
    assert len(system.json("mem", "show", "scout/1")["versions"]) == 1


def test_what_is_not_there_is_one_line(system: System, scout: int) -> None:
    done = system.run("mem", "show", "scout/9")
    assert (done.returncode, done.stderr) == (1, "aios: scout/9: no note '9'; `aios mem ls` lists them\n")
    done = system.run("mem", "show", "nine")
    assert (done.returncode, done.stderr) == (2, "aios: nine: a note is called AGENT/ID; `aios mem ls` lists them\n")
    assert system.run("mem", "log", "9999").returncode == 1
    done = system.run("mem", "index")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_a_log_that_does_not_fit_in_memory(system: System, scout: int) -> None:
    status = system.json("mem", "status")
    assert (status["interactions"], status["processes"]) == (60, 1)
    assert status["ram_bytes"] <= status["ram_budget"] == 65_536
    assert status["evictions"] > 0
    assert status["faults"] > 0
    assert 0 < status["disk_bytes"] < status["out_bytes"] / 2
    assert "compressed" in system.ok("mem", "status")
    assert len(system.json("mem", "log", str(scout), "--last", "3")) == 3
    assert system.ok("mem", "log", str(scout), "-n", "1").endswith("1 + 59')\n  < 60\n")


def test_removed_is_gone_and_the_rest_is_there_after_a_restart(system: System, scout: int) -> None:
    done = system.run("mem", "rm", "scout/2", "scout/7")
    assert (done.returncode, done.stderr) == (1, "aios: scout/7: no note '7'\n")
    before = system.json("mem", "ls")
    assert [note["id"] for note in before] == ["1"]
    system.ok("kernel", "restart")
    assert system.json("mem", "ls") == before
    assert system.json("mem", "status")["interactions"] == 0

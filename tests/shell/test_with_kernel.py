"""The commands against a real kernel and the embedded model."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from system import System

from aios_kernel.protocol import Signal
from aios_shell.commands.proc import _COLUMNS

from .conftest import Terminal

pytestmark = pytest.mark.model

STORY = "a lighthouse"


def test_the_answer_alone_is_on_stdout(system: System) -> None:
    done = system.run("run", "math", "What is 12*7?")
    assert (done.returncode, done.stderr) == (0, "")
    assert "84" in done.stdout


def test_an_agent_is_a_command_and_a_stage(system: System) -> None:
    assert system.ok("math", "What is 12*7?") == system.ok("-c", 'math "What is 12*7?" | cat')
    done = system.run("-c", "cat | summarize | tr a-z A-Z", stdin="Cats sleep sixteen hours a day. Dogs sleep less.")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == done.stdout.upper() != ""


def test_two_in_the_background_fill_their_files_at_once(system: System, tmp_path: Path) -> None:
    line = f'cd {tmp_path}; narrate "a fox" > a & narrate "a robot" > b & wait; ps --all --json'
    procs = json.loads(system.ok("-c", line))
    fox, robot = (next(p for p in procs if p["task"] == task) for task in ("a fox", "a robot"))
    assert fox["started_at"] < robot["ended_at"]
    assert robot["started_at"] < fox["ended_at"]
    assert (tmp_path / "a").read_text() == system.ok("logs", str(fox["pid"]), "--output")
    assert (tmp_path / "b").stat().st_size > 0


def test_a_bare_agent_in_the_background_outlives_the_line(system: System) -> None:
    done = system.run("-c", f'narrate "{STORY}" &')
    match = re.fullmatch(rf'aios: \[(\d+)\] narrate "{STORY}"\n', done.stderr)
    assert (done.returncode, done.stdout) == (0, "")
    assert match
    system.ok("wait", match[1])
    assert system.ok("logs", match[1], "--output").strip()
    assert system.ok("attach", match[1]) == system.ok("logs", match[1], "--output")


def test_suspend_resume_nice_and_kill(system: System) -> None:
    pid = system.start("chat", "")
    system.ok("suspend", str(pid))
    assert system.ps(pid)["state"] == "suspended"
    system.ok("nice", "-5", str(pid))
    assert system.ps(pid)["nice"] == -5
    assert system.run("wait", str(pid), "--timeout", "0.2").returncode == 124
    system.ok("resume", str(pid))
    system.ok("kill", "-9", str(pid))
    assert system.run("wait", str(pid)).returncode == 137
    assert system.run("kill", str(pid)).returncode in (0, 1)


def test_what_is_not_there_is_one_line(system: System) -> None:
    done = system.run("kill", "9999")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    done = system.run("narate", "x")
    assert (done.returncode, done.stderr) == (
        127,
        "aios: no command or agent is called 'narate'; did you mean 'narrate'?\n",
    )
    done = system.run("-c", "nosuch | cat; nosuch")
    assert (done.returncode, done.stderr.count("\n")) == (127, 2)


def test_ps_without_a_terminal_is_plain_text(system: System) -> None:
    lines = system.ok("ps", "--all").splitlines()
    assert lines[0].split() == list(_COLUMNS)
    assert not any("\x1b" in line for line in lines)


def test_a_reader_that_leaves_ends_the_agent(system: System) -> None:
    done = system.run("-c", f'narrate "{STORY} at sea" | head -c 5')
    assert (done.returncode, len(done.stdout), done.stderr) == (0, 5, "")
    proc = next(p for p in system.json("ps", "--all") if p["task"] == f"{STORY} at sea")
    assert system.run("wait", str(proc["pid"])).returncode == 143


def test_ctrl_c_interrupts_the_agent_and_the_line(system: System) -> None:
    with system.popen("-c", f'narrate "{STORY} at night"; help') as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert "usage" not in first + rest


def test_a_typed_task_is_not_waited_on(system: System, terminal: Terminal) -> None:
    with system.popen("-c", "? what is 2+2", stdin=terminal.program) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out


def test_who_reads_what_is_typed_is_told(system: System, terminal: Terminal) -> None:
    ends = {"stdin": terminal.program, "stderr": terminal.program}
    with system.popen("run", "chat", **ends) as process:
        told = os.read(terminal.person, 200)
        os.write(terminal.person, b"\x04")
        assert process.wait(timeout=60) == 0
    assert told.startswith(b"aios: chat reads what you type; Ctrl-D ends the input")


def test_what_is_typed_at_an_agent_without_input_is_not_lost_in_silence(system: System, terminal: Terminal) -> None:
    pid = system.start("chat", "")
    with system.popen("attach", str(pid), stdin=terminal.program) as process:
        os.write(terminal.person, b"hello\n")
        assert process.stderr is not None
        assert process.stderr.readline() == (
            f"aios: process {pid} was started without standard input; `aios send {pid} TEXT` reaches its mailbox\n"
        )
        system.ok("kill", str(pid))
        assert process.wait(timeout=60) == 143


def test_an_output_that_cannot_be_written_ends_the_agent(system: System) -> None:
    for ending in ("> /dev/full", ">&-"):
        line = f'"{sys.executable}" -m aios_shell run narrate fox {ending}'
        done = subprocess.run(
            ["sh", "-c", line],
            env=system.env,
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr[:14]) == (1, b"aios: output: ")
        pid = system.json("ps", "--all")[-1]["pid"]
        assert system.run("wait", str(pid)).returncode == 143


def test_bytes_that_are_no_text_are_a_usage_error(system: System) -> None:
    done = system.run("run", "chat", os.fsdecode(b"caf\xe9"))
    assert (done.returncode, done.stderr) == (2, "aios: only UTF-8 text can be given to the kernel\n")


def interrupt_twice(process: subprocess.Popen[str], system: System, pid: int) -> None:
    """Ctrl-C, and again once the suspended agent `pid` has it; two at the same time would be one."""
    agent = Path(f"/proc/{system.client().proc(pid).os_pid}/status")
    process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + 60
    while not int(agent.read_text().split("ShdPnd:")[1].split()[0], 16) >> (signal.SIGINT - 1) & 1:
        assert time.monotonic() < deadline, "the first one has not arrived"
        time.sleep(0.01)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)


def test_narration_on_a_terminal_begins_a_line(system: System, terminal: Terminal) -> None:
    pid = system.start("narrate", f"{STORY} in the fog")
    with system.popen("attach", str(pid), stdout=terminal.program, stderr=terminal.program) as process:
        os.read(terminal.person, 1)
        system.client().signal(pid, Signal.STOP)  # before the story ends
        interrupt_twice(process, system, pid)
        process.wait(timeout=60)
    shown = ""
    while select.select([terminal.person], [], [], 0)[0]:  # a read may end where a write did
        shown += os.read(terminal.person, 65536).decode()
    assert "\r\naios: process" in shown
    system.run("kill", "-9", str(pid))


def test_twice_ctrl_c_leaves_the_agent_to_itself(system: System) -> None:
    """A suspended agent does not hear the first one, so that the second surely comes in time."""
    pid = system.start("narrate", f"{STORY} in the sky")
    with system.popen("attach", str(pid)) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        system.client().signal(pid, Signal.STOP)  # before the story ends
        interrupt_twice(process, system, pid)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == f"aios: process {pid} goes on without this terminal; `aios attach {pid}` comes back\n"
    assert system.ps(pid)["exit_code"] is None
    system.run("kill", "-9", str(pid))


def test_logs_follow_ends_with_the_process(system: System) -> None:
    pid = system.start("math", "What is 3+4?")
    lines = system.ok("logs", str(pid), "--follow").splitlines()
    assert lines[-1].endswith("exit    0")
    events = [json.loads(line) for line in system.ok("logs", str(pid), "-f", "--json").splitlines()]
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)
    assert events[-1]["kind"] == "exit"


def test_lists_have_json(system: System) -> None:
    for words in (["ps"], ["queue"], ["snap", "ls"], ["agents"], ["model", "ls"]):
        assert isinstance(system.json(*words), list)
    assert system.json("kernel", "status")["pid"] > 0
    assert system.json("sched")["policy"] in system.json("sched")["policies"]


def test_completion_offers_live_pids(system: System) -> None:
    pid = system.start("chat", "")
    assert any(line.startswith(f"{pid}\tchat") for line in system.ok("__complete", "--", "1", "kill", "").splitlines())
    system.ok("kill", "-9", str(pid))

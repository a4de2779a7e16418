"""approve, deny, access and audit at the command line, over a kernel with an agent that wants something."""

from __future__ import annotations

import os
import re
import signal
import subprocess

import pytest
from system import System

from .conftest import Terminal

MANIFEST = """
name = "probe"
description = "Ends the process that its task names, or waits."
entry = "probe:main"
"""

WANTING = """
from aios_kernel.errors import NotPermitted
from aios_kernel.protocol import Signal

async def main(agent):
    what, _, pid = agent.task.partition(" ")
    if what == "hold":
        await agent.recv()
        return 0
    try:
        await agent.signal(int(pid), Signal.TERM)
    except NotPermitted as error:
        agent.write(error.message)
        return 126
    return 0
"""


@pytest.fixture(scope="module", autouse=True)
def wanting(system: System) -> None:
    folder = system.home / "data" / "agents" / "probe"
    folder.mkdir(parents=True)
    (folder / "agent.toml").write_text(MANIFEST)
    (folder / "probe.py").write_text(WANTING)


def asking(system: System) -> tuple[int, int]:
    """A process that wants to end another, and that one; the person is asked."""
    other = system.start("probe", "hold")
    pid = system.start("probe", f"end {other}")
    system.ok("wait", str(pid), "--state", "asking", "--timeout", "60")
    return pid, other


def test_who_waits_for_an_answer_is_told(system: System) -> None:
    other = system.start("probe", "hold")
    with system.popen("run", "probe", f"end {other}") as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        pid = int(said.split("`")[1].split()[-1])
        assert said.startswith(f"aios: send TERM to process {other} (probe)? `aios approve {pid}` or `aios deny {pid}`")
        system.ok("deny", str(pid))
        assert process.wait(timeout=60) == 126
    assert "approve" not in system.run("attach", str(pid)).stderr
    system.ok("kill", str(other))


def test_a_question_is_shown_and_answered(system: System) -> None:
    pid, other = asking(system)
    what = f"send TERM to process {other} (probe)"
    assert (system.ps(pid)["state"], system.ps(pid)["reason"]) == ("asking", what)
    (question,) = system.json("access", "questions")
    assert (question["pid"], question["what"], question["action"]) == (pid, what, "process:signal")
    assert what in system.ok("access", "questions")
    denied = system.run("deny", str(pid))
    assert (denied.returncode, denied.stdout, denied.stderr) == (0, "", f"aios: {pid}: denied: {what}\n")
    assert system.run("wait", str(pid)).returncode == 126
    assert system.ok("logs", str(pid), "--output") == f"not permitted: {what} (a person said no)"
    pid = system.start("probe", f"end {other}")
    system.ok("wait", str(pid), "--state", "asking", "--timeout", "60")
    assert "allowed" in system.run("approve", str(pid), "--session").stderr
    assert system.run("wait", str(pid)).returncode == 0
    assert system.run("wait", str(other)).returncode == 143
    assert f"process {pid} has ended" in system.run("approve", str(pid)).stderr
    assert system.run("approve", str(pid), "--session", "--always").returncode == 2


@pytest.mark.parametrize(("typed", "status"), [("y\n", 0), ("\n", 126), ("\x04", 126), ("\x03", 126)])
def test_at_a_terminal_what_is_allowed_is_shown_first(
    system: System, terminal: Terminal, typed: str, status: int
) -> None:
    pid, other = asking(system)
    with system.popen(
        "approve", str(pid), stdin=terminal.program, stderr=terminal.program, start_new_session=True
    ) as process:
        told = ""
        while "[y/N] " not in told:
            told += os.read(terminal.person, 65_536).decode()
        assert f"{pid} (probe) asks: send TERM to process {other} (probe)\r\nallow this once? [y/N] " in told
        if typed == "\x03":
            os.killpg(process.pid, signal.SIGINT)
        else:
            os.write(terminal.person, typed.encode())
        assert process.wait(timeout=60) == (0 if typed == "y\n" else 130 if typed == "\x03" else 1)
    if typed != "y\n":
        assert system.ps(pid)["state"] == "asking"
        system.ok("deny", str(pid))
    assert system.run("wait", str(pid)).returncode == status
    system.run("kill", str(other))


def test_a_question_in_full(system: System) -> None:
    pid, other = asking(system)
    assert system.ok("access", "questions", str(pid)) == f"{pid} (probe) asks: send TERM to process {other} (probe)\n"
    system.ok("deny", str(pid))
    done = system.run("access", "questions", str(pid))
    assert (done.returncode, done.stderr) == (1, f"aios: process {pid} asks nothing\n")
    system.ok("kill", str(other))


def test_policies_at_the_command_line(system: System) -> None:
    pid = system.start("probe", "hold")
    delete = ("access", "test", str(pid), "file:delete", "a.txt", "--irreversible")
    assert system.ok(*delete) == "ask: user-approved\n"
    assert system.ok("access", "grant", "probe", "file:delete") == "probe-file-delete\n"
    assert system.ok(*delete) == "allow: probe-file-delete\n"
    assert re.search(r"probe-file-delete +permit +granted\.cedar:1 +yes", system.ok("access", "ls"))
    system.ok("access", "revoke", "probe-file-delete")
    done = system.run("access", "revoke", "probe-file-delete")
    assert (done.returncode, done.stderr) == (
        1,
        "aios: no granted policy is called 'probe-file-delete': `aios access ls` lists them\n",
    )
    done = system.run("access", "test", str(pid), "memory:read", "n1", "--owner", "you", "--json")
    assert (done.returncode, '"deny"' in done.stdout) == (126, True)
    assert "file:delete" in system.ok("access", "actions").splitlines()
    system.ok("kill", str(pid))


def test_wrong_policies_are_told_and_keep_a_kernel_from_starting(system: System) -> None:
    folder = system.home / "config" / "policies"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mine.cedar"
    try:
        path.write_text('permit (principal, action == Action::"file:eat", resource);\n\nforbid (principal);\n')
        done = system.run("access", "check")
        assert done.returncode == 2
        first, second = done.stderr.splitlines()
        assert f"{path}:1: unrecognized action" in first
        assert f"{path}:3: " in second
        assert system.run("access", "reload").returncode == 2
        done = system.run("kernel", "restart")
        assert (done.returncode, f"{path}:1: unrecognized action" in done.stderr) == (2, True)
    finally:
        path.unlink()
    assert "all right" in system.ok("access", "check")


def test_the_audit_log_is_listed_verified_and_told_from_an_altered_one(system: System) -> None:
    system.ok("run", "--bg", "probe", "hold")
    rows = system.json("audit", "--since", "1h")
    assert {"boot", "person"} <= {row["what"] for row in rows}
    assert [row["seq"] for row in system.json("audit", "-n", "2")] == [rows[-1]["seq"] - 1, rows[-1]["seq"]]
    assert "POST /procs" in system.ok("audit")
    head = system.ok("audit", "head").strip()
    assert f"nothing altered, nothing missing; head {head}" in system.ok("audit", "verify", "--head", head)
    assert system.run("audit", "--since", "later").returncode == 2
    assert system.run("audit", "verify", "--head", "12").returncode == 2
    system.ok("kernel", "stop")
    path = system.home / "state" / "audit" / "000001.log"
    before = path.read_bytes()
    path.write_bytes(before.replace(b'"outcome":"allow"', b'"outcome":"denyy"', 1))
    done: subprocess.CompletedProcess[str] = system.run("audit", "verify")
    assert done.returncode == 1
    assert "altered" in done.stdout
    path.write_bytes(before)
    assert system.json("audit", "verify")["problems"] == []

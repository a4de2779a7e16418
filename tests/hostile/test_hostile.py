"""A hostile agent in a real kernel: nothing that it tries succeeds, each denial is an error to it, and others go on."""

from __future__ import annotations

import json
import os
import shutil
import statistics
from pathlib import Path
from typing import Any

import pytest
from system import System

from aios_kernel.client import confine

pytestmark = [
    pytest.mark.skipif(bool(confine.why_not()), reason=f"agents cannot be confined here: {confine.why_not()}")
]

LIMITS = """
[access]
answer_s = 1
[sandbox]
scratch_bytes = 33554432
output_bytes = 8388608
threads = 32
"""
SECRET = "the person's own"


@pytest.fixture(scope="module")
def home(system: System) -> System:
    """A kernel with the hostile agent, a sibling that sleeps, and a file of the person's."""
    system.configure(LIMITS)
    shutil.copytree(Path(__file__).parent / "agent", system.home / "data" / "agents" / "hostile")
    (system.home / "secret.txt").write_text(SECRET)
    system.ok("kernel", "start")
    return system


@pytest.fixture(scope="module")
def kernel_pid(home: System) -> int:
    return int(home.json("kernel", "status")["pid"])


@pytest.fixture(scope="module")
def sibling(home: System) -> int:
    """OS pid of an agent that waits."""
    pid = home.start("hostile", json.dumps({"do": "sleep"}))
    return int(home.ps(pid)["os_pid"])


def attack(home: System, do: str, **how: Any) -> Any:
    return json.loads(home.ok("run", "hostile", json.dumps({"do": do, **how})))


def successes(told: dict[str, str]) -> dict[str, str]:
    return {name: how for name, how in told.items() if not how.startswith("denied: ")}


def untold(home: System, told: dict[str, str]) -> set[str]:
    """Attacks of the newest process that was started here of which the audit log has no denial."""
    pid = [proc["pid"] for proc in home.json("ps", "--all") if proc["agent"] == "hostile" and not proc["ppid"]][-1]
    rows = [row for row in home.json("audit", str(pid), "-n", "10000") if row["outcome"] == "deny"]
    num_rows = dict.fromkeys(told, 0)
    name = ""
    for row in rows:
        if row["action"] == "sandbox:create" and row["resource"][1:] in num_rows:
            name = row["resource"][1:]
        else:
            num_rows[name] += 1
    return {name for name, num in num_rows.items() if not num}


def test_files_outside_stay_as_they_are(home: System, kernel_pid: int) -> None:
    secret = home.home / "secret.txt"
    before = secret.stat()
    told = attack(
        home,
        "files",
        secret=str(secret),
        folder=str(home.home),
        other=str(home.home / "data" / "agents"),
        kernel_pid=kernel_pid,
    )
    assert successes(told) == {}
    assert untold(home, told) == set()
    assert secret.read_text() == SECRET
    assert (before.st_mode, before.st_mtime_ns, before.st_nlink) == (
        (after := secret.stat()).st_mode,
        after.st_mtime_ns,
        after.st_nlink,
    )


def test_there_is_no_socket_but_the_line(home: System) -> None:
    told = attack(home, "sockets", kernel_socket=str(home.home / "kernel.sock"))
    assert successes(told) == {}
    assert untold(home, told) == set()


def test_other_processes_are_out_of_reach(home: System, kernel_pid: int, sibling: int) -> None:
    told = attack(home, "processes", kernel_pid=kernel_pid, sibling=sibling)
    assert successes(told) == {}
    # A missing call makes programs fall back, to one that is told; a raised limit is refused by the system itself.
    assert untold(home, told) == {"clone3", "own limits"}
    os.kill(sibling, 0)
    assert home.json("kernel", "status")["pid"] == kernel_pid


VICTIM = """
async def main(agent):
    await agent.memory.add("the secret word is rosebud")
    await agent.files.write("secret.txt", "rosebud")
    agent.write("ready")
    await agent.recv()
"""


def test_what_belongs_to_another_agent_stays_its_own(home: System) -> None:
    folder = home.home / "data" / "agents" / "victim"
    folder.mkdir()
    (folder / "agent.toml").write_text('name = "victim"\ndescription = "Has secrets."\nentry = "victim:main"\n')
    (folder / "victim.py").write_text(VICTIM)
    victim = home.start("victim", "")
    with home.popen("logs", str(victim), "--output", "--follow") as following:
        assert following.stdout is not None
        assert following.stdout.read(5) == "ready"
        following.terminate()
    told = attack(home, "managers", victim=victim)
    assert successes(told) == {}
    assert untold(home, told) == set()
    assert {row["group"] for row in home.json("audit", "-n", "10000") if row["agent"] == "hostile"} == {"user"}
    assert home.ok("fs", "cat", "victim/secret.txt") == "rosebud"
    assert "rosebud" in home.ok("mem", "search", "secret", "--agent", "victim")
    assert home.ps(victim)["state"] != "exited"
    home.ok("kill", str(victim))


def test_what_programs_look_for_in_vain_is_no_refusal(home: System) -> None:
    told = attack(home, "absent")
    assert {name: how.split(" ")[1] for name, how in told.items()} == {
        "file": "FileNotFoundError",
        "new file in no folder": "FileNotFoundError",
        "folder that exists": "FileExistsError",
        "remove": "FileNotFoundError",
        "program": "FileNotFoundError",
        "name that is none": "OSError",
        "name that is too long": "OSError",
        "pipe by its name": "NotADirectoryError",
    }
    assert untold(home, told) == told.keys()


def test_a_refused_call_is_the_delay_of_its_caller(home: System) -> None:
    """Who tries without end is told of for each try, and gets only so many."""
    told = attack(home, "insist", seconds=3)
    rows = home.json("audit", str(home.json("ps", "--all")[-1]["pid"]), "-n", "5000")
    assert sum(row["action"] == "sandbox:socket" for row in rows) == told["num"]
    assert 200 <= told["num"] < 200 + 20 * 10


def test_threads_and_deep_folders_delay_nobody_else(home: System) -> None:
    pid = home.start("hostile", json.dumps({"do": "open_deep", "seconds": 6}))
    home.ok("run", "hostile", json.dumps({"do": "absent"}))
    home.ok("wait", str(pid))


def test_memory_has_an_end(home: System) -> None:
    assert successes(attack(home, "memory", limit=4 << 30)) == {}


@pytest.mark.parametrize("how", ["files", "deleted", "empty", "deep"])
def test_who_fills_the_disk_is_killed(home: System, how: str) -> None:
    done = home.run("run", "hostile", json.dumps({"do": "disk", "how": how}))
    assert done.returncode == 137
    assert not list((home.home / "data" / "scratch").glob("*/f*"))
    (row,) = [row for row in home.json("audit") if row["action"] == "sandbox:limit"][-1:]
    assert (row["outcome"], row["agent"]) == ("deny", "hostile")
    assert "32 MiB or 10000 files in its scratch folder" in row["why"]


@pytest.mark.parametrize("fd", [1, 2])
def test_who_writes_without_end_is_killed(home: System, fd: int) -> None:
    pid = home.start("hostile", json.dumps({"do": "output", "fd": fd}))
    assert home.run("wait", str(pid)).returncode == 137
    assert home.ps(pid)["reason"] == "more than 8 MiB of output"
    (row,) = [row for row in home.json("audit", str(pid)) if row["action"] == "sandbox:limit"]
    assert (row["outcome"], row["agent"], row["why"]) == ("deny", "hostile", "more than 8 MiB of output")


def test_who_makes_threads_without_end_is_killed(home: System) -> None:
    done = home.run("run", "hostile", json.dumps({"do": "threads"}))
    assert done.returncode == 137
    assert "more than 32 threads" in home.json("audit")[-1]["why"]


def test_malformed_frames_are_answered_or_end_their_connection(home: System) -> None:
    told = attack(home, "frames")
    codes = {name: line.split(" ")[1] for name, line in told.items() if line.startswith("HTTP/1.1 ")}
    assert codes == {
        "bytes": "400",
        "no http": "400",
        "a length that lies": "400",
        "no json": "400",
        "deep json": "400",
        "wrong types": "400",
        "no such syscall": "404",
        "no token": "401",
        "half a body": "401",  # without a token nobody waits for the rest
        "another's pid": "401",
        "a forged secret": "401",
        "a person's route": "403",
        "itself": "200",
    }
    assert "sandbox:frame" in {row["action"] for row in home.json("audit")}
    assert told.keys() - codes.keys() == {"an endless head"}


@pytest.mark.parametrize("how", ["syscalls", "frames", "dials"])
def test_a_flood_is_its_own_senders_delay(home: System, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Others' syscalls in seconds of flood and in the seconds between, which the machine's other work is in as well."""
    witness = home.start("hostile", json.dumps({"do": "witness", "seconds": 12}))
    told = attack(home, "flood", how=how, rounds=5)
    home.ok("wait", str(witness))
    took = json.loads(home.ok("logs", str(witness), "--output"))["took"]
    begin, end = told["windows"][0][0], told["windows"][-1][1]
    during, between = [], []
    for at, ms in took:
        if begin <= at <= end:
            (during if any(first <= at <= last for first, last in told["windows"]) else between).append(ms)
    ratio = statistics.median(during) / statistics.median(between)
    with capsys.disabled():
        print(
            f" [{how}: {told['num']} in 5 s; others' median {statistics.median(between):.1f} ms, then "
            f"{statistics.median(during):.1f}: {ratio:.2f}x] ",
            end="",
        )
    assert told["num"] > 0
    assert ratio < 2.5  # 1.0 to 1.6 on two cores that others used too

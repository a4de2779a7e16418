"""Programs of tools: what they come to, and what they cannot reach."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import psutil
import pytest

from aios_kernel.client import protection
from aios_kernel.client.protection import Engine
from aios_kernel.errors import NotPermitted, ToolFailed
from aios_kernel.sandbox.config import SandboxConfig
from aios_kernel.sandbox.run import Limits, ToolSandbox

pytestmark = pytest.mark.anyio


@pytest.fixture
def sandbox(tmp_path: Path) -> ToolSandbox:
    engine, found = protection.tools()
    if engine is Engine.NONE:
        pytest.skip(f"nothing on this machine keeps programs apart: {found}")
    return ToolSandbox(tmp_path / "scratch", SandboxConfig())


async def test_a_program_speaks_and_ends(sandbox: ToolSandbox, tmp_path: Path) -> None:
    done = await sandbox.run(["/bin/sh", "-c", "cat; echo said >&2; pwd > own; exit 3"], stdin=b"heard")
    assert (done.exit_code, done.stdout, done.stderr, done.truncated, done.why) == (3, b"heard", b"said\n", False, "")
    assert list((tmp_path / "scratch").iterdir()) == []
    mine = tmp_path / "mine"
    mine.mkdir()
    (tmp_path / "given").write_text("seen")
    done = await sandbox.run(["/bin/sh", "-c", "cat ../given > own"], cwd=mine, read=[tmp_path / "given"])
    assert (done.exit_code, (mine / "own").read_text()) == (0, "seen")


async def test_python_shows_its_lines(sandbox: ToolSandbox) -> None:
    done = await sandbox.python("print('är', 6 * 7)")
    assert (done.exit_code, done.stdout.decode()) == (0, "är 42\n")
    done = await sandbox.python("def f():\n    1 / 0\nf()")
    assert done.exit_code == 1
    assert b'File "<code>", line 2, in f\n    1 / 0\n' in done.stderr


@pytest.mark.parametrize(
    ("script", "limits", "why"),
    [
        ("sleep 60", Limits(wall_s=1), "longer than 1 s"),
        ("yes > /dev/null", Limits(cpu_s=1), "killed"),
        ("head -c 1000000000 /dev/zero | tail", Limits(memory_bytes=64 << 20), "killed"),
        (
            "while :; do head -c 1000000 /dev/urandom > f$((i += 1)); done",
            Limits(disk_bytes=8 << 20),
            "more than 8 MiB",
        ),
        ("setsid sleep 61 & sleep 60", Limits(wall_s=1), "longer than 1 s"),
    ],
)
async def test_limits(sandbox: ToolSandbox, script: str, limits: Limits, why: str) -> None:
    done = await sandbox.run(["/bin/sh", "-c", script], limits=limits)
    assert (done.exit_code, done.why[: len(why)]) == (137, why)


async def test_a_fork_bomb_is_its_own_only(sandbox: ToolSandbox) -> None:
    done = await sandbox.run(["/bin/sh", "-c", "b() { b | b & b; }; b"], limits=Limits(wall_s=3))
    assert b"ork" in done.stderr  # cannot fork


async def test_a_flood_is_cut(sandbox: ToolSandbox) -> None:
    done = await sandbox.run(["yes"], limits=Limits(wall_s=1, output_bytes=1_000))
    assert (len(done.stdout), done.truncated) == (1_000, True)


REACH = """
import os, resource, socket, sys
def tried(what, act):
    try: print("GOT", what, act())
    except OSError: pass
secret, port = sys.argv[1:]
tried("file", lambda: open(secret).read())
tried("mode", lambda: os.chmod(secret, 0o777))
tried("times", lambda: os.utime(secret, (0, 0)))
tried("home", lambda: os.listdir(os.path.dirname(secret)))
tried("tcp", lambda: socket.create_connection(("127.0.0.1", int(port)), 1))
tried("unix", lambda: socket.socket(socket.AF_UNIX).connect(secret + ".sock"))
tried("kill", lambda: os.kill(os.getppid(), 0))
tried("limits", lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CORE, (0, 0)))
tried("environment", lambda: os.environb[b"A_SECRET"] if b"A_SECRET" in os.environb else open("/nonexistent"))
"""


async def test_nothing_of_the_persons_is_in_reach(
    sandbox: ToolSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET", "s3cret")
    secret = tmp_path / "secret"
    secret.write_text("x")
    before = secret.stat()
    unix = await asyncio.start_unix_server(lambda *_: None, str(secret) + ".sock")
    tcp = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with unix, tcp:
        port = tcp.sockets[0].getsockname()[1]
        (tmp_path / "reach.py").write_text(REACH)
        argv = [sys.executable, "-I", "-S", str(tmp_path / "reach.py"), str(secret), str(port)]
        done = await sandbox.run(argv, read=[tmp_path / "reach.py"])
    assert (done.stdout, done.stderr, done.exit_code) == (b"", b"", 0)
    assert (secret.stat().st_mode, secret.stat().st_mtime) == (before.st_mode, before.st_mtime)


async def test_who_gives_up_leaves_nothing_behind(sandbox: ToolSandbox, tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await sandbox.run(["/bin/sh", "-c", "setsid sleep 4711 & sleep 4711"])
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not [each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] == ["sleep", "4711"]]


async def test_what_cannot_start(sandbox: ToolSandbox) -> None:
    assert (await sandbox.run(["nosuchprogram"])).exit_code in (126, 127)
    with pytest.raises(ToolFailed, match="too long"):
        await sandbox.run(["echo", "x" * 100_000])


async def test_without_protection_nothing_runs_unless_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aios_kernel.client.protection.tools", lambda: (Engine.NONE, "no sandlock; no bubblewrap"))
    with pytest.raises(NotPermitted, match=r"no bubblewrap\): \[sandbox\] unprotected = true"):
        await ToolSandbox(tmp_path, SandboxConfig()).run(["true"])
    done = await ToolSandbox(tmp_path, SandboxConfig(unprotected=True)).python("print(1)")
    assert (done.exit_code, done.stdout) == (0, b"1\n")

"""One AIOS_HOME and the real command line over it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from aios_kernel.client import KernelClient

# Longest that any single command of a test may take on a loaded machine before it counts as hung.
COMMAND_DEADLINE_S = 100

# Memory for contexts takes a second to get; several threads wait for each other where other tests keep the cores busy.
LIGHT = "[model]\nslots = 4\nwindow = 2048\nthreads = 1\n"


def runs(process: psutil.Process) -> bool:
    """Whether it still does anything: a zombie only waits for init to collect it."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class System:
    """One AIOS_HOME and the `aios` command over it, as a person at a terminal has them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {k: v for k, v in os.environ.items() if k not in ("AIOS_HOME", "NO_COLOR", "FORCE_COLOR")}
        self.env["AIOS_HOME"] = str(home)

    def popen(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options}
        return subprocess.Popen([sys.executable, "-m", "aios_shell", *words], env=self.env, text=True, **options)

    def run(self, *words: str, stdin: str | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        with self.popen(*words, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE, **options) as process:
            try:
                out, err = process.communicate(stdin, timeout=COMMAND_DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                pytest.fail(f"aios {' '.join(words)} hung; stdout {out!r}, stderr {err!r}\n{self.log()}")
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def ok(self, *words: str, **options: Any) -> str:
        """Standard output of a command that must succeed."""
        done = self.run(*words, **options)
        assert done.returncode == 0, f"aios {words} exited {done.returncode}: {done.stderr}\n{self.log()}"
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.ok(*words, "--json"))

    def start(self, agent: str, task: str, *options: str) -> int:
        """Start an agent in the background; its pid."""
        return int(self.json("run", agent, task, *options, "--bg")["pid"])

    def ps(self, pid: int) -> dict[str, Any]:
        return next(row for row in self.json("ps", "--all") if row["pid"] == pid)

    def configure(self, text: str) -> None:
        """Write all of config.toml."""
        folder = self.home / "config"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "config.toml").write_text(text)

    def client(self) -> KernelClient:
        """Speaks to the running kernel as the person does."""
        return KernelClient(str(self.home / "kernel.sock"))

    def log(self) -> str:
        path = self.home / "state" / "kernel.log"
        return "kernel.log:\n" + path.read_text(errors="replace")[-4000:] if path.exists() else "no kernel.log"

"""A kernel that is told to let agents run with all the rights of the person."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from daemons import Daemon
from system import LIGHT


def test_an_agent_may_be_let_loose(home: Path, fresh: Callable[[], Daemon]) -> None:
    (home / "config" / "config.toml").write_text(f"{LIGHT}[sandbox]\nagents = false\n")
    daemon = fresh()
    pid = daemon.run("daemonize")
    assert daemon.finished(pid).exit_code == 0
    # Its grandchild lives, holds the pipes, and does not hold the end.
    os.kill(int(daemon.output(pid)), signal.SIGKILL)
    assert "agents run with all your rights: the configuration says so" in daemon.log()


def test_one_that_is_let_loose_and_writes_without_end_is_killed(home: Path, fresh: Callable[[], Daemon]) -> None:
    (home / "config" / "config.toml").write_text(f"{LIGHT}[sandbox]\nagents = false\noutput_bytes = 1048576\n")
    daemon = fresh()
    ended = daemon.finished(daemon.run("flood 8000000"))
    assert (ended.exit_code, ended.reason) == (137, "more than 1 MiB of output")

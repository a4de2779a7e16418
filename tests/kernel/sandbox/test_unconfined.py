"""A kernel that is told to let agents run with all the rights of the person."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from daemons import Daemon


def test_an_agent_may_be_let_loose(home: Path, fresh: Callable[[], Daemon]) -> None:
    (home / "config" / "config.toml").write_text("[sandbox]\nagents = false\n")
    daemon = fresh()
    pid = daemon.run("daemonize")
    assert daemon.finished(pid).exit_code == 0
    # Its grandchild lives, holds the pipes, and does not hold the end.
    os.kill(int(daemon.output(pid)), signal.SIGKILL)
    assert "agents run with all your rights: the configuration says so" in daemon.log()

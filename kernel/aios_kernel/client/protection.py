"""Which protection this machine offers to agents and to tools. Looked up without a kernel, for `aios doctor` too."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from enum import StrEnum
from functools import cache
from typing import Final

from aios_kernel.client import confine
from aios_kernel.client.confine import landlock, seccomp

_SANDLOCK_ABI: Final = 6  # what sandlock asks of Landlock: Linux 6.12
_TRIAL_S: Final = 5.0


class Engine(StrEnum):
    """What keeps a tool's processes apart: all of them, as many as they become."""

    SANDLOCK = "sandlock"
    BUBBLEWRAP = "bubblewrap"
    NONE = "none"


def agents_why_not() -> str:
    """Why agents cannot be confined here; "" where they can."""
    return confine.why_not()


def refusals_why_not() -> str:
    """Why what is refused to agents cannot be told of, where they are confined; "" where it is. Takes milliseconds."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            confine.drop_capabilities()
            seccomp.install_heard(seccomp.alone(os.getpid()))
            code = 0
        finally:
            os._exit(code)
    return "" if os.waitpid(pid, 0)[1] == 0 else "something listens to these processes already, as container runners do"


@cache
def tools() -> tuple[Engine, str]:
    """The engine for tools, and what it is or why there is none. The first call may take some milliseconds."""
    missing = _sandlock_why_not()
    if not missing:
        return Engine.SANDLOCK, f"sandlock: Landlock {landlock.abi()} and seccomp"
    why_not = _bubblewrap_why_not()
    if not why_not:
        return Engine.BUBBLEWRAP, "bubblewrap: namespaces of its own"
    return Engine.NONE, f"{missing}; {why_not}"


def _sandlock_why_not() -> str:
    if missing := confine.why_not():
        return f"no sandlock: {missing}"
    if landlock.abi() < _SANDLOCK_ABI:
        return f"no sandlock: Landlock {landlock.abi()}, and it needs {_SANDLOCK_ABI} (Linux 6.12)"
    return "" if importlib.util.find_spec("sandlock") else "no sandlock: the package is not installed"


def _bubblewrap_why_not() -> str:
    if sys.platform != "linux":
        return "bubblewrap is Linux's"
    if os.getuid() == 0:
        return "no bubblewrap: root's processes cannot be counted by it"
    if not (shutil.which("bwrap") and shutil.which("prlimit")):
        return "no bubblewrap: bwrap, or prlimit of util-linux, is not installed"
    trial = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]
    try:
        done = subprocess.run(trial, capture_output=True, timeout=_TRIAL_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no bubblewrap: {error}"
    return "" if done.returncode == 0 else f"no bubblewrap: {done.stderr.decode(errors='replace').strip()[:200]}"

"""Starts one tool's program under an engine: a process of its own, so that none of this happens in the kernel's.

    python -m aios_kernel.sandbox.launch CONTROL_FD

A line of JSON (Launch) comes by CONTROL_FD; when that ends, so does the program with all it has started. Standard
streams are the program's, and so is the exit code; 137 when it was killed, for a limit or otherwise.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from aios_kernel.client import confine
from aios_kernel.client.confine import seccomp
from aios_kernel.client.protection import Engine

KILLED_EXIT: Final = 137
NOT_STARTED_EXIT: Final = 126


@dataclass(frozen=True, slots=True)
class Launch:
    """What is to run, and what it may have. Folders are absolute; `cwd` is the one that it may write to."""

    engine: str
    argv: list[str]
    cwd: str
    read: list[str]
    memory_bytes: int  # of all its processes together; under bubblewrap of each
    file_bytes: int
    cpu_s: int  # of each process
    processes: int
    open_files: int


def main() -> NoReturn:
    """Entry point."""
    control = int(sys.argv[1])
    with open(control, encoding="utf-8", closefd=False) as file:
        launch = Launch(**json.loads(file.readline()))
    limits = {
        resource.RLIMIT_FSIZE: launch.file_bytes,
        resource.RLIMIT_NOFILE: launch.open_files,
        resource.RLIMIT_CPU: launch.cpu_s,
        resource.RLIMIT_CORE: 0,
    }
    os.chdir(launch.cwd)
    confine.set_limits(limits)
    match launch.engine:
        case Engine.SANDLOCK:
            confine.drop_capabilities()
            seccomp.install(seccomp.others_files())  # sandlock leaves these
            _sandlock(launch, control)
        case Engine.BUBBLEWRAP:
            _become(_bubblewrap(launch))
        case _:
            _become(launch.argv)


def _sandlock(launch: Launch, control: int) -> NoReturn:
    from sandlock import Sandbox, StdioMode  # type: ignore[import-untyped]

    sandbox = Sandbox(
        fs_readable=[path for path in launch.read if Path(path).exists()],
        fs_writable=[launch.cwd, "/dev/null"],
        cwd=launch.cwd,
        max_memory=launch.memory_bytes,
        max_processes=launch.processes,
        no_coredump=True,
    )
    inherit = StdioMode.INHERIT
    process = sandbox.popen(launch.argv, stdin=inherit, stdout=inherit, stderr=inherit)

    def end_with_the_kernel() -> None:
        os.read(control, 1)
        process.kill()

    threading.Thread(target=end_with_the_kernel, daemon=True).start()
    code = process.wait().exit_code
    os._exit(code if code >= 0 else KILLED_EXIT)


def _bubblewrap(launch: Launch) -> list[str]:
    """Namespaces of its own, with no network; a process's own limits only count in there, so they are set in there."""
    own = ("/dev/", "/proc/")  # it makes these anew
    read = [path for path in launch.read if Path(path).exists() and not path.startswith(own)]
    seen = [word for path in read for word in ("--ro-bind", path, path)]
    return [
        *("bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--proc", "/proc", "--dev", "/dev"),
        *seen,
        *("--bind", launch.cwd, launch.cwd, "--chdir", launch.cwd, "--"),
        *("prlimit", f"--nproc={launch.processes}", f"--as={launch.memory_bytes}", "--", *launch.argv),
    ]


def _become(argv: list[str]) -> NoReturn:
    try:
        os.execvp(argv[0], argv)  # noqa: S606  # the tool's own words, no shell's
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error.strerror}\n")
        os._exit(NOT_STARTED_EXIT)


if __name__ == "__main__":
    main()

"""Starts and stops the kernel for clients. Cheap to import: most commands find a kernel running."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from aios_kernel.client import KernelClient, Paths, paths
from aios_kernel.client.address import Address
from aios_kernel.errors import DeadlineHit, KernelError, KernelUnreachable, from_wire

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0
LOG_BYTES: Final = 8 << 20  # of the kernel's log when a start begins a new one; the former one is kept

_READY_FD: Final = 3


def connect(
    on_notice: Callable[[str], None], listen: Address | None = None, on_start: Callable[[], None] = lambda: None
) -> KernelClient:
    """A client of the running kernel, which is started when there is none.

    Args:
        on_notice: hears, in one line, when the former kernel had died.
        listen: where a kernel that is started here listens on TCP; None: where its configuration says.
        on_start: hears that a kernel is being started, which takes a second or more.

    Raises:
        KernelUnreachable: it did not start; the message ends with the last line of its log.
        BadConfig: config.toml is wrong.
    """
    where = paths()
    if not answers(where):
        on_start()
        _start(where, on_notice, listen)
    return KernelClient(str(where.socket))


def answers(where: Paths) -> bool:
    """True when a kernel listens on the socket, and is not just being killed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(where.socket))
        except OSError:
            return False
    return not _is_dying(_run_pid(where))


def _is_dying(pid: int | None) -> bool:
    """True when SIGKILL has reached the process. Its socket accepts until all its memory is given back: 0.1 s and more.

    Source: proc_pid_status(5): no VmRSS once the memory is going, SigPnd is a bit mask.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has ended, there is none, or this is not Linux
        return False
    fields = dict(line.split(":", 1) for line in lines)
    return "VmRSS" not in fields or bool(int(fields["SigPnd"], 16) >> (signal.SIGKILL - 1) & 1)


def stop(timeout_s: float = STOP_TIMEOUT_S) -> bool:
    """Stop the kernel and wait until it is gone. False: none ran.

    Raises:
        DeadlineHit: it has not ended in time.
    """
    where = paths()
    process = _open_process(_run_pid(where))
    try:
        try:
            KernelClient(str(where.socket)).stop()
        except KernelUnreachable:
            if not is_running(where):
                return False  # else it is starting, or stopping already: wait for it
        with _locked(where.lock, timeout_s, "the kernel has not ended"):
            pass
        if process is not None:  # its lock goes a moment before it does
            select.select([process], [], [], timeout_s)
        return True
    finally:
        if process is not None:
            os.close(process)


def is_running(where: Paths) -> bool:
    """True while a kernel holds the lock, whether it answers or not."""
    try:
        with where.lock.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _start(where: Paths, on_notice: Callable[[str], None], listen: Address | None) -> None:
    """Start a kernel. Of several starters one does it while the others wait here."""
    try:
        where.make()
        with _locked(where.state / "start.lock", START_TIMEOUT_S, "another command is still starting the kernel"):
            if answers(where):
                return
            dead = None if is_running(where) else _run_pid(where)
            _turn_log(where.log)
            _spawn(where, listen)
    except OSError as error:
        raise KernelUnreachable(f"the kernel cannot start: {error.filename}: {error.strerror}") from error
    if dead is not None:
        on_notice(f"the kernel (pid {dead}) had died; started a new one")


def _turn_log(log: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))


def _run_pid(where: Paths) -> int | None:
    """Pid of the kernel that runs, or that ended without cleaning up; None: neither."""
    with contextlib.suppress(FileNotFoundError, ValueError):  # ValueError: killed while it wrote the file
        return int(where.run_file.read_text())
    return None


def _open_process(pid: int | None) -> int | None:
    """A descriptor that becomes readable when the process ends. None: it has ended, or this is not Linux."""
    with contextlib.suppress(OSError):
        if pid is not None and sys.platform == "linux":
            return os.pidfd_open(pid)
    return None


def _spawn(where: Paths, listen: Address | None) -> None:
    """Start the daemon and wait for its report. It leaves this process's session by itself."""
    ready, report = os.pipe()
    try:
        command = [sys.executable, "-P", "-m", "aios_kernel", "--ready-fd", str(_READY_FD)]
        command += ["--listen", str(listen)] if listen is not None else []
        log_flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        child = os.posix_spawn(
            sys.executable,
            command,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, report, _READY_FD),
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(where.log), log_flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
        )
        os.close(report)
        report = -1
        os.waitpid(child, 0)  # it forks at once: the kernel is its child
        _await_report(ready, where)
    finally:
        os.close(ready)
        if report >= 0:
            os.close(report)


def _await_report(ready: int, where: Paths) -> None:
    readable, _, _ = select.select([ready], [], [], START_TIMEOUT_S)
    if not readable:
        raise KernelUnreachable(f"the kernel did not start in {START_TIMEOUT_S:g} s{_last_words(where)}")
    with open(ready, "rb", closefd=False) as file:
        line = file.readline().decode(errors="replace").strip()
    if line.startswith("error: "):
        raise _start_error(line.removeprefix("error: "))
    if line != "ready":
        raise KernelUnreachable(f"the kernel died while it started{_last_words(where)}")


def _start_error(body: str) -> KernelError:
    error = from_wire(json.loads(body))
    if type(error).__name__ == "BadConfig":
        return error
    return KernelUnreachable(f"the kernel cannot start: {error.message}", **error.data)


def _last_words(where: Paths) -> str:
    with contextlib.suppress(OSError):
        lines = where.log.read_text(errors="replace").split("\n")
        return next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "") + f" (log: {where.log})"
    return ""


@contextlib.contextmanager
def _locked(path: Path, timeout_s: float, late: str) -> Iterator[None]:
    """Hold a file's lock. Raises DeadlineHit with `late` when it is not free in time.

    flock(2) has no deadline: a thread waits in it, and is left to itself when it is late.
    """
    with path.open("a") as file:
        path.chmod(0o600)
        taken = threading.Event()
        gave_up = threading.Event()
        fd = os.dup(file.fileno())  # stays valid for a thread that waits on

        def take() -> None:
            fcntl.flock(fd, fcntl.LOCK_EX)
            taken.set()
            if gave_up.is_set():
                os.close(fd)

        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            threading.Thread(target=take, daemon=True).start()
            if not taken.wait(timeout_s):
                gave_up.set()
                raise DeadlineHit(f"{late} after {timeout_s:g} s") from None
        try:
            yield
        finally:
            os.close(fd)

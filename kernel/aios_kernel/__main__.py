"""The kernel daemon's command: python -m aios_kernel [--foreground]. Clients start it by `client.launch`."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import select
import sys
from typing import Final

from aios_kernel.client.address import Address, parse_address
from aios_kernel.client.launch import answers
from aios_kernel.client.paths import Paths, paths
from aios_kernel.errors import BadConfig, InternalError, KernelError, row_of, to_wire

TAKEOVER_S: Final = 30.0  # for a kernel that holds the lock to answer, or to finish stopping
TAKEOVER_POLL_S: Final = 0.02


def main() -> int:
    """Run the kernel of this AIOS_HOME; where one runs already, end quietly with 0."""
    parser = argparse.ArgumentParser(prog="python -m aios_kernel", description="The AIOS kernel daemon.")
    parser.add_argument("--check", action="store_true", help="only say whether the configuration is right")
    parser.add_argument("--foreground", action="store_true", help="do not detach; log to standard error")
    parser.add_argument(
        "--ready-fd", type=int, help="descriptor that hears 'ready', or 'error: ' and the error as JSON"
    )
    parser.add_argument("--listen", metavar="HOST:PORT", help="answer foreign clients there, over TCP")
    options = parser.parse_args()
    if options.check:
        return _check()
    if not options.foreground and os.fork():  # the child belongs to nobody: no terminal, no zombie
        return 0
    if not options.foreground:
        os.setsid()
    report = _Report(options.ready_fd)
    try:
        listen = parse_address(options.listen) if options.listen is not None else None
        return _run(report, listen, foreground=options.foreground)
    except KernelError as error:
        report.failed(error)
        print(f"aios kernel: {error}", file=sys.stderr)
        return row_of(error).exit
    except OSError as error:
        report.failed(InternalError(str(error)))
        print(f"aios kernel: {error}", file=sys.stderr)
        return 1


def _check() -> int:
    from aios_kernel import config
    from aios_kernel.scheduler.policies import POLICIES

    try:
        config.load(paths().config_file, tuple(sorted(POLICIES)))
    except BadConfig as error:
        print(error.message, file=sys.stderr)
        return row_of(error).exit
    return 0


class _Report:
    """Tells the starter, once, how the start went."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        if fd is not None:
            os.set_inheritable(fd, False)  # the agent host must not hold it open

    def ready(self) -> None:
        self._say("ready")

    def failed(self, error: KernelError) -> None:
        self._say("error: " + json.dumps(to_wire(error), default=str))

    def _say(self, line: str) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            with contextlib.suppress(BrokenPipeError):  # the starter has given up
                os.write(fd, line.encode() + b"\n")
            os.close(fd)


def _run(report: _Report, listen: Address | None, *, foreground: bool) -> int:
    user_umask = os.umask(0o077)
    where = paths()
    where.make()
    if "AIOS_HOME" in os.environ:
        os.environ["AIOS_HOME"] = str(where.state.parent)  # the working folder changes below
    lock = os.open(where.lock, os.O_RDWR | os.O_CREAT, 0o600)  # never closed: it goes when the process has gone
    if not _take(lock, where):
        report.ready()
        if foreground:
            print("aios kernel: already running", file=sys.stderr)
        return 0
    os.chdir("/")  # keep no file system busy
    try:
        where.run_file.write_text(f"{os.getpid()}\n")
        _serve(where, user_umask, listen, report)
    finally:
        where.run_file.unlink(missing_ok=True)
    return 0


def _serve(where: Paths, user_umask: int, listen: Address | None, report: _Report) -> None:
    import logging
    import resource

    import uvloop

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a process needs some five descriptors; macOS refuses "unlimited"
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65_536)), hard))
    from aios_kernel.daemon import serve

    uvloop.run(serve(where, user_umask, listen, report.ready))


def _take(lock: int, where: Paths) -> bool:
    """Take the kernel's lock. False: another kernel has it, and answers.

    Raises:
        InternalError: the one that has it neither answers nor ends.
    """
    for _ in range(int(TAKEOVER_S / TAKEOVER_POLL_S)):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if answers(where):
            return False
        select.select([], [], [], TAKEOVER_POLL_S)  # neither a lock nor a socket can be waited for together
    raise InternalError(f"another kernel holds {where.lock} but does not answer")


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # a thread that cannot be interrupted (a model being loaded, a tool) must not hold up the end

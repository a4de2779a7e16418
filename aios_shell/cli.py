"""The `aios` command: from argv, a line, a script or a pipe to the shell. What is not needed is not imported."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NoReturn

from aios_shell.io import Io, open_missing
from aios_shell.session import Session

if TYPE_CHECKING:
    from aios_kernel.client import KernelClient

USAGE, INTERRUPTED, CLOSED_PIPE = 2, 130, 141


def main() -> NoReturn:
    """Run `aios` with this process's arguments."""
    open_missing()
    session = Session(connect)
    signal.signal(signal.SIGINT, lambda *_: session.foreground.interrupt())
    io = Io(session)
    try:
        status = _door(sys.argv[1:], io)
        session.wait_jobs(carried_only=True)
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:
        status = CLOSED_PIPE
    # Threads that still wait for input, and the interpreter's flush of streams that nobody reads, would only delay.
    os._exit(status)


def _door(args: list[str], io: Io) -> int:
    first = args[0] if args else ""
    if not args:
        return _without_arguments(io)
    if first in ("-c", "-f"):
        if len(args) < 2:
            io.note(f"{first} needs {'a command line' if first == '-c' else 'a file'}")
            return USAGE
        return _lines(args[1].splitlines(keepends=True), io) if first == "-c" else _script(args[1], io)
    if first in ("--version", "-V"):
        from importlib.metadata import version

        io.line(f"aios {version('aios-shell')}")
        return 0
    if first in ("--help", "-h"):
        return _words(["help"], io)
    if first.startswith("-"):
        io.note(f"no option is called '{first}'; see `aios help`")
        return USAGE
    return _words(args, io)


def _without_arguments(io: Io) -> int:
    if not io.tty(io.stdin):
        with open(io.stdin, encoding="utf-8", errors="surrogateescape", closefd=False) as lines:
            return _lines(lines, io)
    if not io.tty(io.stdout):
        return _words(["help"], io)
    # The app draws by way of standard error, and needs a terminal that can be drawn on.
    drawable = io.tty(io.stderr) and io.session.env.get("TERM", "dumb") != "dumb"
    return _words(["top" if drawable else "repl"], io)


def _words(words: list[str], io: Io) -> int:
    """`aios COMMAND ...` and `aios AGENT ...`. Programs of this machine need no `aios` before them."""
    from aios_shell import registry
    from aios_shell.typer_app import execute

    if not registry.is_builtin(words[0]):
        from aios_kernel.errors import KernelError, row_of
        from aios_shell.language.lookup import Builtin, look_up

        try:
            target = look_up(words, io.session, io.note, programs=False)
        except KernelError as error:
            io.note(error.message)
            return row_of(error).exit
        assert isinstance(target, Builtin)
        words = target.words
    return execute(words, io)


def _script(path: str, io: Io) -> int:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as lines:  # noqa: PTH123 -- "-f /dev/stdin" too
            return _lines(lines, io)
    except OSError as error:
        io.note(f"{path}: {error.strerror}")
        return USAGE


def _lines(lines: Iterator[str] | list[str], io: Io) -> int:
    """Run command lines in turn; a line goes on while a quote or an operator is open. Returns the last status."""
    from aios_shell.language.parse import Incomplete, SyntaxProblem, parse
    from aios_shell.language.pipeline import run_line

    session, held = io.session, ""
    source = iter(lines)
    while session.exit_status is None:
        text = next(source, None)
        try:
            if text is None and not held:
                break
            held += text or ""
            line = parse(held.rstrip("\n"))
        except Incomplete as problem:
            if text is not None:
                continue
            io.narrate(problem.show())
            return USAGE
        except SyntaxProblem as problem:
            io.narrate(problem.show())
            return USAGE
        held = ""
        run_line(line, io)
        if session.foreground.interrupted:
            break
    return session.status


def connect(on_notice: Callable[[str], None]) -> KernelClient:
    """A client of the running kernel; `launch` is imported only when one is asked for."""
    from aios_kernel.client.launch import connect

    def tell() -> None:
        if os.isatty(2):  # somebody waits
            on_notice("starting the kernel")

    return connect(on_notice, on_start=tell)

"""Host programs and built-ins through the executor, over real pipes and files."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from shell.conftest import Shell


@pytest.mark.parametrize(
    ("line", "status", "out"),
    [
        ("echo hi | tr a-z A-Z", 0, "HI\n"),
        ("false", 1, ""),
        ("false || echo b && echo c", 0, "b\nc\n"),
        ("true || echo b; echo c", 0, "c\n"),
        ("false; echo $?", 0, "1\n"),
        ("false | true", 0, ""),
        ("true | false", 1, ""),
        ("yes | head -n 2", 0, "y\ny\n"),
        ("sh -c 'kill -9 $$'", 137, ""),
        ("sh -c 'kill -TERM $$' | cat; echo $?", 0, "0\n"),
        ("sh -c 'echo a; echo b >&2' 2>&1 | sort -r", 0, "b\na\n"),
        ("sh -c 'echo b >&2' 2>err; cat err", 0, "b\n"),
        ("echo a > f; echo b >> f; cat < f", 0, "a\nb\n"),
        ("> empty; wc -c < empty | tr -d ' '", 0, "0\n"),
        ("cd / ; pwd", 0, "/\n"),
        ("cd / | cat; pwd | xargs basename", 0, "here\n"),
        ("export A='b c'; sh -c 'echo $A'; echo $A", 0, "b c\nb c\n"),
        ("exit 7; echo never", 7, ""),
        ("false; exit", 1, ""),
        ("exit 3 | cat; echo on", 0, "on\n"),
        ("sh -c 'sleep 0.1; echo slow' > f & wait; cat f", 0, "slow\n"),
        ("help ps | head -n 1", 0, "usage: aios ps [OPTION...]\n"),
        ("echo x | help ps | head -n 1", 0, "usage: aios ps [OPTION...]\n"),
        ("cat | cat", 0, "from stdin"),
        ("? anything at all", 3, ""),
    ],
)
def test_lines(shell: Shell, line: str, status: int, out: str) -> None:
    assert (status, out) == shell.line(line, stdin="from stdin")[:2]


@pytest.mark.parametrize(
    ("line", "status", "err"),
    [
        ("kernel stauts", 2, "aios: kernel has no command 'stauts'; did you mean `kernel status`?\n"),
        ("/no/such/program", 127, "aios: no command, agent or program is called '/no/such/program'; see `aios help`\n"),
        ("cat < none | cat", 0, "aios: {here}/none: No such file or directory\n"),
        ("echo x > $NONE", 1, "aios: the file after '>' must be one, not 0\n"),
        ("cd none", 1, "aios: {here}/none: No such file or directory\n"),
        ("export 1=2", 2, "aios: '1' is not a variable's name\n"),
        ("./plain", 126, "aios: ./plain: Exec format error\n"),
        ("nosuchthing", 3, "aios: no kernel here\n"),
    ],
)
def test_failures_are_one_line(shell: Shell, line: str, status: int, err: str) -> None:
    plain = shell.folder / "plain"
    plain.write_bytes(b"\0no program")
    plain.chmod(0o700)
    assert (status, err.format(here=shell.folder)) == (lambda found: (found[0], found[2]))(shell.line(line))


def test_a_built_in_whose_reader_is_gone_ends_as_by_sigpipe(shell: Shell) -> None:
    # `true` reads nothing; enough help texts overrun the pipe's 64 KiB.
    line = "export BIG=" + "x" * 100_000 + "; export | true; export | cat > f"
    assert shell.line(line)[0] == 0
    assert (shell.folder / "f").stat().st_size > 100_000


def test_a_background_job_does_not_hold_the_line_up(shell: Shell) -> None:
    status, out, _ = shell.line("cat fifo > got & echo first; echo x > f; mkfifo never")
    assert (status, out) == (0, "first\n")


def test_jobs_run_at_the_same_time(shell: Shell) -> None:
    """Each waits for the other: a rendezvous over two fifos ends only if both are alive."""
    script = "mkfifo a b; sh -c 'echo 1 > a; cat b' > x & sh -c 'cat a; echo 2 > b' > y & wait; cat x y"
    assert shell.line(script)[:2] == (0, "2\n1\n")


def test_ctrl_c_ends_a_program_and_the_line(shell: Shell) -> None:
    status, out, _ = shell.line("sh -c 'kill -INT $$'; echo never")
    assert (status, out) == (130, "")


def test_ctrl_c_ends_a_built_in_that_waits(shell: Shell) -> None:
    session = shell.session
    previous = signal.signal(signal.SIGINT, lambda *_: session.foreground.interrupt())
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            shell.line("sleep 60 > f & wait")
    finally:
        signal.signal(signal.SIGINT, previous)
        timer.join()
    assert session.jobs == []

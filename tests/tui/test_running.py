"""Lines run for real, over pipes; there is no kernel here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tui_rig import DEADLINE_S, Rig, wait_until

from aios_shell.tui.ansi import plain
from aios_shell.tui.running import HIGH_WATER


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.runner.close()


def programs(*words: str) -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            found += [child] if child.cmdline() == list(words) else []
    return found


def test_pipes_redirects_programs_and_commands(rig: Rig, tmp_path: Path) -> None:
    assert rig.run("printf 'a\\nb\\n' | sort -r | tr ab AB > out; cat out") == (0, "B\nA\n")
    assert (tmp_path / "out").read_text() == "B\nA\n"
    assert rig.run("help | grep 'kernel start'") == (0, "  kernel start      Start the kernel.\n")


def test_both_streams_in_the_order_written(rig: Rig) -> None:
    assert rig.run("sh -c 'echo one; echo two >&2; echo three'") == (0, "one\ntwo\nthree\n")


def test_tables_are_as_wide_as_the_pane_and_errors_have_carets(rig: Rig) -> None:
    status, text = rig.run("bench ls")
    assert status == 0
    assert all(len(plain(line)) <= 60 for line in text.splitlines())
    assert "\x1b[1m" in text  # drawn as on a terminal
    assert rig.run("ls | | wc") == (2, "ls | | wc\n     ^\naios: unexpected '|', expected a command\n")


def test_what_a_line_changes_stays(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    rig.run("cd sub; export GREETING=hello; false")
    assert (0, f"{tmp_path}/sub hello 1\n") == rig.run("sh -c 'echo $PWD $GREETING'' '$?")


def test_pasted_lines_run_in_turn(rig: Rig) -> None:
    assert rig.run('echo "a b" &&\necho c\n# nothing') == (0, "a b\nc\n")


def test_input_is_empty_and_there_is_no_terminal_to_open(rig: Rig) -> None:
    assert rig.run("cat") == (0, "")
    status, text = rig.run("sh -c 'echo hi > /dev/tty'")
    assert status != 0
    assert "/dev/tty" in text


@pytest.mark.parametrize(
    "line", ["vim x", "true && /usr/bin/less x", "repl", "aios", "aios repl", "ls; top", "a | top"]
)
def test_what_takes_the_terminal_is_refused_in_one_line(rig: Rig, line: str) -> None:
    status, text = rig.run(line)
    assert status == 2
    assert text.startswith("aios: ")
    assert text.count("\n") == 1


def test_less_in_the_middle_of_a_pipe_draws_nothing(rig: Rig) -> None:
    assert rig.run("echo a | more | cat")[0] in (0, 127)


def test_a_kernel_in_the_foreground_would_replace_the_app(rig: Rig) -> None:
    assert "would take the place of this app" in rig.run("kernel start --foreground")[1]


def test_exit_tells_the_app(rig: Rig) -> None:
    rig.run("exit 3")
    assert rig.heard.statuses == [3]


def test_no_kernel_is_told(rig: Rig) -> None:
    assert rig.run("ps") == (3, "aios: no kernel here\n")
    assert rig.run("attach 4") == (3, "aios: no kernel here\n")


def test_output_without_end_waits_to_be_shown_and_ctrl_c_ends_it(rig: Rig) -> None:
    line = rig.start("yes interminable")
    wait_until(lambda: line.reader._num_chars >= HIGH_WATER)
    before = line.reader._num_chars
    assert before < 2 * HIGH_WATER + 65536
    lines, _, lost = line.reader.take()
    assert {"interminable"} == set(lines)
    assert lost > 0
    assert rig.runner.interrupt()
    wait_until(lambda: line.status is not None)
    assert line.status == 130
    assert not programs("yes", "interminable")


def test_a_program_that_ignores_ctrl_c_is_killed_by_the_second_one(rig: Rig) -> None:
    line = rig.start("sh -c 'trap \"\" INT; echo ready; sleep 1000 & wait; sleep 1001'")
    wait_until(lambda: "ready" in line.reader.take()[0])
    rig.runner.interrupt()
    rig.runner.interrupt()
    wait_until(lambda: line.status is not None)
    assert not programs("sleep", "1000")


def test_lines_run_beside_each_other_and_ctrl_c_is_for_the_last(rig: Rig) -> None:
    first, second = rig.start("sleep 1002"), rig.start("sleep 1003")
    wait_until(lambda: programs("sleep", "1002") and programs("sleep", "1003"))
    assert rig.run("echo hi") == (0, "hi\n")
    rig.runner.interrupt()
    wait_until(lambda: second.status == 130)
    assert first.status is None
    rig.runner.interrupt()
    wait_until(lambda: first.status == 130)
    assert not rig.runner.interrupt()


def test_a_background_job_is_heard_after_its_line(rig: Rig, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    line = rig.start("cat gate | tr a-z A-Z &")
    wait_until(lambda: line.status == 0)
    (tmp_path / "gate").write_text("late\n")
    assert line.reader.done.wait(DEADLINE_S)
    assert line.reader.take()[0] == ["aios: [%1] cat gate | tr a-z A-Z", "LATE"]
    assert rig.heard.noted.wait(DEADLINE_S)
    assert rig.heard.notes == ["[%1] cat gate | tr a-z A-Z done"]
    assert not rig.session.jobs


def test_closing_ends_what_runs(rig: Rig) -> None:
    rig.start("sleep 1004")
    rig.start("sleep 1005 &")
    wait_until(lambda: programs("sleep", "1004") and programs("sleep", "1005"))
    rig.runner.close()
    wait_until(lambda: not programs("sleep", "1004") and not programs("sleep", "1005"))


def test_a_fault_of_the_shell_ends_the_line_and_is_told(rig: Rig) -> None:
    status, output = rig.run("attach " + "9" * 5000)  # more digits than Python reads
    assert status == 1
    assert "ValueError" in output

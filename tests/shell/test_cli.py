"""The doors into the shell, as processes: argv, -c, -f, a script, a pipe. None of these needs a kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def aios(tmp_path: Path):
    def run(*words: str, stdin: str = "", **more: str) -> tuple[int, str, str]:
        env = {"AIOS_HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"], "HOME": str(tmp_path), **more}
        done = subprocess.run(
            [sys.executable, "-m", "aios_shell", *words],
            input=stdin, env=env, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return run


def test_a_line_a_file_and_a_pipe_run_the_same_lines(aios, tmp_path: Path) -> None:
    script = (
        "#!/usr/bin/env -S aios -f\n# comment\ncd / &&\n  export A='1\n2'\nexport | /bin/grep -A1 ^A=\nexit 4\nhelp\n"
    )
    (tmp_path / "s").write_text(script)
    expected = (4, "A=1\n2\n", "")
    assert expected == aios("-c", script)
    assert expected == aios("-f", "s")
    assert expected == aios(stdin=script)


@pytest.mark.parametrize(
    ("words", "status", "err"),
    [
        (["-c", "run math | | x"], 2, "run math | | x\n           ^\naios: unexpected '|', expected a command\n"),
        (["-c", "cd 'a"], 2, "cd 'a\n   ^\naios: unclosed '\n"),
        (["-c", "cd / |"], 2, "cd / |\n      ^\naios: unexpected end of the line, expected a command\n"),
        (["-c"], 2, "aios: -c needs a command line\n"),
        (["-c", "cd 🦊\t| |"], 2, "cd 🦊\t| |\n     \t  ^\naios: unexpected '|', expected a command\n"),
        (["-c", "cd \x1b[2J | |"], 2, "cd ^[[2J | |\n           ^\naios: unexpected '|', expected a command\n"),
        (["-c", "A=1 help"], 127, "aios: no command is called 'A=1'; `export A=VALUE` sets a variable\n"),
        (["run", "--jsn", "math", "x"], 2, "aios: no such option: --jsn (see `aios help run`)\n"),
        (["run", "--nice", "3", "-x"], 2, "aios: no such option: -x (see `aios help run`)\n"),
        (
            ["wait", "1", "--timeout", "nan"],
            2,
            "aios: invalid value for '--timeout': nan is not at least 0 (see `aios help wait`)\n",
        ),
        (["-f", "none"], 2, "aios: none: No such file or directory\n"),
        (["--bogus"], 2, "aios: no option is called '--bogus'; see `aios help`\n"),
        (["kernel", "status"], 3, "aios: no kernel answers on {home}/kernel.sock\n"),
        (["kernel", "stop"], 0, "aios: no kernel runs\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_problems_are_short_and_have_their_code(aios, tmp_path: Path, words: list[str], status: int, err: str) -> None:
    assert (status, "", err.format(home=tmp_path / "home")) == aios(*words)


def test_the_version_and_where_things_are(aios, tmp_path: Path) -> None:
    assert aios("--version") == (0, "aios 0.1.0\n", "")
    status, out, _ = aios("locate", "--json")
    assert status == 0
    assert f'"log": "{tmp_path}/home/state/kernel.log"' in out


def test_doctor_works_without_a_kernel_and_starts_none(aios, tmp_path: Path) -> None:
    status, out, err = aios("doctor")
    assert (status, err) == (0, "")
    assert "kernel    not running" in out
    assert "agents    " in out
    assert "tools     " in out
    assert not (tmp_path / "home").exists()


def test_doctor_fails_on_a_folder_that_others_may_enter(aios, tmp_path: Path) -> None:
    (tmp_path / "home" / "state").mkdir(parents=True, mode=0o755)
    status, out, _ = aios("doctor")
    assert status == 1
    assert f"chmod 700 {tmp_path}/home/state" in out


def test_a_closed_pipe_ends_it_without_a_word(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with subprocess.Popen(
        [sys.executable, "-m", "aios_shell", "help"], stdout=write, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(write)
        assert process.stderr is not None
        assert (process.stderr.read(), process.wait(timeout=60)) == ("", 141)


def test_a_pull_that_cannot_reach_the_hub_is_one_line(aios) -> None:
    expected = (1, "", "aios: http://127.0.0.1:9 is not reachable: Connection refused\n")
    assert expected == aios("model", "pull", "a/b", HF_ENDPOINT="http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("line", "status", "err"),
    [
        ("aios help >&-", 1, "aios: output: Bad file descriptor\n"),
        ("aios help > /dev/full", 1, "aios: output: No space left on device\n"),
        ("aios <&-", 0, ""),
        ("aios -c 'a |' 2>&-", 2, ""),
        ("mkdir gone && cd gone && rmdir ../gone && aios -c 'cd /; help > /dev/null'", 0, ""),
        (r"printf 'cd / > a\0b' | aios", 2, "cd / > a^@b\n        ^\naios: unexpected NUL: this is not text\n"),
    ],
)
def test_odd_surroundings_are_no_traceback(tmp_path: Path, line: str, status: int, err: str) -> None:
    script = f'aios() {{ "{sys.executable}" -m aios_shell "$@"; }}; {line}'
    env = {
        "AIOS_HOME": str(tmp_path / "home"),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(
        ["sh", "-c", script], env=env, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
    )
    assert (status, err) == (done.returncode, done.stderr)


def test_doctor_finds_what_no_kernel_starts_with(aios, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir(mode=0o700)
    file = tmp_path / "config" / "config.toml"
    file.write_text("[model]\nslotz = 3\n")
    status, out, _ = aios("doctor", AIOS_HOME=str(tmp_path))
    assert status == 1
    assert f"fail settings  {file}:2: unknown key 'slotz'; did you mean slots?" in out
    file.write_text("[model]\nslots = 3\n")
    assert f"ok   settings  {file}" in aios("doctor", AIOS_HOME=str(tmp_path))[1]


def test_doctor_tells_of_a_home_that_cannot_be(aios) -> None:
    status, out, err = aios("doctor", AIOS_HOME="/tmp/" + "x" * 300)
    assert (status, err) == (1, "")
    assert "File name too long" in out

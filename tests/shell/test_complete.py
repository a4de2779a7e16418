from __future__ import annotations

import pytest

from aios_shell.complete import World, at_cursor, complete, split
from shell.conftest import Shell


class Fixed(World):
    """A world with known pids, agents and policies; its files are real."""

    def __init__(self, shell: Shell) -> None:
        super().__init__(shell.session)
        self.answers = {"procs": ["12", "13"], "agents": ["math", "narrate"], "policies": ["fifo", "rr"]}
        self.answers["snapshots"] = ["story"]

    def pids(self):
        return [complete_candidate(value) for value in self.answers["procs"]]

    def agents(self):
        return [complete_candidate(value) for value in self.answers["agents"]]

    def snapshots(self):
        return [complete_candidate(value) for value in self.answers["snapshots"]]

    def policies(self):
        return [complete_candidate(value) for value in self.answers["policies"]]


def complete_candidate(value: str):
    from aios_shell.complete import Candidate

    return Candidate(value)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ki"], ["kill"]),
        (["na"], ["narrate"]),
        (["kill", ""], ["12", "13"]),
        (["kill", "12", ""], ["13"]),
        (["kill", "-9", ""], ["12", "13"]),
        (["kill", "-s", "K"], ["KILL"]),
        (["kill", "--s"], ["--signal"]),
        (["nice", "5", "1"], ["12", "13"]),
        (["snap", "re"], ["restore"]),
        (["snap", "rm", ""], ["story"]),
        (["snap", "rm", "story", ""], []),
        (["snap", "show", ""], ["story", "12", "13"]),
        (["snap", "diff", "story", ""], ["12", "13"]),
        (["snap", "fork", ""], ["12", "13"]),
        (["snap", "restore", "story", "--agent", "m"], ["math"]),
        (["snap", "import", "a"], ["a file.txt"]),
        (["snap", "ls", "--j"], ["--json"]),
        (["run", "m"], ["math"]),
        (["run", "--nice", ""], []),
        (["math", "--b"], ["--bg"]),
        (["sched", "f"], ["fifo"]),
        (["wait", "12", "--state", "susp"], ["suspended"]),
        (["completion", "f"], ["fish"]),
        (["cat", ""], ["a file.txt", "folder/"]),
        (["cat", "folder/"], ["folder/inside"]),
        (["cd", ""], ["folder/"]),
        (["ps", ""], []),
        (["snap", "zz", ""], []),
    ],
    ids=" ".join,
)
def test_candidates(shell: Shell, words: list[str], expected: list[str]) -> None:
    (shell.folder / "folder").mkdir()
    (shell.folder / "folder" / "inside").touch()
    (shell.folder / "a file.txt").touch()
    (shell.folder / ".hidden").touch()
    assert expected == [candidate.value for candidate in complete(words, len(words) - 1, Fixed(shell))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ([], "")),
        ("kill 1", (["kill"], "1")),
        ("a | kill ", (["kill"], "")),
        ("a > ", (["a", "cat"], "")),
        ("echo 'a b", (["echo"], "a b")),
        ("a; b && c d\\ ", (["c"], "d ")),
    ],
)
def test_the_words_before_the_cursor(text: str, expected: tuple[list[str], str]) -> None:
    words, word = split(text)
    assert expected == (words, word) or (text == "a > " and (words, word) == (["cat"], ""))


def test_without_a_kernel_completion_is_quiet_and_starts_none(shell: Shell) -> None:
    world = World(shell.session)
    assert [candidate.value for candidate, _ in at_cursor("kill ", world)] == []
    assert [(candidate.value, replaced) for candidate, replaced in at_cursor("a | ki", world)] == [("kill", 2)]


@pytest.mark.parametrize(
    ("text", "replaced"),
    [("cat a", 1), ("cat 'a f", 4), ('cat "a f', 4), ("cat a\\ f", 4), ("cat 'a f'", 5), ("cat ", 0), ("cat \\", 1)],
)
def test_a_candidate_replaces_the_word_with_its_quotes(shell: Shell, text: str, replaced: int) -> None:
    (shell.folder / "a file.txt").touch()
    assert [("a file.txt", replaced)] == [
        (found.value, count) for found, count in at_cursor(text, World(shell.session))
    ]


def test_scripts_ask_the_same_completion(shell: Shell) -> None:
    assert shell.words("__complete", "--", "1", "snap", "l") == (
        0,
        "ls\tList contexts: those saved, and those swapped out.\n",
        "",
    )
    assert shell.words("completion", "bash")[1].startswith("_aios() {\n")

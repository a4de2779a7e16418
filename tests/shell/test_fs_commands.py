"""aios fs over a real kernel: what a person types, and what it prints."""

from __future__ import annotations

import hashlib
from pathlib import Path

from system import System


def test_write_history_diff_rollback(system: System) -> None:
    done = system.run("fs", "write", "writer/notes/a.txt", "one")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "aios: writer/notes/a.txt: version 1, 4 B\n")
    system.ok("fs", "write", "writer/notes/a.txt", stdin="two\n")
    system.ok("fs", "write", "--append", "writer/notes/a.txt", "--", "-3", "degrees")
    assert system.ok("fs", "cat", "writer/notes/a.txt") == "two\n-3 degrees\n"
    assert system.ok("fs", "cat", "writer/notes/a.txt", "--version", "1") == "one\n"
    diff = system.run("fs", "diff", "writer/notes/a.txt", "1", "2")
    assert (diff.returncode, diff.stdout) == (
        1,
        "--- notes/a.txt (version 1)\n+++ notes/a.txt (version 2)\n@@ -1 +1 @@\n-one\n+two\n",
    )
    assert system.run("fs", "diff", "writer/notes/a.txt", "2", "2").returncode == 0
    system.ok("fs", "rollback", "writer/notes/a.txt", "1")
    assert system.ok("fs", "cat", "writer/notes/a.txt") == "one\n"
    system.ok("fs", "rollback", "writer/notes/a.txt", "-2")
    assert system.ok("fs", "cat", "writer/notes/a.txt") == "two\n"
    rows = system.json("fs", "history", "writer/notes/a.txt")
    assert [row["what"] for row in rows] == ["rollback to 2", "rollback to 1", "append", "write", "write"]
    assert rows[0]["sha256"] == hashlib.sha256(b"two\n").hexdigest()
    assert "rollback to 2" in system.ok("fs", "history", "writer/notes/a.txt")
    gone = system.run("fs", "rollback", "writer/notes/a.txt", "9")
    assert (gone.returncode, gone.stderr) == (1, "aios: notes/a.txt has no version 9 (the newest is 5)\n")


def test_bytes_go_through_pipes_unchanged(system: System, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4_000
    (tmp_path / "in").write_bytes(data)
    with (tmp_path / "in").open() as source, system.popen("fs", "write", "writer/bytes", stdin=source) as process:
        assert process.communicate(timeout=60) == ("", "aios: writer/bytes: version 1, 1.0 MB\n")
    with (tmp_path / "out").open("wb") as target, system.popen("fs", "cat", "writer/bytes", stdout=target) as process:
        assert process.communicate(timeout=60) == (None, "")
    assert (tmp_path / "out").read_bytes() == data


def test_lists_and_the_bin(system: System) -> None:
    system.ok("fs", "write", "lister/b.txt", "hello")
    system.ok("fs", "mkdir", "lister/empty")
    assert [line.split()[-1] for line in system.ok("fs", "ls", "lister").splitlines()] == ["NAME", "b.txt", "empty/"]
    assert "lister" in [row["owner"] for row in system.json("fs", "ls")]
    assert "lister" in system.ok("fs")
    system.ok("fs", "mv", "lister/b.txt", "lister/old/c.txt")
    missing = system.run("fs", "rm", "lister/nothing", "lister/old/c.txt")
    assert (missing.returncode, missing.stderr) == (1, "aios: lister/nothing: there is no nothing\n")
    assert [row["path"] for row in system.json("fs", "bin", "lister")] == ["old/c.txt"]
    assert "old/c.txt" in system.ok("fs", "bin", "lister")
    assert "back, version 1" in system.run("fs", "restore", "lister/old/c.txt", "--to", "lister/d.txt").stderr
    assert system.ok("fs", "search", "lister", "hello") == "d.txt:1: hello\n"
    system.ok("fs", "rm", "lister/d.txt")
    assert system.run("fs", "bin", "lister", "--empty").stderr == "aios: 1 files removed for good\n"
    assert system.json("fs", "bin", "lister") == []


def test_shares_and_mounts(system: System, tmp_path: Path) -> None:
    system.ok("fs", "write", "giver/a.txt", "for you")
    path = system.ok("fs", "share", "giver/a.txt").strip()
    assert Path(path).read_text() == "for you\n"
    system.ok("fs", "share", "giver/a.txt", "--to", "taker", "--hours", "0.5")
    rows = system.json("fs", "share")
    assert [(row["path"], row["to"]) for row in rows] == [("a.txt", ""), ("a.txt", "taker")]
    assert "(link)" in system.ok("fs", "share")
    system.ok("fs", "unshare", *(row["id"][:8] for row in rows))
    assert system.json("fs", "share") == []
    assert not Path(path).exists()
    (tmp_path / "mine.txt").write_text("mine\n")
    system.ok("fs", "mount", "giver/docs", ".", cwd=tmp_path)
    assert system.json("fs", "mount") == [
        {"owner": "giver", "path": "docs", "folder": str(tmp_path), "writable": False}
    ]
    assert system.ok("fs", "cat", "giver/docs/mine.txt") == "mine\n"
    refused = system.run("fs", "write", "giver/docs/mine.txt", "x")
    assert (refused.returncode, refused.stderr) == (126, "aios: docs is mounted read-only\n")
    system.ok("fs", "umount", "giver/docs")
    assert (tmp_path / "mine.txt").read_text() == "mine\n"


def test_wrong_names(system: System) -> None:
    for words, status, says in (
        (("cat", "writer/../../state/person.key"), 126, "leads out of the agent's own files"),
        (("cat", "../x"), 2, "a file is called AGENT/PATH"),
        (("cat", "nobody/x"), 1, "nobody keeps no files"),
        (("mv", "a/x", "b/x"), 2, "within one agent's"),
        (("mount", "a/x"), 2, "name your folder too"),
    ):
        done = system.run("fs", *words)
        assert (done.returncode, says in done.stderr) == (status, True), done


def test_text_of_files_does_not_command_a_terminal(system: System) -> None:
    system.ok("fs", "write", "evil/x.txt", stdin="needle \x1b[2J\x07 \n")
    assert "\x1b" not in system.ok("fs", "search", "evil", "needle")


def test_completion(system: System) -> None:
    system.ok("fs", "write", "writer/notes/a.txt", "x")
    assert "writer/" in system.ok("__complete", "--", "2", "fs", "cat", "wri")
    assert system.ok("__complete", "--", "2", "fs", "cat", "writer/no").split() == ["writer/notes/"]
    assert system.ok("__complete", "--", "2", "fs", "cat", "writer/notes/").split() == ["writer/notes/a.txt"]

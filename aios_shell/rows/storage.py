"""fs …: what agents keep."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from aios_shell.params import JSON, flag
from aios_shell.spec import CommandSpec, Param

FILES: Final = "Files"

_FILE: Final = Param("file", "File, AGENT/PATH.", required=True, complete="stored", metavar="FILE")
_AGENT: Final = Param("agent", "Name of the agent.", required=True, complete="agent")
_RECURSIVE: Final = flag("recursive", "Folders with all that is in them.", "-r")

ROWS: Final = (
    CommandSpec(
        "fs ls",
        "List an agent's files; without a name the agents that keep some.",
        FILES,
        "fs:ls",
        (
            Param("file", "Folder or file, AGENT/PATH.", complete="stored", metavar="FILE"),
            flag("recursive", "All below it too.", "-r"),
            JSON,
        ),
        ("aios fs ls", "aios fs ls writer/notes"),
    ),
    CommandSpec(
        "fs cat",
        "Print a file, or a version of it.",
        FILES,
        "fs:cat",
        (
            _FILE,
            Param("version", "Version, as in `history`; -1 is the one before the newest.", int, ("--version", "-n")),
        ),
        ("aios fs cat writer/notes/a.txt", "aios fs cat writer/notes/a.txt --version 3"),
    ),
    CommandSpec(
        "fs write",
        "Make text, or standard input, a file's content.",
        FILES,
        "fs:write",
        (
            _FILE,
            Param("text", "The content, a newline after it; standard input when left out.", many=True, metavar="TEXT"),
            flag("append", "Add it to the end.", "-a"),
        ),
        ("aios fs write writer/todo.txt call Ada", "cat report.md | aios fs write writer/report.md"),
        own_words=True,
    ),
    CommandSpec(
        "fs mkdir", "Make a folder, and those above it.", FILES, "fs:mkdir", (_FILE,), ("aios fs mkdir writer/notes",)
    ),
    CommandSpec(
        "fs mv",
        "Move or rename a file or folder of an agent's; its history goes with it.",
        FILES,
        "fs:mv",
        (
            _FILE,
            replace(_FILE, name="to", help="Its new name, AGENT/PATH."),
            flag("force", "Move what is there to the bin.", "-f"),
        ),
        ("aios fs mv writer/a.txt writer/archive/a.txt",),
    ),
    CommandSpec(
        "fs rm",
        "Move files to the agent's bin.",
        FILES,
        "fs:rm",
        (replace(_FILE, name="files", many=True), _RECURSIVE),
        ("aios fs rm writer/notes/a.txt", "aios fs rm -r writer/notes"),
    ),
    CommandSpec(
        "fs bin",
        "List what an agent has deleted, or let go of it for good.",
        FILES,
        "fs:bin",
        (_AGENT, flag("empty", "Remove all of it, for good."), JSON),
        ("aios fs bin writer", "aios fs bin writer --empty"),
    ),
    CommandSpec(
        "fs restore",
        "Bring a file back from the bin, with its history.",
        FILES,
        "fs:restore",
        (
            _FILE,
            Param("id", "Which one, as in `bin`; the newest of the path when left out.", int, ("--id",), metavar="ID"),
            Param("to", "Another path, AGENT/PATH.", flags=("--to",), complete="stored", metavar="FILE"),
        ),
        ("aios fs restore writer/notes/a.txt", "aios fs restore writer/a.txt --to writer/old.txt"),
    ),
    CommandSpec(
        "fs history",
        "List a file's versions.",
        FILES,
        "fs:history",
        (_FILE, JSON),
        ("aios fs history writer/notes/a.txt",),
    ),
    CommandSpec(
        "fs diff",
        "Print what changed between two versions; exit code 1 when anything did.",
        FILES,
        "fs:diff",
        (
            _FILE,
            Param("old", "Version; the one before the newest when left out.", int, metavar="OLD"),
            Param("new", "Version; the newest when left out.", int, metavar="NEW"),
        ),
        ("aios fs diff writer/notes/a.txt", "aios fs diff writer/notes/a.txt 3 5"),
        own_words=True,
    ),
    CommandSpec(
        "fs rollback",
        "Make an earlier version's content the newest.",
        FILES,
        "fs:rollback",
        (_FILE, Param("version", "Version; -1 is the one before the newest, as when left out.", int, metavar="N")),
        ("aios fs rollback writer/notes/a.txt", "aios fs rollback writer/notes/a.txt 3"),
        own_words=True,
    ),
    CommandSpec(
        "fs share",
        "Let another agent read a file or folder, or make a link to a copy; without FILE list what is shared.",
        FILES,
        "fs:share",
        (
            Param("file", "File or folder, AGENT/PATH.", complete="stored", metavar="FILE"),
            Param("to", "Agent that may read it; a link when left out.", flags=("--to",), complete="agent"),
            Param("hours", "How long.", float, ("--hours",), 24, metavar="H", minimum=0.001, maximum=8784),
            JSON,
        ),
        ("aios fs share writer/notes --to planner", "aios fs share writer/report.md --hours 1"),
    ),
    CommandSpec(
        "fs unshare",
        "Take shares back.",
        FILES,
        "fs:unshare",
        (Param("ids", "Beginnings of ids, as in `fs share`.", required=True, many=True, metavar="ID"),),
    ),
    CommandSpec(
        "fs mount",
        "Show an agent a folder of yours among its files; without FILE list what is mounted.",
        FILES,
        "fs:mount",
        (
            Param("file", "Where it sees it, AGENT/PATH.", complete="stored", metavar="FILE"),
            Param("folder", "Your folder.", complete="dir"),
            flag("rw", "It may change it too."),
            JSON,
        ),
        ("aios fs mount writer/docs ~/Documents/reports", "aios fs mount writer/drafts ./drafts --rw"),
    ),
    CommandSpec(
        "fs umount",
        "Take a mounted folder away again; what is in it stays.",
        FILES,
        "fs:umount",
        (_FILE,),
        ("aios fs umount writer/docs",),
    ),
    CommandSpec(
        "fs search",
        "Find an agent's files by words and, with an embedding model, by meaning.",
        FILES,
        "fs:search",
        (
            replace(_FILE, help="Agent, or a folder of it."),
            Param("words", "What to find.", required=True, many=True, metavar="WORD"),
            Param("limit", "At most N.", int, ("-k",), 10, metavar="N", minimum=1, maximum=100),
            JSON,
        ),
        ("aios fs search writer quarterly report",),
    ),
)

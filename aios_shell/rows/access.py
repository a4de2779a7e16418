"""approve, deny, access, audit."""

from __future__ import annotations

from typing import Final

from aios_shell.params import JSON, PID, PIDS, flag
from aios_shell.spec import CommandSpec, Param

ACCESS: Final = "Access"

_SCOPES: Final = (
    flag("session", "And whatever is like it until the process ends."),
    flag("always", "And in every process of the agent, until `access revoke`."),
)
_ACTION: Final = Param("action", "Action, as in `access actions`.", required=True, complete="action")
_RESOURCE: Final = Param("resource", "Which thing: a path, a name, a pid; any when left out.")
_AGENT: Final = Param("agent", "Name of the agent.", required=True, complete="agent")

ROWS: Final = (
    CommandSpec(
        "approve",
        "Say yes to what processes ask.",
        ACCESS,
        "access:approve",
        (PIDS, *_SCOPES, flag("yes", "Do not show the question once more, on a terminal.", "-y")),
        ("aios approve 12", "aios approve 12 --session"),
    ),
    CommandSpec(
        "deny",
        "Say no to what processes ask.",
        ACCESS,
        "access:deny",
        (PIDS, *_SCOPES),
        ("aios deny 12", "aios deny 12 --always"),
    ),
    CommandSpec("access ls", "List the policies in force.", ACCESS, "access:ls", (JSON,)),
    CommandSpec(
        "access questions",
        "List what processes ask a person; with a PID all that one asks, in full.",
        ACCESS,
        "access:questions",
        (Param("pid", "Of this process alone.", int, complete="pid", minimum=1), JSON),
    ),
    CommandSpec("access actions", "List the actions that policies are about.", ACCESS, "access:actions", (JSON,)),
    CommandSpec("access check", "Check the policy files; nothing changes.", ACCESS, "access:check", (JSON,)),
    CommandSpec("access reload", "Put the policy files in force as they are now.", ACCESS, "access:reload"),
    CommandSpec(
        "access test",
        "Tell what would be decided, and by which policies; exit code 126 when denied.",
        ACCESS,
        "access:test",
        (
            PID,
            _ACTION,
            _RESOURCE,
            Param("owner", "Its owner, an agent or a pid; the process's own agent when left out.", flags=("--owner",)),
            flag("irreversible", "It cannot be taken back."),
            JSON,
        ),
        (
            "aios access test 12 file:delete notes/a.txt --irreversible",
            'aios access test 12 tool:call clock --owner ""',
        ),
    ),
    CommandSpec(
        "access grant",
        "Permit an agent an action, asked no more; prints the policy's id.",
        ACCESS,
        "access:grant",
        (
            _AGENT,
            _ACTION,
            _RESOURCE,
            Param("owner", "Of things that this agent owns; its own or nobody's when left out.", flags=("--owner",)),
        ),
        ("aios access grant librarian file:delete", "aios access grant planner memory:read --owner librarian"),
    ),
    CommandSpec(
        "access revoke",
        "Take granted policies back.",
        ACCESS,
        "access:revoke",
        (Param("ids", "Ids, as in `access ls`.", required=True, many=True, complete="grant", metavar="ID"),),
        ("aios access revoke librarian-file-delete",),
    ),
    CommandSpec(
        "audit ls",
        "List what was decided and done, the newest last.",
        ACCESS,
        "audit:ls",
        (
            Param("pid", "Of this process alone.", int, complete="pid", minimum=1),
            Param("since", "Since then: 10m, 2h, 1d ago, a time of day or a date.", flags=("--since",), metavar="WHEN"),
            Param("limit", "At most N rows.", int, ("--limit", "-n"), 100, metavar="N", minimum=1, maximum=10_000),
            JSON,
        ),
        ("aios audit", "aios audit 12", "aios audit --since 10m --json"),
    ),
    CommandSpec(
        "audit verify",
        "Check every byte of the audit log; exit code 1 when anything was altered or taken away.",
        ACCESS,
        "audit:verify",
        (
            Param("head", "A head kept elsewhere: its row must be there as it was.", flags=("--head",), metavar="HEAD"),
            JSON,
        ),
        ("aios audit verify", 'aios audit verify --head "$(cat audit.head)"'),
    ),
    CommandSpec(
        "audit head",
        "Print the newest row's number and hash, which vouches for every row before it.",
        ACCESS,
        "audit:head",
        (JSON,),
        ("aios audit head > audit.head",),
    ),
)

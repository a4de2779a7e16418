"""Parameters that several commands have."""

from __future__ import annotations

from typing import Final

from aios_shell.spec import Param


def flag(name: str, help: str, *short: str) -> Param:
    return Param(name, help, bool, (f"--{name}", *short), default=False)


JSON: Final = flag("json", "Print JSON.")
PID: Final = Param("pid", "Process id.", int, required=True, complete="pid", minimum=1)
PIDS: Final = Param("pids", "Process ids.", int, required=True, many=True, complete="pid", metavar="PID", minimum=1)

RUN_OPTIONS: Final = (
    Param("nice", "Priority: -20 (favoured) to 19.", int, ("--nice",), 0, metavar="N", minimum=-20, maximum=19),
    Param("group", "Privilege group: guest, user, operator.", str, ("--group",), "user", complete="group", metavar="G"),
    Param("model", "Model to use, by reference.", str, ("--model",), complete="model", metavar="M"),
    Param(
        "policy_class",
        "interactive goes first, idle gives way. Default: normal.",
        str,
        ("--policy-class",),
        complete="class",
        metavar="C",
    ),
    Param("max_tokens", "End it after N tokens.", int, ("--max-tokens",), metavar="N", minimum=1),
    Param("deadline", "End it after S seconds, exit code 124.", float, ("--deadline",), metavar="S", minimum=0.001),
    flag("bg", "Do not wait: print the pid and go on."),
    Param("json", 'With --bg: print {"pid": N}.', bool, ("--json",), default=False),
)

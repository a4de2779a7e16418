"""What an act needs: an action on a resource, as the access manager judges it and as a person is asked for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """The kinds of resources. Each is an entity type of the Cedar schema, capitalised: `File::"notes/a.txt"`."""

    MEMORY = "memory"  # id: of a note
    FILE = "file"  # id: path below the owner's root
    TOOL = "tool"  # id: name
    PROCESS = "process"  # id: pid; of an agent to be started its name
    SNAPSHOT = "snapshot"  # id: name
    MODEL = "model"  # id: reference
    NETWORK = "network"  # id: host:port


# Every action there is. The Cedar schema is made of this table, so a policy that names another one is an error.
ACTIONS: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.MEMORY: ("read", "write", "delete", "search", "share"),
    Kind.FILE: ("read", "write", "append", "delete", "share", "mount", "search"),
    Kind.TOOL: ("read", "call", "exec"),  # exec: of those that run any code they are given
    Kind.PROCESS: ("read", "spawn", "fork", "send", "signal"),
    Kind.SNAPSHOT: ("read", "write", "delete", "use"),
    Kind.MODEL: ("use", "embed"),
    Kind.NETWORK: ("connect", "send"),
}


GROUPS: Final = ("guest", "user", "operator")  # of privilege, least first; each has the rights of those before it


def action_names() -> list[str]:
    """Every action as policies call it: "file:delete"."""
    return [f"{kind}:{verb}" for kind, verbs in ACTIONS.items() for verb in verbs]


@dataclass(frozen=True, slots=True)
class Need:
    """One action on one resource.

    Args:
        id: which one, see Kind; "" for the kind as a whole.
        owner: name of the agent that owns it, or a pid for what lives and dies with a process; "": nobody does.
        what: one line for a person who is asked: "delete notes/a.txt (3 versions)"; "": made of action and id.
        detail: all that is to be done, where a line does not tell it: code, arguments.
        irreversible: deletes, overwrites, shares, runs code, sends to the network, kills another's process: a person
            is asked, unless a policy or an earlier answer permits it.
    """

    action: str
    kind: Kind
    id: str
    owner: str = ""
    what: str = ""
    irreversible: bool = False
    detail: str = ""

    def __post_init__(self) -> None:
        assert self.action in ACTIONS[self.kind], f"{self.kind} has no action {self.action!r}: see ACTIONS"

    @property
    def name(self) -> str:
        """Of the action, as policies call it: "file:delete"."""
        return f"{self.kind}:{self.action}"

    @property
    def question(self) -> str:
        """What a person is asked."""
        return self.what or f"{self.action} {self.kind} {self.id}".rstrip()

"""Access: questions to a person, policies, decisions, and the audit log that tells of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """How far a person's answer reaches. Of what the agent owns it is for the action, else for the very thing."""

    ONCE = "once"
    SESSION = "session"  # until the process ends
    ALWAYS = "always"  # every process of the agent, kept as a policy


class Outcome(StrEnum):
    ALLOW = "allow"
    ASK = "ask"  # a person's word would make it allowed
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Question:
    """A process waits for a person. The oldest of a process is what its reason in `ps` shows."""

    id: int  # no other question of this kernel has it
    pid: int
    agent: str
    what: str  # one line: what it is about to do; it ends with the id where `detail` tells more
    detail: str  # all of what it is about to do, in the agent's own words; "" where the line is all
    action: str  # "file:delete"
    resource: str
    owner: str
    reach: str  # what an answer for longer than once is about: "tool:exec python", "file:delete of all its own"
    asked_at: float
    until: float  # denied when nobody has answered by then


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """Answer a process's oldest question. POST /procs/{pid}/answer."""

    allow: bool
    scope: Scope = Scope.ONCE
    what: str | None = None  # the question as the person saw it: another one is not answered in its place


@dataclass(frozen=True, slots=True)
class PolicyInfo:
    """One row of `aios access ls --json`."""

    id: str
    effect: str  # permit, forbid
    file: str
    line: int
    text: str
    granted: bool  # by a person's "always" or `aios access grant`: `aios access revoke` takes it back


@dataclass(frozen=True, slots=True)
class DecideRequest:
    """Ask what would be decided. POST /access/test."""

    pid: int
    action: str
    resource: str = ""
    owner: str | None = None  # None: the process's own agent
    irreversible: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Outcome
    policies: tuple[str, ...]  # ids of those that decided; none: nothing permits it


@dataclass(frozen=True, slots=True)
class GrantRequest:
    """Permit an agent an action, asked no more. POST /access/grants. resource: None: on all that it owns."""

    agent: str
    action: str
    resource: str | None = None
    owner: str | None = None  # of the things that it is for; None: the agent itself, or nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One row of `aios audit --json`. `call` is the process's syscall number, by which effects find decisions."""

    seq: int
    at: float
    what: str  # boot, decision, answer, effect, person, policy, trim
    pid: int = 0
    agent: str = ""
    group: str = ""
    call: int | None = None
    action: str = ""
    resource: str = ""
    owner: str = ""
    outcome: str = ""
    why: str = ""
    hash: str = ""


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The newest row and its hash, which vouches for every row before it. `aios audit head`."""

    seq: int
    hash: str

"""Policies: Cedar files, checked against a schema, and the decisions that they make.

Cedar permits what some policy permits and none forbids. A person is asked where their word, `context.approved`, would
make the difference: so which acts are asked about is the policies' to say, and a `forbid` holds against any word.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import cedarpy

from aios_kernel.access.need import ACTIONS, GROUPS, Need
from aios_kernel.errors import BadConfig
from aios_kernel.protocol import GrantRequest, Outcome, PolicyInfo, Verdict

GRANTED: Final = "granted.cedar"  # the file of what a person has granted; the kernel writes it
MAX_CACHED: Final = 4_096  # verdicts, of some hundred bytes each

_DEFAULT: Final = Path(__file__).with_name("default.cedar")


@dataclass(frozen=True, slots=True)
class Case:
    """All that a decision depends on."""

    agent: str
    group: str
    action: str
    entity: str  # type of the resource
    id: str
    owner: str
    mine: bool
    irreversible: bool
    requested: bool

    @classmethod
    def of(cls, agent: str, group: str, pid: int, need: Need, *, requested: bool = False) -> Self:
        """The case of a process of `agent`: what its agent owns, or it by its pid, is its own."""
        mine = need.owner in (agent, str(pid))
        entity = need.kind.capitalize()
        return cls(agent, group, need.name, entity, need.id, need.owner, mine, need.irreversible, requested)


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy and where it stands. start, end: its place in the file's text."""

    id: str
    effect: str
    path: Path
    line: int
    text: str
    scope: dict[str, Any]
    start: int
    end: int

    def may_apply(self, action: str, agent: str) -> bool:
        """False where its head alone rules it out."""
        return _names(self.scope["principal"], agent, "Agent") and _names(self.scope["action"], action, "Action")

    def info(self) -> PolicyInfo:
        granted = self.path.name == GRANTED
        return PolicyInfo(self.id, self.effect, str(self.path), self.line, self.text, granted)


class Policies:
    """A checked set of policies. It never changes: other policies are another set."""

    def __init__(self, rows: tuple[Policy, ...]) -> None:
        self.rows: Final = rows
        self._slices: dict[tuple[str, str], tuple[cedarpy.PolicySet, list[Policy]]] = {}
        self._agents: dict[tuple[str, str], cedarpy.Entities] = {}
        self._verdicts: dict[Case, Verdict] = {}

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The defaults and the person's own, *.cedar in `folder`.

        Raises:
            BadConfig: the first error, with file and line; `errors` in its data has all of them.
        """
        errors: list[dict[str, Any]] = []
        rows: dict[str, Policy] = {}
        for path in [_DEFAULT, *sorted(folder.glob("*.cedar"))]:
            for row in read_policies(path, errors):
                if (twin := rows.setdefault(row.id, row)) is not row:
                    _note(errors, path, row.line, f"the id {row.id!r} is taken: {twin.path}:{twin.line}")
        if errors:
            first = errors[0]
            raise BadConfig("{file}:{line}: {message}".format(**first), file=first["file"], errors=errors)
        return cls(tuple(rows.values()))

    def decide(self, case: Case) -> Verdict:
        """What becomes of a case without a word of a person's. The policies named are those that decided."""
        verdict = self._verdicts.get(case)
        if verdict is None:
            if len(self._verdicts) >= MAX_CACHED:
                self._verdicts.clear()
            verdict = self._verdicts[case] = self._decide(case)
        return verdict

    def approved(self, case: Case) -> bool:
        """Whether it is permitted now that a person has said yes."""
        return self._evaluate(case, approved=True)[0]

    def _decide(self, case: Case) -> Verdict:
        allowed, policies = self._evaluate(case, approved=False)
        if allowed:
            return Verdict(Outcome.ALLOW, policies)
        would_be, asking = self._evaluate(case, approved=True)
        return Verdict(Outcome.ASK, asking) if would_be else Verdict(Outcome.DENY, policies)

    def _evaluate(self, case: Case, *, approved: bool) -> tuple[bool, tuple[str, ...]]:
        policies, rows = self._slice(case.action, case.agent)
        context = {
            "owner": case.owner,
            "mine": case.mine,
            "irreversible": case.irreversible,
            "requested": case.requested,
            "approved": approved,
        }
        request = {
            "principal": {"type": "Agent", "id": case.agent},
            "action": {"type": "Action", "id": case.action},
            "resource": {"type": case.entity, "id": case.id},
            "context": context,
        }
        result = cedarpy.is_authorized(request, policies, self._entities(case.agent, case.group))
        decided = tuple(rows[int(name.removeprefix("policy"))].id for name in result.diagnostics.reasons)
        # A policy that fails counts for nothing in Cedar. It may have been a `forbid`.
        return result.allowed and not result.diagnostics.errors, decided

    def _slice(self, action: str, agent: str) -> tuple[cedarpy.PolicySet, list[Policy]]:
        """The policies that may say something of this: evaluating costs a few microseconds for each."""
        key = (action, agent)
        if key not in self._slices:
            rows = [row for row in self.rows if row.may_apply(action, agent)]
            self._slices[key] = cedarpy.PolicySet.from_str("\n".join(row.text for row in rows)), rows
        return self._slices[key]

    def _entities(self, agent: str, group: str) -> cedarpy.Entities:
        """The agent in its group and those below; one of no known group is in none."""
        key = (agent, group)
        if key not in self._agents:
            groups = GROUPS[: GROUPS.index(group) + 1] if group in GROUPS else ()
            parents = [{"type": "Group", "id": name} for name in groups]
            entity = {"uid": {"type": "Agent", "id": agent}, "attrs": {}, "parents": parents}
            self._agents[key] = cedarpy.Entities.from_json_str(json.dumps([entity]), _SCHEMA)
        return self._agents[key]


def granted_text(id: str, request: GrantRequest, *, permit: bool = True) -> str:
    """The policy that permits, or forbids, what is requested."""
    entity = request.action.partition(":")[0].capitalize()
    which = f"resource == {entity}::{literal(request.resource)}" if request.resource is not None else "resource"
    own = 'context.mine || context.owner == ""'
    whose = f"context.owner == {literal(request.owner)}" if request.owner is not None else own
    effect = "permit" if permit else "forbid"
    who, action = literal(request.agent), literal(request.action)
    return (
        f"@id({literal(id)})\n"
        f"{effect} (principal == Agent::{who}, action == Action::{action}, {which})\n"
        f"when {{ {whose} }};\n\n"
    )


def literal(text: str) -> str:
    """`text` as a Cedar string, one line whatever is in it."""
    plain = (char if char.isprintable() and char not in '"\\' else f"\\u{{{ord(char):x}}}" for char in text)
    return f'"{"".join(plain)}"'


def _schema() -> str:
    """Cedar schema of the table of actions; each kind is a group of actions."""
    groups = ", ".join(f'"{name}"' for name in GROUPS)
    lines = [
        "type Context = { owner: String, mine: Bool, irreversible: Bool, requested: Bool, approved: Bool };",
        f"entity Group enum [{groups}];",
        "entity Agent in [Group];",
    ]
    for kind, verbs in ACTIONS.items():
        entity, names = kind.capitalize(), ", ".join(f'"{kind}:{verb}"' for verb in verbs)
        applies = f"principal: [Agent], resource: [{entity}], context: Context"
        lines += [f"entity {entity};", f'action "{kind}";', f'action {names} in ["{kind}"] appliesTo {{ {applies} }};']
    return "\n".join(lines)


_SCHEMA: Final = cedarpy.Schema.from_str(_schema())


def _names(constraint: dict[str, Any], id: str, kind: str) -> bool:
    """Whether a policy's head, for principal or action, may mean the entity `id`."""
    if kind == "Agent":
        return bool(constraint["op"] != "==" or constraint["entity"] == {"type": kind, "id": id})
    if constraint["op"] == "All":
        return True
    entities = constraint.get("entities") or [constraint["entity"]]
    return any(entity["id"] in (id, id.partition(":")[0]) for entity in entities)


# --- reading


def read_policies(path: Path, errors: list[dict[str, Any]]) -> Iterator[Policy]:
    """The policies of a file; what is wrong with the others goes to `errors`."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        _note(errors, path, error.object.count(b"\n", 0, error.start) + 1, "this is not UTF-8")
        return
    except OSError as error:
        _note(errors, path, 1, str(error.strerror))
        return
    scopes = _scopes(text)
    for number, (start, end) in enumerate(_statements(text)):
        line, body = text.count("\n", 0, start) + 1, text[start:end]
        if scopes is None and (problem := _problem(body)) is not None:
            _note(errors, path, line + problem[0], problem[1])
            continue
        scope = scopes[f"policy{number}"] if scopes is not None else _parsed(body)["policy0"]
        id = scope.get("annotations", {}).get("id") or f"{path.name}:{line}"
        yield Policy(id, scope["effect"], path, line, body, scope, start, end)


def _parsed(text: str) -> dict[str, dict[str, Any]]:
    """Policies by number. Raises ValueError."""
    policies: dict[str, dict[str, Any]] = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]
    return policies


def _scopes(text: str) -> dict[str, dict[str, Any]] | None:
    """A whole file's policies by number; None: something is wrong in it. A tenth of the time that one by one takes."""
    try:
        if (
            cedarpy.PolicySet.from_str(text).templates()
            or not cedarpy.validate_policies(text, _SCHEMA).validation_passed
        ):
            return None
        return _parsed(text)
    except ValueError:
        return None


def _statements(text: str) -> Iterator[tuple[int, int]]:
    """Places of the policies in a file: from the first character that is no blank or comment to the semicolon."""
    start, at = None, 0
    while at < len(text):
        char = text[at]
        if text.startswith("//", at):
            at = text.find("\n", at) if "\n" in text[at:] else len(text)
            continue
        if start is None and not char.isspace():
            start = at
        if char == '"':
            at += 1
            while at < len(text) and text[at] != '"':
                at += 2 if text[at] == "\\" else 1
        at += 1
        if char == ";" and start is not None:
            yield start, at
            start = None
    if start is not None:
        yield start, len(text)


def _problem(text: str) -> tuple[int, str] | None:
    """What is wrong with one policy, and how many lines below its first; None: nothing."""
    try:
        policies = cedarpy.PolicySet.from_str(text)
    except ValueError as error:
        if not text.endswith(";"):
            return 0, "this policy has no `;` at its end"
        return _bad_line(text), str(error)
    if policies.templates():
        return 0, "templates are not for files: write out whom the policy is about"
    result = cedarpy.validate_policies(text, _SCHEMA)
    if not result.validation_passed:
        return 0, result.errors[0].error.removeprefix("for policy `policy0`").lstrip(":, ")
    return None


def _bad_line(text: str) -> int:
    """The line, from 0, with which the beginning of a policy becomes more than unfinished; Cedar tells no place."""
    lines = text.split("\n")
    for count in range(1, len(lines)):
        try:
            cedarpy.PolicySet.from_str("\n".join(lines[:count]))
        except ValueError as error:
            if "unexpected end of input" not in str(error):
                return count - 1
    return len(lines) - 1


def _note(errors: list[dict[str, Any]], path: Path, line: int, message: str) -> None:
    errors.append({"file": str(path), "line": line, "message": message})

"""The access manager: nothing is done for an agent before it has been decided here, and the decision written down."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from aios_kernel.access.approvals import Answer, Approvals, Subject, one_line
from aios_kernel.access.denials import Denials
from aios_kernel.access.grants import Grants
from aios_kernel.access.need import Kind, Need, action_names
from aios_kernel.access.policy import Case, Policies
from aios_kernel.audit import AuditLog, Entry
from aios_kernel.clock import Clock
from aios_kernel.errors import BadRequest, NotPermitted
from aios_kernel.life import Life
from aios_kernel.process import Process
from aios_kernel.protocol import GrantRequest, Outcome, PolicyInfo, Question, Scope, Verdict

MAX_ID: Final = 4_096  # characters of a resource's name: no path is longer

Written = asyncio.Future[None]  # a decision on its way to the disk


class AccessManager:
    """Decides by the policies and by what people answer. Event loop only.

    Attributes:
        policies: those in force.
    """

    def __init__(self, folder: Path, audit: AuditLog, clock: Clock, answer_s: float) -> None:
        """folder: of the person's policies. Raises BadConfig with file and line."""
        self.policies = Policies.load(folder)
        self._folder = folder
        self._audit = audit
        self._denials = Denials(audit)
        self._approvals = Approvals(clock, answer_s)
        self._changing = asyncio.Lock()

    # --- deciding

    async def require(self, life: Life, need: Need) -> None:
        """Return when a process may do it and the decision is durable, having asked a person where that is needed.

        Raises:
            NotPermitted: it may not; LimitHit: it asks too many questions at once.
        """
        await asyncio.gather(*await self.admit(life, (need,)))

    async def request(self, life: Life, need: Need) -> None:
        """The same for what the agent asks in so many words: a person may allow more, for its life at least."""
        await asyncio.gather(*await self.admit(life, (need,), requested=True))

    async def admit(
        self, life: Life, needs: Sequence[Need], call: int | None = None, *, requested: bool = False
    ) -> list[Written]:
        """Like `require` for several, but leaves the waiting to the caller: nothing may have an effect before that.

        Args:
            call: number of the syscall that needs it.
        """
        return [await self._decide(life, need, call, requested) for need in needs]

    def effect(self, life: Life, call: int, name: str, outcome: str) -> None:
        """Note how a syscall that needed something ended: "ok", or an errno. Nobody waits for that."""
        self._audit.append(_entry("effect", life.process, call, action=name, outcome=outcome), urgent=False)

    def overstep(self, life: Life, call: int, name: str, why: str) -> None:
        """Note a syscall that no decision could permit: what it names is nothing that an agent may name."""
        entry = _entry("decision", life.process, call, action=name, outcome=Outcome.DENY, why=why)
        self._denials.append(entry, urgent=False)

    def refuse(self, request: str, why: str) -> None:
        """Note a request that nobody vouches for."""
        self._denials.append(Entry("decision", action=request, outcome=Outcome.DENY, why=why), urgent=False)

    def person(self, request: str) -> Written:
        """Note what a person asks of the kernel: wait for it before that is done."""
        return self._audit.append(Entry("person", action=request, outcome=Outcome.ALLOW))

    def test(self, process: Process, need: Need) -> Verdict:
        """What would be decided now. Nothing is asked or written down."""
        return self.policies.decide(_case(process, need, requested=False))

    async def _decide(self, life: Life, need: Need, call: int | None, requested: bool) -> Written:
        if (length := max(len(need.id), len(need.owner))) > MAX_ID:
            raise BadRequest(f"{need.name}: a name of {length} characters: at most {MAX_ID} are allowed")
        process, subject = life.process, _subject(life.process, need)
        case = _case(process, need, requested=requested)
        verdict, why = self._judge(life, case, subject)
        written = self._write("decision", process, call, case, verdict.outcome, why)
        if verdict.outcome is Outcome.ALLOW:
            return written
        await written
        if verdict.outcome is Outcome.DENY:
            raise _denied(case, need, why)
        answer = await self._approvals.ask(life, need, subject)
        written = self._write(
            "answer", process, call, case, Outcome.ALLOW if answer.allow else Outcome.DENY, answer.why
        )
        await written
        await self._keep(life, case, subject, answer)
        if not answer.allow:
            raise _denied(case, need, answer.why)
        if not self.policies.approved(case):  # they have changed since the question was asked
            await self._write("decision", process, call, case, Outcome.DENY, "forbidden meanwhile")
            raise _denied(case, need, "forbidden meanwhile")
        return written

    def _judge(self, life: Life, case: Case, subject: Subject) -> tuple[Verdict, str]:
        """The verdict, and why in words, with what a person has said earlier in mind."""
        verdict = self.policies.decide(case)
        said = life.answers.get(subject, life.answers.get(_exactly(case)))
        if verdict.outcome is Outcome.ALLOW or said is None:
            return verdict, ", ".join(verdict.policies) or "no policy permits it"
        if said and self.policies.approved(dataclasses.replace(case, requested=True)):
            return Verdict(Outcome.ALLOW, ()), "a person said yes earlier"
        if not said and verdict.outcome is Outcome.ASK:
            return Verdict(Outcome.DENY, ()), "a person said no earlier"
        return verdict, ", ".join(verdict.policies) or "no policy permits it"

    def _write(self, what: str, process: Process, call: int | None, case: Case, outcome: Outcome, why: str) -> Written:
        entry = _entry(
            what, process, call, action=case.action, resource=case.id, owner=case.owner, outcome=outcome, why=why
        )
        denied = what == "decision" and outcome is Outcome.DENY
        return self._denials.append(entry) if denied else self._audit.append(entry)

    def close(self) -> None:
        """Append what is left to tell to the audit log."""
        self._denials.close()

    # --- a person's word

    def questions(self) -> list[Question]:
        """Those that are open, the oldest first."""
        return self._approvals.open()

    def answer(self, pid: int, allow: bool, scope: Scope, what: str | None = None) -> Question:
        """See Approvals.answer. Raises InvalidState."""
        return self._approvals.answer(pid, allow, scope, what)

    async def _keep(self, life: Life, case: Case, subject: Subject, answer: Answer) -> None:
        """Remember an answer for as long as it is to hold. A process has no name to remember it by for longer."""
        if answer.scope is Scope.ONCE:
            if case.requested and answer.allow:  # what was requested and nothing beyond it: "" is all of its own
                life.answers[_exactly(case) if case.id else subject] = True
            return
        life.answers[subject] = answer.allow
        _, resource, owner = subject
        if answer.scope is Scope.ALWAYS and not (owner.isdecimal() or case.entity == Kind.PROCESS.capitalize()):
            whole = not resource and not owner
            grant = GrantRequest(case.agent, case.action, None if whole else case.id, None if whole else case.owner)
            await self.grant(grant, permit=answer.allow)

    # --- policies

    async def grant(self, request: GrantRequest, *, permit: bool = True) -> PolicyInfo:
        """Keep a policy that permits, or forbids, an agent an action. One that is there already is left.

        Raises:
            BadRequest: there is no such action; BadConfig: the policy files are wrong; InternalError.
        """
        check_action(request.action)
        async with self._changing:
            await self._note_change("grant" if permit else "forbid", request)
            change = partial(Grants(self._folder).add, request, permit=permit)
            self.policies, id = await asyncio.to_thread(change)
            return next(row.info() for row in self.policies.rows if row.id == id)

    async def revoke(self, id: str) -> None:
        """Take a granted policy back. Raises InvalidState when there is none, BadConfig, InternalError."""
        async with self._changing:
            await self._audit.append(Entry("policy", action="revoke", resource=id))
            self.policies = await asyncio.to_thread(Grants(self._folder).remove, id)

    async def reload(self) -> int:
        """Read the files again; the former policies stay where one is wrong. Returns how many there are now.

        Raises:
            BadConfig: with file and line; `errors` in its data has all that is wrong.
        """
        async with self._changing:
            policies = await self.check()
            await self._audit.append(Entry("policy", action="reload", why=f"{len(policies.rows)} policies"))
            self.policies = policies
            return len(policies.rows)

    async def check(self) -> Policies:
        """The policies that the files make now, not put in force. Raises BadConfig."""
        return await asyncio.to_thread(Policies.load, self._folder)

    def _note_change(self, what: str, request: GrantRequest) -> Written:
        return self._audit.append(
            Entry(
                "policy",
                agent=request.agent,
                action=f"{what} {request.action}",
                resource=request.resource or "",
                owner=request.owner or "",
            )
        )


def check_action(name: str) -> None:
    """Raises BadRequest for one that is not in the table of actions."""
    accepted = action_names()
    if name not in accepted:
        raise BadRequest(f"no action {name!r} (there are {', '.join(accepted)})", key="action", accepted=accepted)


def _case(process: Process, need: Need, *, requested: bool) -> Case:
    return Case.of(process.request.agent, process.request.group, process.pid, need, requested=requested)


def _subject(process: Process, need: Need) -> Subject:
    """What a person's answer is about: the action, where the thing is the process's own, else that very thing."""
    mine = need.owner in (process.request.agent, str(process.pid))
    return (need.name, "", "") if mine else (need.name, need.id, need.owner)


def _exactly(case: Case) -> Subject:
    return (case.action, case.id, case.owner)


def _entry(
    what: str,
    process: Process,
    call: int | None,
    *,
    action: str,
    outcome: str,
    resource: str = "",
    owner: str = "",
    why: str = "",
) -> Entry:
    agent, group = process.request.agent, process.request.group
    return Entry(what, process.pid, agent, group, call, action, resource, owner, outcome, why)


def _denied(case: Case, need: Need, why: str) -> NotPermitted:
    return NotPermitted(f"not permitted: {one_line(need.question)} ({why})", action=case.action, resource=case.id)

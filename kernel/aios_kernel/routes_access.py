"""Routes of the access manager and the audit log: questions, policies, decisions. All are the person's."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response

from aios_kernel import protocol as p
from aios_kernel.access.manager import check_action
from aios_kernel.access.need import Kind, Need, action_names
from aios_kernel.daemon import Kernel
from aios_kernel.person import person_only
from aios_kernel.serving import json_reply


def access_routes(kernel: Kernel) -> APIRouter:
    routes = APIRouter(dependencies=[Depends(person_only(kernel))])
    access = kernel.access

    @routes.get("/questions", response_model=list[p.Question])
    async def questions() -> Response:
        """List the questions that wait for a person, the oldest first."""
        return json_reply(access.questions())

    @routes.post("/procs/{pid}/answer", response_model=p.Question)
    async def answer(pid: int, body: p.AnswerRequest) -> Response:
        """Answer the process's oldest question: once, for its life, or for its agent always."""
        kernel.supervisor.living(pid)
        return json_reply(access.answer(pid, body.allow, body.scope, body.what))

    @routes.get("/audit", response_model=list[p.AuditRow])
    async def audit(pid: int | None = None, since: float | None = None, limit: int = 1_000) -> Response:
        """List the newest rows of the audit log, oldest first."""
        return json_reply(await kernel.audit.read(pid=pid, since=since, limit=limit))

    return routes


def policy_routes(kernel: Kernel) -> APIRouter:
    routes = APIRouter(prefix="/access", dependencies=[Depends(person_only(kernel))])
    access = kernel.access

    @routes.get("/actions", response_model=list[str])
    async def actions() -> Response:
        """List the actions that policies are about."""
        return json_reply(action_names())

    @routes.get("/policies", response_model=list[p.PolicyInfo])
    async def policies() -> Response:
        """List the policies in force, the defaults first."""
        return json_reply([row.info() for row in access.policies.rows])

    @routes.get("/check", response_model=list[p.PolicyInfo])
    async def check() -> Response:
        """Read the policy files and tell what they make, or what is wrong; nothing changes."""
        return json_reply([row.info() for row in (await access.check()).rows])

    @routes.post("/reload", response_model=list[p.PolicyInfo])
    async def reload() -> Response:
        """Read the policy files again and put them in force; those of before stay where one is wrong."""
        await access.reload()
        return json_reply([row.info() for row in access.policies.rows])

    @routes.post("/test", response_model=p.Verdict)
    async def test(body: p.DecideRequest) -> Response:
        """Tell what would be decided about an action of a living process; nobody is asked."""
        process = kernel.supervisor.living(body.pid).process
        check_action(body.action)
        kind, _, verb = body.action.partition(":")
        owner = process.request.agent if body.owner is None else body.owner
        need = Need(verb, Kind(kind), body.resource, owner, irreversible=body.irreversible)
        return json_reply(access.test(process, need))

    @routes.post("/grants", response_model=p.PolicyInfo)
    async def grant(body: p.GrantRequest) -> Response:
        """Permit an agent an action from now on."""
        return json_reply(await access.grant(body))

    @routes.delete("/grants/{id}")
    async def revoke(id: str) -> Response:
        """Take a granted policy back."""
        await access.revoke(id)
        return json_reply(None)

    return routes

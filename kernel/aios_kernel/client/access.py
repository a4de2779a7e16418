"""What the person asks of the access manager: questions, policies, the audit log."""

from __future__ import annotations

from aios_kernel import protocol as p
from aios_kernel.client import KernelClient


class AccessClient:
    """The access manager's routes. Raises what KernelClient raises."""

    def __init__(self, client: KernelClient) -> None:
        self._client = client

    def questions(self) -> list[p.Question]:
        """Those that are open, the oldest first."""
        reply: list[p.Question] = self._client.call("GET", "/questions", list[p.Question])
        return reply

    def answer(self, pid: int, allow: bool, scope: p.Scope = p.Scope.ONCE, what: str | None = None) -> p.Question:
        """Answer a process's oldest question; with `what` only that one. Raises InvalidState when it asks nothing."""
        body = p.AnswerRequest(allow, scope, what)
        reply: p.Question = self._client.call("POST", f"/procs/{pid}/answer", p.Question, body=body)
        return reply

    def actions(self) -> list[str]:
        """What policies may be about, "file:delete"."""
        reply: list[str] = self._client.call("GET", "/access/actions", list[str])
        return reply

    def policies(self) -> list[p.PolicyInfo]:
        reply: list[p.PolicyInfo] = self._client.call("GET", "/access/policies", list[p.PolicyInfo])
        return reply

    def check(self) -> list[p.PolicyInfo]:
        """Those that the files make now. Raises BadConfig; `errors` in its data has all that is wrong."""
        reply: list[p.PolicyInfo] = self._client.call("GET", "/access/check", list[p.PolicyInfo])
        return reply

    def reload(self) -> list[p.PolicyInfo]:
        reply: list[p.PolicyInfo] = self._client.call("POST", "/access/reload", list[p.PolicyInfo])
        return reply

    def test(self, request: p.DecideRequest) -> p.Verdict:
        reply: p.Verdict = self._client.call("POST", "/access/test", p.Verdict, body=request)
        return reply

    def grant(self, request: p.GrantRequest) -> p.PolicyInfo:
        reply: p.PolicyInfo = self._client.call("POST", "/access/grants", p.PolicyInfo, body=request)
        return reply

    def revoke(self, id: str) -> None:
        self._client.call("DELETE", f"/access/grants/{id}")

    def audit(self, *, pid: int | None = None, since: float | None = None, limit: int = 1_000) -> list[p.AuditRow]:
        """The newest rows, oldest first. since: Unix seconds."""
        reply: list[p.AuditRow] = self._client.call(
            "GET", "/audit", list[p.AuditRow], pid=pid, since=since, limit=limit
        )
        return reply

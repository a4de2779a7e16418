"""The access manager: decisions written down first, questions and answers, and what is remembered of them."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from aios_kernel.access import denials
from aios_kernel.access.manager import AccessManager
from aios_kernel.access.need import Kind, Need
from aios_kernel.audit import AuditLog
from aios_kernel.client import bucket
from aios_kernel.clock import SystemClock
from aios_kernel.errors import BadConfig, BadRequest, InternalError, InvalidState, LimitHit, NotPermitted
from aios_kernel.eventlog import EventLog
from aios_kernel.journal import Journal
from aios_kernel.life import Life
from aios_kernel.process import ProcessTable
from aios_kernel.protocol import AuditRow, GrantRequest, Outcome, ProcState, Question, RunRequest, Scope

pytestmark = pytest.mark.anyio

DELETE = Need("delete", Kind.FILE, "a.txt", "probe", "delete a.txt (3 versions)", irreversible=True)
MEMORY = Need("read", Kind.MEMORY, "n1", "other", "read a note of other's")


class Desk:
    """A manager over real files, and processes for it."""

    def __init__(self, folder: Path, answer_s: float = 30.0) -> None:
        clock = SystemClock()
        self.policies = folder / "policies"
        self.policies.mkdir()
        self.audit = AuditLog.open(folder / "audit", clock, version="1", max_bytes=1 << 30)
        self.manager = AccessManager(self.policies, self.audit, clock, answer_s)
        self.journal = Journal.open(folder / "journal.duckdb", kernel_pid=1, version="1", clock=clock)
        self._clock, self._table = clock, ProcessTable()

    def life(self, agent: str = "probe", group: str = "user") -> Life:
        process = self._table.add(RunRequest(agent, group=group), parent=None, model="m", at=0.0)
        life = Life(process, EventLog(process.pid, self.journal, self._clock), "token")
        life.move(*process.live_state(), 0.0)
        return life

    async def asked(self, count: int = 1) -> list[Question]:
        async with asyncio.timeout(20):
            while len(self.manager.questions()) < count:  # noqa: ASYNC110 - a question has no event of its own
                await asyncio.sleep(0.001)
        return self.manager.questions()

    async def told(self, *what: str) -> list[AuditRow]:
        return [row for row in await self.audit.read() if row.what in what]

    def close(self) -> None:
        self.audit.close()
        self.journal.close()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


async def test_what_is_permitted_is_written_down_and_done(desk: Desk) -> None:
    await desk.manager.require(desk.life(), Need("read", Kind.FILE, "a.txt", "probe"))
    (row,) = await desk.told("decision")
    assert (row.pid, row.agent, row.group, row.action, row.resource) == (1, "probe", "user", "file:read", "a.txt")
    assert (row.owner, row.outcome, row.why) == ("probe", "allow", "user-own")


async def test_what_is_not_is_denied_and_that_is_durable(desk: Desk) -> None:
    with pytest.raises(NotPermitted, match=r"not permitted: read a note of other's \(no policy permits it\)"):
        await desk.manager.require(desk.life(), MEMORY)
    assert desk.audit.head.seq == 2
    (row,) = await desk.told("decision")
    assert (row.outcome, row.owner) == ("deny", "other")


async def test_a_flood_of_denials_is_counted(desk: Desk) -> None:
    lives = desk.life(), desk.life("other")
    for number in range(300):
        for life in lives:
            with pytest.raises(NotPermitted):
                await desk.manager.require(life, Need("read", Kind.MEMORY, f"n{number}", "third", "read a note"))
        desk.manager.refuse(f"GET /{number}", "no key")
    desk.manager.close()
    rows = await desk.told("decision")
    for pid, resource in ((1, "n299"), (2, "n299"), (0, "")):
        mine = [row for row in rows if row.pid == pid]
        assert bucket.DENIALS < len(mine) < 300
        assert {row.outcome for row in mine} == {"deny"}
        told = sum(1 + int((re.search(r"and (\d+) more", row.why) or ["", 0])[1]) for row in mine)
        assert (told, mine[-1].resource) == (300, resource)


async def test_a_flood_is_told_of_while_it_lasts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denials, "EVERY_S", 0.01)
    async with asyncio.timeout(20):
        while sum(" more)" in row.why for row in await desk.told("decision")) < 3:
            for _ in range(10):
                desk.manager.refuse("GET /", "no key")
    desk.manager.close()


@pytest.mark.parametrize("allow", [True, False])
async def test_a_question_waits_for_its_answer(desk: Desk, allow: bool) -> None:
    life = desk.life()
    asking = asyncio.create_task(desk.manager.require(life, DELETE))
    (question,) = await desk.asked()
    assert (question.what, question.action, question.resource) == (DELETE.what, "file:delete", "a.txt")
    assert (life.process.state, life.process.reason) == (ProcState.ASKING, DELETE.what)
    assert [row.outcome for row in await desk.told("decision")] == ["ask"]
    assert desk.manager.answer(life.process.pid, allow, Scope.ONCE) == question
    if allow:
        await asking
    else:
        with pytest.raises(NotPermitted, match="a person said no"):
            await asking
    assert life.process.state is ProcState.RUNNING
    assert desk.manager.questions() == []
    (row,) = await desk.told("answer")
    assert row.outcome == ("allow" if allow else "deny")
    again = asyncio.create_task(desk.manager.require(life, DELETE))
    await desk.asked()  # once is once
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)
    assert desk.manager.questions() == []
    life.process.state = ProcState.RUNNING


async def test_nobody_there_is_a_no(tmp_path: Path) -> None:
    desk = Desk(tmp_path, answer_s=0.05)
    with pytest.raises(NotPermitted, match=r"nobody answered in 0\.05 s"):
        await desk.manager.require(desk.life(), DELETE)
    with pytest.raises(InvalidState, match="asks nothing"):
        desk.manager.answer(1, True, Scope.ONCE)
    desk.close()


async def test_guests_are_never_asked_about(desk: Desk) -> None:
    with pytest.raises(NotPermitted):
        await desk.manager.require(desk.life(group="guest"), DELETE)


async def test_a_session_answer_holds_for_the_process_alone(desk: Desk) -> None:
    life = desk.life()
    asking = [
        asyncio.create_task(desk.manager.require(life, need))
        for need in (DELETE, Need("delete", Kind.FILE, "b.txt", "probe", irreversible=True))
    ]
    await desk.asked(2)
    desk.manager.answer(life.process.pid, True, Scope.SESSION)
    await asyncio.gather(*asking)
    await desk.manager.require(life, Need("delete", Kind.FILE, "c.txt", "probe", irreversible=True))
    assert (await desk.told("decision"))[-1].why == "a person said yes earlier"
    other = asyncio.create_task(desk.manager.require(desk.life(), DELETE))
    await desk.asked()
    desk.manager.answer(2, False, Scope.SESSION)
    with pytest.raises(NotPermitted):
        await other


@pytest.mark.parametrize("scope", [Scope.ONCE, Scope.SESSION])
async def test_an_answer_about_anothers_thing_is_for_that_thing(desk: Desk, scope: Scope) -> None:
    life = desk.life()
    asking = asyncio.create_task(desk.manager.request(life, MEMORY))
    await desk.asked()
    desk.manager.answer(1, True, scope)
    await asking
    await desk.manager.require(life, MEMORY)
    for need in (
        Need("read", Kind.MEMORY, "n2", "other"),
        Need("read", Kind.MEMORY, "n1", "third"),
        Need("write", Kind.MEMORY, "n1", "other"),
    ):
        with pytest.raises(NotPermitted):
            await desk.manager.require(life, need)


async def test_always_is_a_policy_that_can_be_taken_back(desk: Desk) -> None:
    asking = asyncio.create_task(desk.manager.require(desk.life(), DELETE))
    await desk.asked()
    desk.manager.answer(1, True, Scope.ALWAYS)
    await asking
    other = Need("delete", Kind.FILE, "b.txt", "probe", irreversible=True)
    await desk.manager.require(desk.life(), other)  # another process of the agent
    granted = [row.info() for row in desk.manager.policies.rows if row.info().granted]
    assert [row.id for row in granted] == ["probe-file-delete"]
    assert (desk.policies / "granted.cedar").stat().st_mode & 0o077 == 0
    with pytest.raises(NotPermitted):
        await desk.manager.require(desk.life("stranger"), DELETE)
    await desk.manager.revoke("probe-file-delete")
    with pytest.raises(InvalidState, match="no granted policy"):
        await desk.manager.revoke("probe-file-delete")
    again = asyncio.create_task(desk.manager.require(desk.life(), DELETE))
    await desk.asked()
    desk.manager.answer((await desk.asked())[0].pid, False, Scope.ALWAYS)
    with pytest.raises(NotPermitted):
        await again
    with pytest.raises(NotPermitted, match="probe-file-delete"):
        await desk.manager.require(desk.life(), DELETE)
    changes = [row.action for row in await desk.told("policy")]
    assert changes == ["grant file:delete", "revoke", "revoke", "forbid file:delete"]


async def test_always_of_a_tool_is_for_that_tool(desk: Desk) -> None:
    asking = asyncio.create_task(
        desk.manager.require(desk.life(), Need("exec", Kind.TOOL, "python", irreversible=True))
    )
    await desk.asked()
    desk.manager.answer(1, True, Scope.ALWAYS)
    await asking
    life = desk.life()
    await desk.manager.require(life, Need("exec", Kind.TOOL, "python", irreversible=True))
    shell = asyncio.create_task(desk.manager.require(life, Need("exec", Kind.TOOL, "shell", irreversible=True)))
    await desk.asked()
    shell.cancel()


async def test_another_question_than_the_one_seen_is_not_answered(desk: Desk) -> None:
    asking = asyncio.create_task(desk.manager.require(desk.life(), DELETE))
    await desk.asked()
    with pytest.raises(InvalidState, match=r"asks something else now: delete a\.txt"):
        desk.manager.answer(1, True, Scope.ONCE, "read a.txt")
    desk.manager.answer(1, True, Scope.ONCE, DELETE.what)
    await asking


async def test_what_a_line_does_not_tell_is_told_in_full_and_answered_as_seen(desk: Desk) -> None:
    code = "print(1)\n" + "\n" * 500 + "import shutil; shutil.rmtree('.')"

    def run(code: str) -> Need:
        return Need("exec", Kind.TOOL, "python", what="run python: print(1)", irreversible=True, detail=code)

    swapped = asyncio.create_task(desk.manager.require(desk.life(), run("print(1)\nprint(2)")))
    (seen,) = await desk.asked()
    swapped.cancel()
    await asyncio.wait({swapped})
    asking = asyncio.create_task(desk.manager.require(desk.life(), run(code)))
    (question,) = await desk.asked()
    assert (question.detail, question.what) == (code, f"run python: print(1) (question {question.id})")
    with pytest.raises(InvalidState, match="asks something else now"):
        desk.manager.answer(question.pid, True, Scope.ONCE, seen.what)
    desk.manager.answer(question.pid, True, Scope.ONCE, question.what)
    await asking
    with pytest.raises(LimitHit, match="70000 characters"):
        await desk.manager.require(desk.life(), run("x" * 70_000))
    assert not desk.manager._approvals._asked


async def test_the_middle_of_a_long_question_is_not_lost(desk: Desk) -> None:
    path = "a/" * 500 + "file"
    asking = asyncio.create_task(desk.manager.require(desk.life(), dataclasses.replace(DELETE, id=path, what="")))
    (question,) = await desk.asked()
    assert len(question.what) < 250
    assert path in question.detail
    asking.cancel()
    await asyncio.wait({asking})


async def test_a_forbid_that_comes_while_a_person_thinks_holds(desk: Desk) -> None:
    asking = asyncio.create_task(desk.manager.require(desk.life(), DELETE))
    await desk.asked()
    (desk.policies / "no.cedar").write_text('forbid (principal, action == Action::"file:delete", resource);')
    assert await desk.manager.reload() == 9
    desk.manager.answer(1, True, Scope.SESSION)
    with pytest.raises(NotPermitted, match="forbidden meanwhile"):
        await asking
    with pytest.raises(NotPermitted, match=r"no\.cedar:1"):
        await desk.manager.require(desk.life(), DELETE)


async def test_wrong_policies_change_nothing(desk: Desk) -> None:
    (desk.policies / "no.cedar").write_text("forbid everything;")
    for change in (desk.manager.reload, lambda: desk.manager.grant(GrantRequest("probe", "file:delete"))):
        with pytest.raises(BadConfig, match=r"no\.cedar:1: "):
            await change()
    assert len(desk.manager.policies.rows) == 8
    assert not (desk.policies / "granted.cedar").exists() or not (desk.policies / "granted.cedar").read_text()
    with pytest.raises(BadRequest, match="file:eat"):
        await desk.manager.grant(GrantRequest("probe", "file:eat"))


async def test_a_grant_is_kept_once_and_names_differ(desk: Desk) -> None:
    grant = desk.manager.grant
    first = await grant(GrantRequest("probe", "memory:read", owner="other"))
    assert (await grant(GrantRequest("probe", "memory:read", owner="other"))).id == first.id == "probe-memory-read"
    assert (await grant(GrantRequest("probe", "memory:read", "n1", "third"))).id == "probe-memory-read-2"
    assert desk.manager.test(desk.life().process, MEMORY).outcome is Outcome.ALLOW
    await desk.manager.revoke(first.id)
    assert desk.manager.test(desk.life().process, MEMORY).outcome is Outcome.DENY
    assert [row.id for row in desk.manager.policies.rows if row.info().granted] == ["probe-memory-read-2"]


async def test_questions_are_one_line_and_not_without_number(desk: Desk) -> None:
    life = desk.life()
    hostile = Need("delete", Kind.FILE, "x", "probe", "delete\x1b[2J a\nprocess 1 asks: ok?" + "y" * 999, True)
    asking = [asyncio.create_task(desk.manager.require(life, hostile)) for _ in range(16)]
    questions = await desk.asked(16)
    assert questions[0].what.startswith("delete [2J a process 1 asks: ok?yyy")
    assert len(questions[0].what.removesuffix(" (question 1)")) == 200
    with pytest.raises(LimitHit, match="16 questions"):
        await desk.manager.require(life, hostile)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    assert desk.manager.questions() == []


async def test_nothing_is_allowed_that_cannot_be_written_down(desk: Desk) -> None:
    desk.audit.close()
    with pytest.raises(InternalError, match="closed"):
        await desk.manager.require(desk.life(), Need("read", Kind.FILE, "a.txt", "probe"))


async def test_a_name_without_measure_is_refused(desk: Desk) -> None:
    with pytest.raises(BadRequest, match="5000 characters"):
        await desk.manager.require(desk.life(), Need("read", Kind.FILE, "x" * 5_000, "probe"))


async def test_wrong_policies_are_no_start(tmp_path: Path) -> None:
    (tmp_path / "bad.cedar").write_text("\npermit;")
    audit = AuditLog.open(tmp_path / "audit", SystemClock(), version="1", max_bytes=1 << 20)
    make: Callable[[], AccessManager] = lambda: AccessManager(tmp_path, audit, SystemClock(), 1.0)  # noqa: E731
    with pytest.raises(BadConfig, match=r"bad\.cedar:2: "):
        make()
    audit.close()

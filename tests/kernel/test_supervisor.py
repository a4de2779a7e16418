"""The supervisor over hosts that misbehave, and over a real one."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import Mock

import pytest

from aios_kernel import supervisor as module
from aios_kernel.access.manager import AccessManager
from aios_kernel.audit import AuditLog
from aios_kernel.clock import SystemClock
from aios_kernel.core import EngineConfig
from aios_kernel.errors import HostFailed, InternalError, LimitHit, NotAuthenticated
from aios_kernel.eventlog import EventLog
from aios_kernel.hosting import Host, SpawnOrder
from aios_kernel.journal import Journal
from aios_kernel.life import Life
from aios_kernel.llm import Llm
from aios_kernel.process import ProcessTable
from aios_kernel.protocol import AgentInfo, RunRequest, SyscallRequest
from aios_kernel.sandbox.agents import AgentSandbox
from aios_kernel.sandbox.config import SandboxConfig
from aios_kernel.snapshots import Snapshots
from aios_kernel.supervisor import Supervisor
from aios_kernel.syscalls import Dispatcher, all_rows, dispatch
from aios_kernel.tools import ToolRegistry

pytestmark = pytest.mark.anyio

CLOCK = SystemClock()


class BrokenHost(Host):
    """Knows one agent and cannot start it, for a reason nobody has thought of."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"), 0o077)

    async def agents(self) -> list[AgentInfo]:
        await asyncio.sleep(0)
        return [AgentInfo("probe", "", "")]

    async def spawn(self, order: SpawnOrder, fds: Sequence[int]) -> int:
        await asyncio.sleep(0)
        raise ValueError("embedded null byte")


def opened(folder: Path) -> Journal:
    return Journal.open(folder / "j", kernel_pid=1, version="test", clock=CLOCK)


def supervisor(folder: Path, journal: Journal) -> Supervisor:
    llm = Llm(EngineConfig(), CLOCK)
    sandbox = AgentSandbox(folder / "scratch", SandboxConfig(), lambda _: None)
    return Supervisor(BrokenHost(), llm, Snapshots(folder / "snapshots", llm, CLOCK), journal, CLOCK, sandbox)


async def test_a_start_that_fails_in_an_unknown_way_is_an_end_like_others(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    try:
        boss = supervisor(tmp_path, journal)
        async with asyncio.timeout(20):
            with pytest.raises(InternalError, match="ValueError: embedded null byte"):
                await boss.run(RunRequest("probe"))
            assert (await boss.census.info(1)).exit_code == 1
            await boss.close(0.1)
        boss.table.check_invariants()
    finally:
        journal.close()


async def test_no_more_processes_than_allowed_however_many_start_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PROCS", 3)
    journal = opened(tmp_path)
    try:
        boss = supervisor(tmp_path, journal)
        errors = await asyncio.gather(*(boss.run(RunRequest("probe")) for _ in range(5)), return_exceptions=True)
        assert sorted(type(error).__name__ for error in errors) == ["InternalError"] * 3 + ["LimitHit"] * 2
        await boss.close(0.1)
    finally:
        journal.close()


async def test_syscalls_at_once_are_bounded_and_end_with_their_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "MAX_SYSCALLS", 2)
    journal = opened(tmp_path)
    try:
        boss = supervisor(tmp_path, journal)
        audit = AuditLog.open(tmp_path / "audit", CLOCK, version="1", max_bytes=1 << 30)
        access = AccessManager(tmp_path / "policies", audit, CLOCK, 1.0)
        table = all_rows(Llm(EngineConfig(), CLOCK), ToolRegistry([]), boss, journal, access, Mock(), Mock(), Mock())
        dispatcher = Dispatcher(table, access, journal, CLOCK)
        process = ProcessTable().add(RunRequest("probe"), parent=None, model="", at=0.0)
        life = Life(process, EventLog(process.pid, journal, CLOCK), "token")

        async def recv(timeout_s: float) -> object:
            return await dispatcher.dispatch(
                life, SyscallRequest("proc.recv", {"timeout_s": timeout_s}), lambda _: None
            )

        waiting = [asyncio.create_task(recv(20.0)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(LimitHit, match="2 syscalls under way"):
            await asyncio.create_task(recv(0.0))
        life.ending = True
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        with pytest.raises(NotAuthenticated):
            await asyncio.create_task(recv(0.0))
        assert not life.syscalls
    finally:
        journal.close()


async def test_a_host_that_is_slow_to_read_answers_everybody(tmp_path: Path) -> None:
    host = Host(tmp_path, 0o077)
    host.listen(lambda _pid, _status: None, lambda: None)
    await host.start()
    try:
        await host.agents()  # it is up
        assert host._process is not None
        os.kill(host._process.pid, signal.SIGSTOP)
        asking = [asyncio.create_task(host.agents()) for _ in range(1_000)]  # many times what the socket takes
        await asyncio.sleep(0)
        os.kill(host._process.pid, signal.SIGCONT)
        async with asyncio.timeout(30):
            assert len({len(agents) for agents in await asyncio.gather(*asking)}) == 1
    finally:
        await host.close()


async def test_whoever_waits_for_a_host_that_dies_hears_of_it(tmp_path: Path) -> None:
    lost = asyncio.Event()
    host = Host(tmp_path, 0o077)
    host.listen(lambda _pid, _status: None, lost.set)
    await host.start()
    try:
        await host.agents()
        assert host._process is not None
        os.kill(host._process.pid, signal.SIGSTOP)
        asking = [asyncio.create_task(host.agents()) for _ in range(1_000)]
        await asyncio.sleep(0)
        os.kill(host._process.pid, signal.SIGKILL)
        async with asyncio.timeout(30):
            errors = await asyncio.gather(*asking[:100], return_exceptions=True)
            await lost.wait()
            assert {HostFailed} == {type(error) for error in errors}
            await asyncio.gather(*asking, return_exceptions=True)
            assert await host.agents()  # of a new one
    finally:
        await host.close()

"""Processes without an OS process: how they begin, what signals do to them, how they end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aios_kernel import supervisor as module
from aios_kernel.clock import SystemClock
from aios_kernel.core import EngineConfig
from aios_kernel.errors import BadRequest, Cancelled, KernelStopping, LimitHit, NoSuchProcess
from aios_kernel.hosting import Host
from aios_kernel.journal import Journal
from aios_kernel.llm import Llm
from aios_kernel.protocol import Pid, ProcState, RunRequest, Signal
from aios_kernel.sandbox.agents import AgentSandbox
from aios_kernel.sandbox.config import SandboxConfig
from aios_kernel.snapshots import Snapshots
from aios_kernel.supervisor import Supervisor

pytestmark = pytest.mark.anyio

REQUEST = RunRequest("http", "say hello", group="guest")


@pytest.fixture
async def boss(tmp_path: Path) -> AsyncIterator[Supervisor]:
    clock = SystemClock()
    journal = Journal.open(tmp_path / "j", kernel_pid=1, version="test", clock=clock)
    llm = Llm(EngineConfig(), clock)
    sandbox = AgentSandbox(tmp_path / "scratch", SandboxConfig(), lambda _: None)
    boss = Supervisor(Host(tmp_path, 0o077), llm, Snapshots(tmp_path, llm, clock), journal, clock, sandbox)
    try:
        async with asyncio.timeout(20):
            yield boss
            await boss.close(0.1)
        boss.table.check_invariants()
    finally:
        journal.close()


async def held(boss: Supervisor) -> tuple[Pid, asyncio.Task[Any]]:
    """A virtual process that goes on until it is ended: its pid and its task."""
    began: asyncio.Future[Pid] = asyncio.get_running_loop().create_future()

    async def hold() -> Any:
        async with boss.virtual(REQUEST) as life:
            began.set_result(life.process.pid)
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await asyncio.wait({began, task}, return_when=asyncio.FIRST_COMPLETED)
    return began.result() if began.done() else await task, task


async def fail(boss: Supervisor, pids: list[Pid]) -> None:
    async with boss.virtual(REQUEST) as life:
        pids.append(life.process.pid)
        raise BadRequest("no good")


async def test_it_is_a_process_like_others_and_ends_with_its_block(boss: Supervisor) -> None:
    async with boss.virtual(REQUEST) as life:
        info = await boss.census.info(life.process.pid)
        assert (info.agent, info.task, info.group, info.ppid, info.os_pid) == ("http", "say hello", "guest", 0, None)
        assert info.state is ProcState.RUNNING
    info = await boss.wait(info.pid)
    assert (info.exit_code, info.reason, info.state) == (0, "done", ProcState.EXITED)
    assert not boss.table.alive()


async def test_an_error_is_its_end_and_goes_on(boss: Supervisor) -> None:
    pids: list[Pid] = []
    with pytest.raises(BadRequest, match="no good"):
        await fail(boss, pids)
    info = await boss.wait(pids[0])
    assert (info.exit_code, info.reason) == (1, "no good")


@pytest.mark.parametrize(("signal", "code"), [(Signal.TERM, 143), (Signal.INT, 130), (Signal.KILL, 137)])
async def test_a_signal_ends_it(boss: Supervisor, signal: Signal, code: int) -> None:
    pid, task = await held(boss)
    await boss.signal(pid, signal)
    with pytest.raises(Cancelled, match=f"process {pid} was killed by SIG{signal}"):
        await task
    assert not task.cancelled()
    assert (await boss.wait(pid)).exit_code == code
    with pytest.raises(NoSuchProcess):
        await boss.signal(pid, signal)


async def test_a_suspended_one_can_be_resumed_and_ended(boss: Supervisor) -> None:
    pid, task = await held(boss)
    assert (await boss.signal(pid, Signal.STOP)).state is ProcState.SUSPENDED
    assert (await boss.signal(pid, Signal.CONT)).state is ProcState.RUNNING
    await boss.signal(pid, Signal.STOP)
    await boss.signal(pid, Signal.TERM)
    with pytest.raises(Cancelled):
        await task
    assert (await boss.wait(pid)).exit_code == 143


async def test_one_whose_client_goes_away_ends(boss: Supervisor) -> None:
    pid, task = await held(boss)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    info = await boss.wait(pid)
    assert (info.exit_code, info.reason) == (1, "its client went away")


async def test_the_kernels_end_is_its_end(boss: Supervisor) -> None:
    pid, task = await held(boss)
    await boss.close(0.1)
    with pytest.raises(KernelStopping):
        await task
    assert (await boss.census.info(pid)).exit_code == 143
    with pytest.raises(KernelStopping):
        await held(boss)


async def test_there_is_a_limit_to_them(boss: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PROCS", 1)
    pid, task = await held(boss)
    with pytest.raises(LimitHit):
        await held(boss)
    await boss.signal(pid, Signal.KILL)
    await asyncio.gather(task, return_exceptions=True)

"""What `aios ps` shows: the living from the table and the engine, the dead from the journal."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import msgspec

from aios_kernel.clock import Clock
from aios_kernel.core import ModelSpec
from aios_kernel.errors import NoSuchProcess
from aios_kernel.journal import End, Journal, Start
from aios_kernel.llm import Llm
from aios_kernel.process import Process, ProcessTable
from aios_kernel.protocol import Pid, ProcInfo, ProcState, SnapshotInfo, Tier
from aios_kernel.scheduler.request import Phase, Usage

NUM_ENDED: Final = 50  # processes that have ended which those who watch are told of

Mark = tuple[object, ...]  # of a process: while it stays the same, nobody who watches need be told anything


class Census:
    """Answers who there is. Event loop only."""

    def __init__(self, table: ProcessTable, llm: Llm, journal: Journal, clock: Clock) -> None:
        self._table = table
        self._llm = llm
        self._journal = journal
        self._clock = clock
        self._ended: dict[Pid, ProcInfo] = {}  # the newest, as EXITED, and all zombies, in the order of their ends
        self._recalled = False

    async def info(self, pid: int) -> ProcInfo:
        """One process, living or not. Raises NoSuchProcess."""
        process = self._table.get(pid)
        if process is not None and not process.ended:
            return self._living(process)
        rows = await self._journal.read("SELECT * FROM procs WHERE pid = ? AND exit_code IS NOT NULL", pid)
        if not rows:
            raise NoSuchProcess(f"no process {pid}", pid=pid)
        return self._ended_info(rows[0])

    async def infos(self, *, all: bool) -> list[ProcInfo]:
        """Every living process and zombie by pid; with `all` also those that have exited, of earlier kernels too."""
        living = [self._living(process) for process in self._table.alive()]  # before the read: none is missed between
        zombies = [process.pid for process in self._table if process.ended]
        if not all and not zombies:
            return living
        which = "" if all else "AND list_contains(?, pid)"
        rows = await self._journal.read(
            f"SELECT * FROM procs WHERE exit_code IS NOT NULL {which}",  # noqa: S608 - our own words
            *(() if all else (zombies,)),
        )
        seen = {info.pid for info in living}
        return sorted(
            [*living, *(self._ended_info(row) for row in rows if row["pid"] not in seen)], key=lambda i: i.pid
        )

    def swapped(self) -> list[SnapshotInfo]:
        """The contexts of living processes that are off their slots."""
        infos = ((info, self._table.get(info.pid)) for info in self._llm.snapshots())
        return [dataclasses.replace(info, agent=process.request.agent) for info, process in infos if process]

    async def recall(self) -> None:
        """Take the newest ends of earlier kernels in, once. Raises InternalError."""
        if self._recalled:
            return
        rows = await self._journal.read(
            "SELECT * FROM procs WHERE boot < ? AND exit_code IS NOT NULL ORDER BY ended_at DESC, pid DESC LIMIT ?",
            self._journal.boot,
            NUM_ENDED,
        )
        self._recalled = True
        self._ended = {Pid(row["pid"]): self._ended_info(row) for row in reversed(rows)} | self._ended
        self._forget()

    def news(self, told: dict[Pid, Mark]) -> tuple[list[ProcInfo], list[int]]:
        """Those of whom something is new since `told`, and pids that are told of no more; `told` is brought up to date.

        Told of are the living, zombies and the newest that have ended. Passing time is no news, but for each second
        that a generation waits.
        """
        self._forget()
        infos: list[ProcInfo] = []
        marks: dict[Pid, Mark] = {}
        now, spec = self._clock.monotonic(), self._llm.spec
        for process in self._table.alive():
            mark = marks[process.pid] = self._mark(process, spec, now)
            if told.get(process.pid) != mark:
                infos.append(self._living(process))
        for pid, info in self._ended.items():
            if pid in marks:
                continue  # its end is not durable yet
            zombie = self._table.get(pid)
            state = zombie.state if zombie is not None else ProcState.EXITED
            marks[pid] = (state,)
            if told.get(pid) != marks[pid]:
                infos.append(dataclasses.replace(info, state=state))
        gone: list[int] = [pid for pid in told if pid not in marks]
        told.clear()
        told.update(marks)
        return infos, gone

    def _mark(self, process: Process, spec: ModelSpec | None, now: float) -> Mark:
        usage = self._llm.usage(process.pid)
        return (
            process.state,
            process.reason,
            process.nice,
            process.tokens_in,
            process.tokens_out + process.tokens_live,
            process.os_pid,
            process.window,
            usage,
            int(now - usage.waits_since[0]) if usage.waits_since else 0,
            spec,
        )

    def _living(self, process: Process) -> ProcInfo:
        usage, spec, now = self._llm.usage(process.pid), self._llm.spec, self._clock.now()
        # The engine says more than "queued": who it is behind. Before it has the generation it says "idle".
        in_engine = process.state in (ProcState.READY, ProcState.RUNNING) and usage.phase is not Phase.IDLE
        behind = self._llm.behind(process.pid) if usage.phase is Phase.READY else None
        return ProcInfo(
            pid=process.pid,
            ppid=process.ppid,
            agent=process.request.agent,
            task=process.request.task,
            state=process.state,
            reason=(behind or usage.reason) if in_engine else process.reason,
            nice=process.nice,
            group=process.request.group,
            model=process.model,
            tokens_in=process.tokens_in,
            tokens_out=process.tokens_out + process.tokens_live,
            tok_per_s=usage.tok_per_s,
            ctx_used=usage.ctx_used,
            ctx_max=spec.window if spec else 0,
            slot=usage.slot,
            tier=usage.tier,
            kv_bytes=usage.kv_bytes,
            wait_ms=usage.wait_ms(self._clock.monotonic()),
            turnaround_ms=(now - process.started_at) * 1000,
            started_at=process.started_at,
            ended_at=None,
            exit_code=None,
            exact=spec is not None and spec.exact,
            os_pid=process.os_pid,
            window=process.window,
        )

    def _ended_info(self, row: dict[str, Any]) -> ProcInfo:
        process = self._table.get(row["pid"])
        return ProcInfo(
            pid=row["pid"],
            ppid=row["ppid"],
            agent=row["agent"],
            task=row["task"],
            state=process.state if process is not None and process.ended else ProcState.EXITED,
            reason=row["reason"],
            nice=row["nice"],
            group=row["group"],
            model=row["model"],
            tokens_in=row["tokens_in"],
            tokens_out=row["tokens_out"],
            tok_per_s=0.0,
            ctx_used=row["ctx_used"],
            ctx_max=row["ctx_max"],
            slot=None,
            tier=Tier.NONE,
            kv_bytes=0,
            wait_ms=row["wait_ms"],
            turnaround_ms=(row["ended_at"] - row["started_at"]) * 1000,
            started_at=row["started_at"],
            ended_at=row["ended_at"],
            exit_code=row["exit_code"],
            exact=row["exact"],
            os_pid=None,
        )

    def start_row(self, process: Process) -> Start:
        request = process.request
        return Start(
            pid=process.pid,
            boot=self._journal.boot,
            ppid=process.ppid,
            agent=request.agent,
            task=request.task,
            nice=request.nice,
            group=request.group,
            model=process.model,
            request=msgspec.json.encode(request).decode(),
            started_at=process.started_at,
        )

    def end_row(self, process: Process, usage: Usage, code: int, reason: str, at: float) -> End:
        """What the journal keeps of a process, and this for those who watch. usage: from before it was released."""
        spec = self._llm.spec
        end = End(
            pid=process.pid,
            exit_code=code,
            reason=reason,
            nice=process.nice,
            tokens_in=process.tokens_in,
            tokens_out=process.tokens_out + process.tokens_live,
            ctx_used=usage.ctx_used,
            ctx_max=spec.window if spec else 0,
            wait_ms=usage.wait_ms(self._clock.monotonic()),
            exact=spec is not None and spec.exact,
            ended_at=at,
        )
        row = dataclasses.asdict(self.start_row(process)) | dataclasses.asdict(end)
        self._ended[process.pid] = self._ended_info(row)
        self._forget()
        return end

    def _forget(self) -> None:
        """Of those that have ended keep the newest, and those that are still in the table."""
        for pid in list(self._ended)[: max(0, len(self._ended) - NUM_ENDED)]:
            if self._table.get(pid) is None:
                del self._ended[pid]

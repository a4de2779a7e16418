"""The one path by which a syscall is served.

Check arguments, check the right, journal the intent, run, journal the result, reply; all under the deadline. What was
decided about a syscall with effects, and its intent, are durable before it runs; the decision and the result of any
before its reply leaves. Each syscall runs in a task of its own, so a slow one holds up nobody.
"""

from __future__ import annotations

import asyncio
import dataclasses
import difflib
import logging
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from aios_kernel.access.manager import AccessManager, Written
from aios_kernel.access.need import Need
from aios_kernel.clock import Clock
from aios_kernel.errors import (
    BadRequest,
    Cancelled,
    DeadlineHit,
    InternalError,
    KernelError,
    LimitHit,
    NoSuchSyscall,
    NotAuthenticated,
    NotPermitted,
    row_of,
    to_wire,
)
from aios_kernel.journal import KEPT_BYTES, Call, Journal, kept_json
from aios_kernel.life import Life
from aios_kernel.protocol import EventKind, SyscallRequest
from aios_kernel.syscalls.table import OnDelta, Syscall, parse_args

log = logging.getLogger(__name__)

MAX_NAME: Final = 64  # characters of an unknown syscall's name that are looked at
MAX_SYSCALLS: Final = 1_024  # of one process under way at once


class Dispatcher:
    """Serves the syscalls of all processes. Event loop only."""

    def __init__(self, table: dict[str, Syscall], access: AccessManager, journal: Journal, clock: Clock) -> None:
        self.table: Final = table
        self._access = access
        self._journal = journal
        self._clock = clock

    async def dispatch(self, life: Life, request: SyscallRequest, on_delta: OnDelta) -> msgspec.Raw:
        """Serve one syscall: its result as JSON. Call it in a task of its own, which the caller's end cancels.

        Raises:
            NoSuchSyscall, BadRequest: nothing was journaled.
            NotAuthenticated: the process has ended since its token was checked; LimitHit: it has too many under way.
            KernelError: how the syscall ended.
        """
        row = self._row(request)
        args = parse_args(request.name, request.args, row.args)
        process = life.process
        if life.ending or life.killed:
            raise NotAuthenticated("this token names no living process")
        if len(life.syscalls) >= MAX_SYSCALLS:
            raise LimitHit(f"process {process.pid} has {MAX_SYSCALLS} syscalls under way", limit=MAX_SYSCALLS)
        num, process.num_syscalls = process.num_syscalls, process.num_syscalls + 1
        kept = kept_json(msgspec.json.encode(request.args), row.kept_bytes)
        call = Call(process.pid, num, request.name, kept, self._clock.now())
        task = asyncio.current_task()
        assert task is not None
        life.syscalls.add(task)
        decisions: list[Written] = []
        try:
            result = await self._run(row, life, args, request, on_delta, call, decisions)
        except asyncio.CancelledError:  # nobody waits for the row any more
            self._finish(life, call, Cancelled(f"{request.name}: the caller went away"), decisions)
            raise
        except KernelError as error:
            await self._finish(life, call, error, decisions)
            raise
        else:
            call = dataclasses.replace(call, result=kept_json(bytes(result), row.kept_bytes))
            await asyncio.gather(self._finish(life, call, None, decisions), *decisions)
            return result
        finally:
            life.syscalls.discard(task)
            if num in process.generating:
                process.generating.remove(num)
            life.act(num, None, self._clock.now())

    def _row(self, request: SyscallRequest) -> Syscall:
        row = self.table.get(request.name)
        if row is None:
            name = request.name[:MAX_NAME]  # what it takes to compare names grows with them
            near = difflib.get_close_matches(name, self.table, n=1)
            hint = f"; did you mean {near[0]}?" if near else f" (there are {', '.join(self.table)})"
            raise NoSuchSyscall(f"no syscall {name!r}{hint}", name=name)
        if request.stream and not row.streams:
            raise BadRequest(f"{request.name} does not stream", name=request.name)
        if request.deadline_s is not None and not request.deadline_s > 0:
            raise BadRequest(f"deadline_s = {request.deadline_s:g}: must be more than 0", key="deadline_s")
        return row

    async def _run(
        self,
        row: Syscall,
        life: Life,
        args: Any,
        request: SyscallRequest,
        on_delta: OnDelta,
        call: Call,
        decisions: list[Written],
    ) -> msgspec.Raw:
        """decisions: gets what was decided, which may not be durable yet where there are no effects."""
        limit = asyncio.timeout(request.deadline_s)
        try:
            async with limit:
                decisions += await self._access.admit(life, self._needs(row, life, args, call), call.num)
                if row.effects:
                    await asyncio.gather(self._journal.append(call), *decisions)
                if row.streams:
                    life.process.generating.append(call.num)
                if row.state is not None:
                    life.act(call.num, (row.state, request.name), self._clock.now())
                return msgspec.Raw(msgspec.json.encode(await row.run(life, args, on_delta)))
        except KernelError:
            raise
        except Exception as error:
            if isinstance(error, TimeoutError) and limit.expired():
                message = f"{request.name}: not done after {request.deadline_s:g} s"
                raise DeadlineHit(message, deadline_s=request.deadline_s) from error
            log.exception("process %d: %s", life.process.pid, request.name)
            raise InternalError(f"{request.name}: {type(error).__name__}: {error}") from error

    def _needs(self, row: Syscall, life: Life, args: Any, call: Call) -> Sequence[Need]:
        try:
            return row.needs(life.process, args)
        except NotPermitted as error:
            self._access.overstep(life, call.num, call.name, error.message)
            raise

    def _finish(
        self, life: Life, call: Call, error: KernelError | None, decisions: list[Written]
    ) -> asyncio.Future[None]:
        """Journal how a syscall ended, then tell it in the process's events."""
        ended = dataclasses.replace(call, finished_at=self._clock.now())
        if error is not None:  # nobody makes anything of what has failed
            said = msgspec.json.encode(to_wire(error), enc_hook=str)
            args = kept_json(call.args.encode(), KEPT_BYTES)
            ended = dataclasses.replace(ended, args=args, error=kept_json(said, KEPT_BYTES))
        durable = self._journal.append(ended)
        outcome = "ok" if error is None else row_of(error).errno
        if decisions:
            self._access.effect(life, call.num, call.name, outcome)
        life.log.append_nowait(EventKind.SYSCALL, f"{call.name} {outcome}".encode())
        return durable

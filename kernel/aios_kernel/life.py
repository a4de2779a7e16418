"""What the daemon holds for one process while it lives, beside its entry in the process table."""

from __future__ import annotations

import asyncio
import signal as os_signals
from dataclasses import dataclass, field
from typing import Any, Final

from aios_kernel.chat import Conversation
from aios_kernel.errors import LimitHit
from aios_kernel.eventlog import EventLog
from aios_kernel.pipes import StdPipes
from aios_kernel.process import Process
from aios_kernel.protocol import EventKind, Mail, ProcState
from aios_kernel.sandbox.line import Line

MAILBOX_LENGTH: Final = 1_000
MAILBOX_CHARS: Final = 4 << 20  # of all messages in it
DRAIN_S: Final = 2.0  # for output still in the pipes after the exit; longer only a grandchild holds them open


@dataclass(slots=True, eq=False)
class Life:
    """A process's streams, mailbox, tasks and waiters. `move` and `act` keep its event log in step with its state."""

    process: Process
    log: EventLog
    token: str
    pipes: StdPipes | None = None
    line: Line | None = None
    mailbox: asyncio.Queue[Mail] = field(default_factory=lambda: asyncio.Queue(MAILBOX_LENGTH))
    mail_chars: int = 0  # in the mailbox
    signals: asyncio.Lock = field(default_factory=asyncio.Lock)  # STOP and CONT take turns
    spawned: asyncio.Event = field(default_factory=asyncio.Event)  # its OS process exists, or could not be made
    over: asyncio.Event = field(default_factory=asyncio.Event)  # its end is durable
    num_written: int = 0  # bytes of standard output and error
    pumps: list[asyncio.Task[None]] = field(default_factory=list)
    deadline: asyncio.Task[None] | None = None
    work: asyncio.Task[Any] | None = None  # of a virtual process: what runs in place of an OS process
    syscalls: set[asyncio.Task[Any]] = field(default_factory=set)
    waiters: list[tuple[ProcState, asyncio.Future[None]]] = field(default_factory=list)
    history: Conversation | None = None  # what it began with a copy of
    keep: bytes | None = None  # where it ends well: a name for its conversation, which another may go on with
    answers: dict[tuple[str, str, str], bool] = field(default_factory=dict)  # what a person said for all its life
    killed: bool = False  # it has been sent KILL: its token opens nothing any more
    ending: bool = False  # its OS process is gone: nothing moves it but its end
    verdict: tuple[int, str] | None = None  # exit code and reason that we chose, whatever its OS process returns

    def move(self, state: ProcState, reason: str, at: float) -> None:
        """Change the state or its reason, tell a new state in the event log, wake those who wait for it."""
        before = self.process.state
        if not self.process.move(state, reason, at):
            return
        ended = self.process.ended
        if state is not before and not ended:  # the EXIT event tells that, and is the last
            self.log.append_nowait(EventKind.STATE, f"{state} {reason}".encode())
        for wanted, future in self.waiters:
            if (ended or wanted is state) and not future.done():
                future.set_result(None)
        self.waiters = [(wanted, future) for wanted, future in self.waiters if not future.done()]

    def act(self, num: int, activity: tuple[ProcState, str] | None, at: float) -> None:
        """Note what the process's syscall `num` does now; None: it is done."""
        if activity is None:
            self.process.activities.pop(num, None)
        elif not self.ending:
            self.process.activities[num] = activity
        if not self.ending and self.process.state not in (ProcState.NEW, ProcState.SUSPENDED):
            self.move(*self.process.live_state(), at)

    def post(self, mail: Mail) -> None:
        """Put a message into the mailbox. Raises LimitHit."""
        pid = self.process.pid
        if self.mailbox.full() or self.mail_chars + len(mail.text) > MAILBOX_CHARS:
            raise LimitHit(f"the mailbox of process {pid} is full", pid=pid)
        self.mail_chars += len(mail.text)
        self.mailbox.put_nowait(mail)

    async def receive(self) -> Mail:
        """The oldest message in the mailbox, or the next to come."""
        mail = await self.mailbox.get()
        self.mail_chars -= len(mail.text)
        return mail

    async def settle(self) -> None:
        """End what still runs for a process whose own end has come."""
        if self.deadline is not None and self.deadline is not asyncio.current_task():
            self.deadline.cancel()
        for task in self.syscalls:
            task.cancel()
        if self.pipes is not None and self.pipes.stdin is not None:
            self.pipes.stdin.close()
        if self.line is not None:
            self.line.close()
        if self.pumps:
            _, held = await asyncio.wait(self.pumps, timeout=DRAIN_S)
            for pump in held:
                pump.cancel()
        elif self.pipes is not None:
            self.pipes.close()
        await asyncio.gather(*self.pumps, *self.syscalls, return_exceptions=True)
        self.process.activities.clear()


def verdict_of(status: int) -> tuple[int, str]:
    """Exit code and reason of a wait status: the code, or -signal."""
    if status < 0:
        return 128 - status, f"killed by {os_signals.Signals(-status).name}"
    return status, "done" if status == 0 else f"exit {status}"

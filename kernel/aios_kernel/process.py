"""The process table: what a process is, which states may follow which, and who may touch whom. No I/O here."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from aios_kernel.errors import LimitHit, NoSuchProcess
from aios_kernel.protocol import Pid, PolicyClass, ProcState, RunRequest

S = ProcState

ENDED: Final = frozenset({S.ZOMBIE, S.EXITED})

# Every state of a living process may be left for suspension and for the end; CONT goes back to where it was.
ALLOWED: Final[dict[ProcState, frozenset[ProcState]]] = {
    S.NEW: frozenset({S.READY, S.RUNNING, S.WAITING, S.ASKING, S.ZOMBIE, S.EXITED}),
    S.READY: frozenset({S.RUNNING, S.WAITING, S.ASKING, S.SUSPENDED, S.ZOMBIE, S.EXITED}),
    S.RUNNING: frozenset({S.READY, S.WAITING, S.ASKING, S.SUSPENDED, S.ZOMBIE, S.EXITED}),
    S.WAITING: frozenset({S.READY, S.RUNNING, S.ASKING, S.SUSPENDED, S.ZOMBIE, S.EXITED}),
    S.ASKING: frozenset({S.READY, S.RUNNING, S.WAITING, S.SUSPENDED, S.ZOMBIE, S.EXITED}),
    S.SUSPENDED: frozenset({S.READY, S.RUNNING, S.WAITING, S.ASKING, S.ZOMBIE, S.EXITED}),
    S.ZOMBIE: frozenset({S.EXITED}),
    S.EXITED: frozenset(),
}

# A process with several syscalls under way shows the first of these that one of them is in.
_PRECEDENCE: Final = (S.ASKING, S.RUNNING, S.READY, S.WAITING)

STORY_LENGTH: Final = 16  # moves kept for reports


class InvalidTransition(RuntimeError):
    """A bug of ours: the table does not allow this move. The message tells the process's last moves."""


@dataclass(frozen=True, slots=True)
class Move:
    at: float
    state: ProcState
    reason: str


@dataclass(slots=True, eq=False)
class Process:
    """One agent's entry. `move` is the only way to change its state."""

    pid: Pid
    ppid: Pid  # 0: started by a person
    ancestors: tuple[Pid, ...]  # oldest first, parent last; a person is none
    request: RunRequest
    model: str
    started_at: float
    program: Pid  # the oldest of its ancestors, else itself: with all its descendants it is one program
    state: ProcState = S.NEW
    reason: str = "starting"
    os_pid: int | None = None
    tokens_in: int = 0
    tokens_out: int = 0  # produced by generations that have ended
    tokens_live: int = 0  # produced so far by the one under way
    tokens_reserved: int = 0  # granted to generations under way
    nice: int = 0
    window: str = ""  # what was done last to make a prompt fit the context window
    ended_at: float | None = None
    exit_code: int | None = None
    num_syscalls: int = 0
    activities: dict[int, tuple[ProcState, str]] = field(default_factory=dict)  # syscall number -> what it does
    generating: list[int] = field(default_factory=list)  # its llm.chat syscalls; the engine runs them in this order
    story: deque[Move] = field(default_factory=lambda: deque(maxlen=STORY_LENGTH))

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def move(self, state: ProcState, reason: str, at: float) -> bool:
        """Change the state, or only the reason within a living state. False: nothing changed.

        Raises:
            InvalidTransition: the table does not allow it.
        """
        if (state, reason) == (self.state, self.reason):
            return False
        if state not in ALLOWED[self.state] and (state is not self.state or self.ended):
            story = ", ".join(f"{move.state} ({move.reason})" for move in self.story) or "just made"
            raise InvalidTransition(f"process {self.pid}: {self.state} -> {state} ({reason}); before: {story}")
        self.state, self.reason = state, reason
        self.story.append(Move(at, state, reason))
        return True

    def count(self, produced: int, *, ended: bool) -> None:
        """Note tokens of its generation; the engine runs them one after the other, so they are of one at a time."""
        self.tokens_live += produced
        if ended:
            self.tokens_out, self.tokens_live = self.tokens_out + self.tokens_live, 0

    @contextlib.contextmanager
    def granted(self, wanted: int) -> Iterator[int]:
        """Tokens that a generation may produce under its quota. Raises LimitHit when nothing is left."""
        quota = self.request.max_tokens
        if quota is not None:
            left = quota - self.tokens_out - max(self.tokens_reserved, self.tokens_live)
            if left <= 0:
                raise LimitHit(f"process {self.pid} has used up its {quota} tokens", limit=quota)
            wanted = min(wanted, left)
        self.tokens_reserved += wanted
        try:
            yield wanted
        finally:
            self.tokens_reserved -= wanted

    def live_state(self) -> tuple[ProcState, str]:
        """State and reason by what its syscalls do now, suspension left aside."""
        if not self.activities:
            return S.RUNNING, "computing"
        return min(self.activities.values(), key=lambda activity: _PRECEDENCE.index(activity[0]))

    @property
    def policy_class(self) -> PolicyClass:
        return PolicyClass(self.request.policy_class or PolicyClass.NORMAL)

    def is_descendant_of(self, pid: Pid) -> bool:
        return pid in self.ancestors


class ProcessTable:
    """All processes that have not been forgotten: the living, and zombies until they are collected.

    Args:
        last_pid: the highest pid that the journal remembers; pids go on from there.
    """

    def __init__(self, last_pid: int = 0) -> None:
        self._last_pid = last_pid
        self._procs: dict[Pid, Process] = {}

    def __iter__(self) -> Iterator[Process]:
        return iter(tuple(self._procs.values()))

    def __len__(self) -> int:
        return len(self._procs)

    @property
    def last_pid(self) -> int:
        return self._last_pid

    def add(self, request: RunRequest, *, parent: Process | None, model: str, at: float) -> Process:
        """A new process in state NEW with the next pid."""
        self._last_pid += 1
        pid = Pid(self._last_pid)
        ancestors = (*parent.ancestors, parent.pid) if parent else ()
        ppid = parent.pid if parent else Pid(0)
        process = Process(pid, ppid, ancestors, request, model, at, (*ancestors, pid)[0], nice=request.nice)
        process.story.append(Move(at, process.state, process.reason))
        self._procs[pid] = process
        return process

    def get(self, pid: int) -> Process | None:
        return self._procs.get(Pid(pid))

    def need(self, pid: int) -> Process:
        """Raises NoSuchProcess."""
        process = self.get(pid)
        if process is None:
            raise NoSuchProcess(f"no process {pid}", pid=pid)
        return process

    def alive(self) -> list[Process]:
        return [process for process in self if not process.ended]

    def zombies_of(self, pid: Pid) -> list[Process]:
        return [process for process in self if process.ppid == pid and process.state is S.ZOMBIE]

    def forget(self, process: Process) -> None:
        """Drop an exited process; the journal keeps its row."""
        assert process.state is S.EXITED
        self._procs.pop(process.pid, None)

    def check_invariants(self) -> None:
        """Re-count the table. Raises AssertionError naming the process that is wrong."""
        for pid, process in self._procs.items():
            assert pid == process.pid <= self._last_pid, f"process {pid}: filed under a wrong pid"
            assert process.ancestors[-1:] == ((process.ppid,) if process.ppid else ()), f"process {pid}: ancestors"
            assert process.ended == (process.exit_code is not None), f"process {pid}: {process.state} and exit code"
            assert process.ended == (process.ended_at is not None), f"process {pid}: {process.state} and end time"
            assert not (process.ended and process.activities), f"process {pid}: ended with syscalls under way"
            assert process.tokens_reserved >= 0, f"process {pid}: negative reservation"
            if process.state is S.ZOMBIE:
                parent = self.get(process.ppid)
                assert parent is not None, f"process {pid}: zombie without a parent"
                assert not parent.ended, f"process {pid}: zombie of an ended parent"

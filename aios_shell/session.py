"""What a line of commands shares: variables, working folder, background jobs, and who hears Ctrl-C."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from aios_kernel.client import KernelClient
from aios_kernel.errors import DeadlineHit
from aios_kernel.protocol import AgentInfo, ProcInfo, ProcState

# The second Ctrl-C within this time detaches; a later one is a first one again (a long talk has many turns).
DETACH_WITHIN_S = 2.0
# A cancelled wait ends within this time.
POLL_S = 2.0


class Interruptible(Protocol):
    """A foreground agent, or a program that no terminal's Ctrl-C reaches."""

    def interrupt(self) -> None: ...

    def detach(self) -> None: ...


class Foreground:
    """Who hears Ctrl-C. Agents get it as a signal; host programs had it from the terminal already."""

    def __init__(self, *, background: bool = False, terminal: bool = True) -> None:
        self.background = background  # nothing here hears the terminal
        self.terminal = terminal  # False: host programs have none, and get Ctrl-C as agents do
        self._lock = threading.RLock()  # the handler runs in a thread that may hold it
        self._agents: list[Interruptible] = []
        self._num_hosts = 0
        self._last_s = float("-inf")
        self.interrupted = False

    def add(self, agent: Interruptible) -> None:
        with self._lock:
            self._agents.append(agent)

    def remove(self, agent: Interruptible) -> None:
        with self._lock:
            self._agents.remove(agent)

    def count_host(self, change: int) -> None:
        with self._lock:
            self._num_hosts += change

    def interrupt(self) -> None:
        """Ctrl-C was typed. Raises KeyboardInterrupt when nothing in the foreground takes it."""
        self.interrupted = True
        with self._lock:
            agents, hosts = list(self._agents), self._num_hosts
        if not agents and not hosts:
            raise KeyboardInterrupt
        now = time.monotonic()
        twice, self._last_s = now - self._last_s < DETACH_WITHIN_S, now
        for agent in agents:
            if twice:
                agent.detach()
            else:
                agent.interrupt()

    def detach(self) -> None:
        """Let go of what is in the foreground."""
        with self._lock:
            agents = list(self._agents)
        for agent in agents:
            agent.detach()


class Job(Protocol):
    """Something started with `&`."""

    text: str
    label: str  # the kernel's pid, or %N for what this shell carries
    carried: bool  # the shell moves its data, so the shell must not leave before it ends

    def wait(self) -> int:
        """Block until it ends; its exit status."""
        ...

    def cancel(self) -> None: ...


class AgentJob:
    """An agent in the background. The kernel has it: it goes on when the shell leaves."""

    carried = False

    def __init__(self, client: KernelClient, pid: int, text: str) -> None:
        self.text, self.label = text, str(pid)
        self._client, self._pid = client, pid

    def wait(self) -> int:
        return exit_status(self._client.wait(self._pid))

    def cancel(self) -> None:
        """Nothing to undo: detached is what it is."""


class CarriedJob:
    """A background line whose pipes and files this shell carries, in a thread of its own."""

    carried = True

    def __init__(self, number: int, text: str, run: Callable[[], int], cancel: Callable[[], None]) -> None:
        self.text, self.label = text, f"%{number}"
        self._run, self.cancel = run, cancel
        self._status = 0
        self._thread = threading.Thread(target=self._body, name=f"job {self.label}", daemon=True)
        self._thread.start()

    def _body(self) -> None:
        self._status = self._run()

    def wait(self) -> int:
        self._thread.join()
        return self._status


def exit_status(info: ProcInfo) -> int:
    """The exit code of a process that has ended; 0 for one that has not."""
    return info.exit_code or 0


def _folder() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError:  # removed under us
        return os.environ.get("PWD", "/")


@dataclass(slots=True)
class Session:
    """One shell: everything that a command line may change."""

    connect: Callable[[Callable[[str], None]], KernelClient]
    env: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    cwd: str = field(default_factory=_folder)
    status: int = 0
    exit_status: int | None = None  # set by `exit`
    interactive: bool = False
    foreground: Foreground = field(default_factory=Foreground)
    jobs: list[Job] = field(default_factory=list)
    agents: dict[str, AgentInfo] = field(default_factory=dict)  # as the kernel last told

    def branch(self, *, background: bool = False) -> Session:
        """A copy for one side of a pipe or a background job: what it changes ends with it, as in sh."""
        foreground = self.foreground
        if background:
            foreground = Foreground(background=True, terminal=foreground.terminal)
        return replace(self, env=dict(self.env), interactive=False, foreground=foreground)

    def path(self, name: str) -> Path:
        """`name` seen from the session's folder."""
        return Path(self.cwd, name)

    def find_agent(self, name: str, client: KernelClient) -> AgentInfo | None:
        """The agent of this name. Asks the kernel about each name not seen before: agents may have come since."""
        if name not in self.agents:
            self.agents.update((agent.name, agent) for agent in client.agents())
        return self.agents.get(name)

    def wait_jobs(self, *, carried_only: bool = False) -> None:
        """Wait for the background jobs and forget them. KeyboardInterrupt cancels those that the shell carries."""
        jobs = [job for job in self.jobs if job.carried or not carried_only]
        try:
            for job in jobs:
                job.wait()
        except KeyboardInterrupt:
            for job in jobs:
                job.cancel()
            raise
        finally:
            self.jobs[:] = [job for job in self.jobs if job not in jobs]


def wait_for(
    client: KernelClient, pid: int, state: ProcState, timeout_s: float | None, cancelled: Callable[[], bool]
) -> ProcInfo:
    """Wait in short polls, so that a wait in a thread can be cancelled. Raises DeadlineHit."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        left = POLL_S if deadline is None else deadline - time.monotonic()
        try:
            return client.wait(pid, state=state, timeout_s=max(0.0, min(left, POLL_S)))
        except DeadlineHit:
            if cancelled() or (left <= POLL_S and deadline is not None):
                raise

"""Where benchmarks run: a kernel of their own under a temporary AIOS_HOME, probes in it, and programs beside it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from aios_kernel.client import KernelClient, event_of, output_bytes
from aios_kernel.client.launch import connect, stop
from aios_kernel.errors import DeadlineHit, InternalError, KernelError
from aios_kernel.protocol import EventKind, ProcInfo, RunRequest, Signal
from aios_shell.bench.replay import Endpoint
from aios_shell.io import Cancel

Row = dict[str, Any]
Config = Mapping[str, Mapping[str, int | str]]  # section -> key -> value, as in config.toml

STOP_S: Final = 60  # for a kernel with thousands of agents
PROBE_S: Final = 600
BARE_S: Final = 600
READY_S: Final = 60
LOOK_EVERY_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Ended:
    """How an agent ended: its row of `ps`, what it wrote, and in one line why it failed, if it did."""

    info: ProcInfo
    output: str
    error: str

    @property
    def rows(self) -> list[Row]:
        """One dict for each call of a probe."""
        return [json.loads(line) for line in self.output.splitlines()]


def rows_of(ended: Sequence[Ended]) -> list[Row]:
    """The calls of probes that must not fail. Raises InternalError."""
    for each in ended:
        if each.error:
            raise InternalError(each.error)
    return [row for each in ended for row in each.rows]


class Lab:
    """A running kernel that nobody else uses."""

    def __init__(self, client: KernelClient, home: str, threads: int = 0) -> None:
        """threads: of the bare core, 0: as many as there are cores."""
        self.client = client
        self.threads = threads
        self.process = psutil.Process(client.status().pid)
        self.model = next(model.path for model in client.models() if model.current)
        self.home = home

    def stop(self) -> None:
        """End the kernel; twice is fine. Raises DeadlineHit."""
        with aios_home(self.home):
            stop(STOP_S)

    def start(self, **task: Any) -> int:
        """Start a probe; see the agent `probe` for the task's fields. Its pid."""
        return self.client.run(RunRequest("probe", json.dumps(task)))

    def ended(self, pid: int) -> Ended:
        """Wait for an agent. Raises DeadlineHit."""
        info = self.client.wait(pid, timeout_s=PROBE_S)
        stream = self.client.events(pid, kinds=(EventKind.STDOUT, EventKind.STDERR))
        try:
            events = [event_of(data) for _, data in stream]
        finally:
            stream.close()
        out, err = (
            b"".join(output_bytes(event) for event in events if event.kind is kind).decode(errors="replace")
            for kind in (EventKind.STDOUT, EventKind.STDERR)
        )
        failure = (err.strip().split("\n")[-1] or info.reason) if info.exit_code else ""
        return Ended(info, out, f"{info.agent} {pid} exited with {info.exit_code}: {failure}" if failure else "")

    def probe(self, **task: Any) -> list[Row]:
        """Run a probe that must not fail. Raises InternalError, DeadlineHit."""
        return rows_of([self.ended(self.start(**task))])

    def probes(self, tasks: Sequence[Row]) -> list[Ended]:
        """Several at once, in the order of `tasks`."""
        pids = [self.start(**task) for task in tasks]
        return [self.ended(pid) for pid in pids]

    def watched(self, pids: Sequence[int], look: Callable[[], object]) -> list[Ended]:
        """Wait for agents, calling `look` again and again until all have ended. Raises DeadlineHit."""
        living = set(pids)

        def over() -> bool:
            look()
            return not living & {row.pid for row in self.client.procs()}

        until(over, PROBE_S, "the agents have not ended")
        return [self.ended(pid) for pid in pids]

    def kill(self, pid: int) -> None:
        """End an agent and its children. The agent first: then it starts no more of them."""
        doomed = [pid]
        while doomed:
            for each in doomed:
                with contextlib.suppress(KernelError):  # ended just now
                    self.client.signal(each, Signal.KILL)
                self.client.wait(each, timeout_s=PROBE_S)
            doomed = [row.pid for row in self.client.procs() if row.ppid == pid]

    def endpoint(self) -> Endpoint:
        """The kernel as foreign clients see it; it must listen."""
        key, status = self.client.key("user"), self.client.status()
        return Endpoint("ours", f"{key.url}/v1", status.model, status.slots, key.key)

    def bare(self, *words: str) -> Row:
        """The same core without a kernel around it (aios_kernel.core.bare), in a process of its own."""
        threads = ["--threads", str(self.threads)] if self.threads else []
        command = [*_bare_command(self.model), *threads, *words]
        try:
            done = subprocess.run(command, capture_output=True, check=True, timeout=BARE_S, start_new_session=True)
        except subprocess.CalledProcessError as error:
            raise InternalError(f"the bare core failed: {error.stderr.decode(errors='replace').strip()}") from error
        except subprocess.TimeoutExpired as error:
            raise InternalError(f"the bare core has not ended after {BARE_S} s") from error
        row: Row = json.loads(done.stdout)
        return row


@contextlib.contextmanager
def lab(config: Config, cancel: Cancel) -> Iterator[Lab]:
    """A kernel with this configuration, gone again after the block, or as soon as `cancel` fires."""
    with tempfile.TemporaryDirectory(prefix="aios-bench-", ignore_cleanup_errors=True) as home:
        folder = Path(home) / "config"
        folder.mkdir(mode=0o700)
        (folder / "config.toml").write_text(_toml(config))
        with aios_home(home):
            try:
                here = Lab(connect(lambda _notice: None), home, int(config.get("model", {}).get("threads", 0)))
            except BaseException:
                stop(STOP_S)
                raise
        with cancel.closing(here.stop):
            here.probe(prompt="Hello", max_tokens=2)  # the model is loaded, the first pages are touched
            yield here


def until(true: Callable[[], bool], timeout_s: float, late: str, every_s: float = LOOK_EVERY_S) -> None:
    """Ask again and again: there are things that the kernel tells only whoever asks. Raises DeadlineHit with `late`."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            raise DeadlineHit(f"{late} after {timeout_s:g} s")
        time.sleep(every_s)


@contextlib.contextmanager
def aios_home(home: str) -> Iterator[None]:
    """AIOS_HOME in the block, for what runs here and for the programs started."""
    before = os.environ.get("AIOS_HOME")
    os.environ["AIOS_HOME"] = home
    try:
        yield
    finally:
        if before is None:
            del os.environ["AIOS_HOME"]
        else:
            os.environ["AIOS_HOME"] = before


def _toml(config: Config) -> str:
    """Whole numbers and plain strings are written in TOML as in JSON."""
    lines = []
    for section, keys in config.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


_BUSY: Final = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
print(flush=True)
while True:
    pass
"""


@contextlib.contextmanager
def busy_program() -> Iterator[None]:
    """Another program that keeps one core busy."""
    with _beside([sys.executable, "-c", _BUSY]):
        yield


@contextlib.contextmanager
def second_llama(model: str) -> Iterator[None]:
    """Another llama.cpp that decodes without end on as many threads as there are cores."""
    with _beside([*_bare_command(model), "--forever"]):
        yield


@contextlib.contextmanager
def _beside(command: list[str]) -> Iterator[None]:
    """A program that runs while the block does, from its first line of output on.

    It ends itself when its standard input does, so it cannot outlive us. In a session of its own: a terminal's Ctrl-C
    is for the benchmark, which ends it.
    """
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            _await_line(process)
            yield
        finally:
            process.kill()


def _await_line(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], READY_S)
    if not ready or not process.stdout.readline():
        raise InternalError(f"the neighbour did not start within {READY_S} s: {process.args!r}")


def _bare_command(model: str) -> list[str]:
    return [sys.executable, "-P", "-m", "aios_kernel.core.bare", model]

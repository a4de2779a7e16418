"""Runs parsed lines: OS pipes between stages, host programs as processes, everything of ours as threads.

An agent's tokens go from the kernel's stream straight into the pipe, so they reach the next stage as they come.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from aios_kernel.errors import KernelError, row_of
from aios_shell.io import Cancel, Io
from aios_shell.language import parse
from aios_shell.language.expand import Scope, expand, expand_all
from aios_shell.language.lookup import Builtin, Program, look_up
from aios_shell.session import CarriedJob
from aios_shell.typer_app import execute

INTERRUPTED = 130
CANNOT_RUN = 126


class ExpansionProblem(KernelError):
    """A redirection names no file, or several."""


def run_text(text: str, io: Io) -> int:
    """Parse and run one logical line. Raises SyntaxProblem; returns the status of the last pipeline."""
    return run_line(parse.parse(text), io)


def run_line(line: parse.Line, io: Io) -> int:
    """Run each item in turn, those with `&` in the background. Raises KeyboardInterrupt."""
    session = io.session
    session.foreground.interrupted = False
    for item in line.items:
        session.status = _start_job(item, io) if item.background else _and_or(item, io)
        if session.foreground.interrupted:
            session.status = INTERRUPTED
        if session.exit_status is not None or session.foreground.interrupted:
            break
    return session.status


def _and_or(item: parse.AndOr, io: Io) -> int:
    session = io.session
    session.status = _pipeline(item.first, io)
    for operator, pipeline in item.rest:
        if session.foreground.interrupted or session.exit_status is not None:
            break
        if (session.status == 0) == (operator == "&&"):
            session.status = _pipeline(pipeline, io)
    return session.status


# --- background


def _start_job(item: parse.AndOr, io: Io) -> int:
    session = io.session
    if _is_bare(item):
        words = _words(item.first.stages[0], io)
        try:
            target = look_up(words, session, io.note) if words else None
        except KernelError as error:
            return _failed(error, io)
        if isinstance(target, Builtin) and target.agent:
            return _start_agent(target, item.text, io)
    cancel = Cancel()
    branch = replace(io, session=session.branch(background=True), cancel=cancel)
    job = CarriedJob(len(session.jobs) + 1, item.text, lambda: _in_background(item, branch), cancel.fire)
    session.jobs.append(job)
    if session.interactive:
        io.note(f"[{job.label}] {job.text}")
    return 0


def _is_bare(item: parse.AndOr) -> bool:
    """One command, nothing redirected: if it is an agent, the kernel can have it to itself."""
    stages = item.first.stages
    return not item.rest and len(stages) == 1 and not (isinstance(stages[0], parse.Command) and stages[0].redirects)


def _start_agent(target: Builtin, text: str, io: Io) -> int:
    """Hand the agent to the kernel; its output is in its log."""
    session = io.session
    num_jobs = len(session.jobs)
    with _opened(os.devnull, os.O_RDWR) as null:
        status = execute(["run", "--bg", *target.words[1:]], replace(io, stdin=null, stdout=null))
    for job in session.jobs[num_jobs:]:
        job.text = text
        io.note(f"[{job.label}] {text}")
    return status


def _in_background(item: parse.AndOr, io: Io) -> int:
    with _opened(os.devnull, os.O_RDONLY) as null:
        return _and_or(item, replace(io, stdin=null))


@contextlib.contextmanager
def _opened(path: str, flags: int) -> Iterator[int]:
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


# --- one pipeline


class _Running(Protocol):
    def wait(self) -> int: ...


@dataclass(slots=True)
class _Stage:
    """One stage before it starts: what it runs, its streams, and the descriptors that are its own to close."""

    io: Io
    target: Builtin | Program | None = None  # None: only redirections
    status: int | None = None  # it failed before it could start
    owned: list[int] = field(default_factory=list)

    def close(self) -> None:
        for fd in self.owned:
            os.close(fd)
        self.owned.clear()


def _pipeline(pipeline: parse.Pipeline, io: Io) -> int:
    """Run the stages at once. The status is the last one's, as in sh."""
    alone = len(pipeline.stages) == 1
    cancel = io.cancel if alone else Cancel()
    stages = [_Stage(io if alone else replace(io, session=io.session.branch(), cancel=cancel)) for _ in pipeline.stages]
    for left, right in itertools.pairwise(stages):
        read, write = os.pipe()
        left.io, right.io = replace(left.io, stdout=write), replace(right.io, stdin=read)
        left.owned.append(write)
        right.owned.append(read)
    for stage, syntax in zip(stages, pipeline.stages, strict=True):
        _prepare(stage, syntax)
    if alone and isinstance(stages[0].target, Builtin):
        return _inline(stages[0])
    with io.cancel.closing(cancel.fire) if not alone else contextlib.nullcontext():
        return _wait([_start(stage) for stage in stages], cancel)


def _wait(running: list[_Running], cancel: Cancel) -> int:
    try:
        return [stage.wait() for stage in running][-1]
    except KeyboardInterrupt:
        cancel.fire()
        raise


def _prepare(stage: _Stage, syntax: parse.Command | parse.Question) -> None:
    """Expand the words, open the files, find what to run. A failure is the stage's own: the others run."""
    session = stage.io.session
    try:
        if isinstance(syntax, parse.Command):
            for redirect in syntax.redirects:
                _redirect(stage, redirect)
        words = _words(syntax, stage.io)
        if words:
            stage.target = look_up(words, session, stage.io.note)
        stage.status = None if words else 0
    except KernelError as error:
        stage.status = _failed(error, stage.io)
    except OSError as error:
        stage.io.note(f"{error.filename}: {error.strerror}")
        stage.status = 1


def _words(syntax: parse.Command | parse.Question, io: Io) -> list[str]:
    if isinstance(syntax, parse.Question):
        return ["chat", "--", syntax.text]
    return expand_all(syntax.words, _scope(io))


def _scope(io: Io) -> Scope:
    return Scope(io.session.env, io.session.cwd, io.session.status)


def _redirect(stage: _Stage, redirect: parse.Redirect) -> None:
    """Point a stream elsewhere. Raises OSError, ExpansionProblem."""
    io = stage.io
    if redirect.target is None:
        stage.io = replace(io, stderr=io.stdout) if redirect.operator == "2>&1" else replace(io, stdout=io.stderr)
        return
    names = expand(redirect.target, _scope(io))
    if len(names) != 1:
        raise ExpansionProblem(f"the file after '{redirect.operator}' must be one, not {len(names)}")
    flags = os.O_RDONLY
    if redirect.operator != "<":
        flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if redirect.operator.endswith(">>") else os.O_TRUNC)
    fd = os.open(io.session.path(names[0]), flags, 0o666)
    stage.owned.append(fd)
    stream = {"<": "stdin", "2": "stderr"}.get(redirect.operator[0], "stdout")
    stage.io = replace(io, **{stream: fd})  # type: ignore[arg-type]


def _failed(error: KernelError, io: Io) -> int:
    io.note(error.message)
    return row_of(error).exit


def _inline(stage: _Stage) -> int:
    """A built-in alone runs in this thread and session: `cd` must last, Ctrl-C must reach it."""
    assert isinstance(stage.target, Builtin)
    try:
        return execute(stage.target.words, stage.io)
    finally:
        stage.close()


def _start(stage: _Stage) -> _Running:
    if stage.target is None or stage.status is not None:
        stage.close()
        return _Ended(stage.status or 0)
    if isinstance(stage.target, Builtin):
        return _Thread(stage)
    return _start_program(stage, stage.target)


@dataclass(frozen=True, slots=True)
class _Ended:
    status: int

    def wait(self) -> int:
        return self.status


class _Thread:
    """One of ours among other stages."""

    def __init__(self, stage: _Stage) -> None:
        self._stage = stage
        self._status = 0
        self._thread = threading.Thread(target=self._body, name="stage", daemon=True)
        self._thread.start()

    def _body(self) -> None:
        assert isinstance(self._stage.target, Builtin)
        try:
            self._status = execute(self._stage.target.words, self._stage.io)
        finally:
            self._stage.close()  # the next stage sees the end of its input

    def wait(self) -> int:
        self._thread.join()
        return self._status


class HostProcess:
    """A program of this machine. SIGPIPE has its default meaning there.

    Ctrl-C reaches it from the terminal; where there is none it leads a session of its own and is sent it.
    """

    def __init__(self, process: subprocess.Popen[bytes], io: Io) -> None:
        self._process, self._io = process, io
        self._foreground = io.session.foreground
        if self._foreground.terminal:
            self._foreground.count_host(1)
        else:
            self._foreground.add(self)

    def wait(self) -> int:
        try:
            with self._io.cancel.closing(self._end):
                code = self._process.wait()
        finally:
            if self._foreground.terminal:
                self._foreground.count_host(-1)
            else:
                self._foreground.remove(self)
        if code == -signal.SIGINT:
            self._foreground.interrupted = True
        return 128 - code if code < 0 else code

    def interrupt(self) -> None:
        self._send(signal.SIGINT)

    def detach(self) -> None:
        self._send(signal.SIGKILL)

    def _end(self) -> None:
        if self._io.cancel.fired:
            self._send(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        """To the program; to all of its session where it leads one."""
        if self._process.poll() is not None:
            return
        if self._foreground.terminal:
            self._process.send_signal(number)
        else:
            with contextlib.suppress(ProcessLookupError):  # it has ended just now
                os.killpg(self._process.pid, number)


def _start_program(stage: _Stage, program: Program) -> _Running:
    io = stage.io
    foreground = io.session.foreground
    try:
        process = subprocess.Popen(
            program.words,
            executable=program.path,
            stdin=io.stdin,
            stdout=io.stdout,
            stderr=io.stderr,
            cwd=io.session.cwd,
            env=io.session.env,
            # The terminal's Ctrl-C is not for background jobs.
            process_group=0 if foreground.background and foreground.terminal else None,
            start_new_session=not foreground.terminal,
        )
    except OSError as error:
        io.note(f"{program.words[0]}: {error.strerror}")
        return _Ended(CANNOT_RUN)
    finally:
        stage.close()
    return HostProcess(process, io)

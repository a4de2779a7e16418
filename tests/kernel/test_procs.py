"""Processes as a person has them, on a real kernel with real agents."""

from __future__ import annotations

import os
import threading

import psutil
import pytest
from daemons import Daemon, os_alive

from aios_kernel.client import event_of
from aios_kernel.errors import (
    BadRequest,
    DeadlineHit,
    InvalidState,
    LimitHit,
    NoSuchAgent,
    NoSuchProcess,
)
from aios_kernel.protocol import EventKind, ProcState, RunRequest, Signal


def test_an_agent_runs_to_its_exit_code(daemon: Daemon) -> None:
    pid = daemon.run("exit 7")
    info = daemon.finished(pid)
    assert (info.state, info.exit_code, info.reason) == (ProcState.EXITED, 7, "exit 7")
    assert info.ended_at is not None
    assert info.ended_at >= info.started_at
    assert daemon.output(pid) == b"out\n"
    assert daemon.output(pid, EventKind.STDERR) == b"err\n"
    assert pid not in [proc.pid for proc in daemon.client.procs()]
    assert info == next(proc for proc in daemon.client.procs(all=True) if proc.pid == pid)


def test_events_are_numbered_without_gap_and_end_with_exit(daemon: Daemon) -> None:
    pid = daemon.run("flood 20")
    live = daemon.events(pid, follow=True)
    assert list(range(len(live))) == [event.seq for event in live]
    assert (live[-1].kind, live[-1].data) == (EventKind.EXIT, "0")
    assert len(daemon.output(pid)) == 20 * 65_536
    assert live == daemon.events(pid)
    middle = len(live) // 2
    assert live[middle + 1 :] == daemon.events(pid, after=middle, follow=True)


def test_followers_see_every_event_once(daemon: Daemon) -> None:
    """More events than are kept in memory, followed while they are made, by a fast and a late reader."""
    pid = daemon.run("busy 150")
    late = daemon.client.events(pid, follow=True)  # not read before the end: its events wait in the kernel
    fast = [event.seq for event in daemon.events(pid, follow=True)]
    assert len(fast) > 150
    assert list(range(len(fast))) == fast
    assert fast == [event_of(data).seq for _, data in late]
    late.close()


def test_stdin_is_fed_with_backpressure_and_closed(daemon: Daemon) -> None:
    text = os.urandom(300_000).hex().encode()  # several times what a pipe holds
    pid = daemon.run("echo", stdin=True)
    daemon.client.feed(pid, text, eof=True)
    assert daemon.finished(pid).exit_code == 0
    assert text == daemon.output(pid)


def test_feeding_nobody_is_a_clear_error(daemon: Daemon) -> None:
    without = daemon.probe()
    with pytest.raises(InvalidState, match="without standard input"):
        daemon.client.feed(without.pid, b"x")
    daemon.client.signal(without.pid, Signal.KILL)
    deaf = daemon.probe("deaf", stdin=True)
    with pytest.raises(InvalidState, match="standard input is closed"):
        daemon.client.feed(deaf.pid, b"x" * 1_000_000)
    daemon.client.signal(deaf.pid, Signal.KILL)
    daemon.finished(deaf.pid)
    with pytest.raises(NoSuchProcess, match="has ended"):
        daemon.client.feed(deaf.pid, b"x")


def test_a_feeder_of_a_full_pipe_hears_of_the_end(daemon: Daemon) -> None:
    probe = daemon.probe(stdin=True)  # never reads
    errors: list[Exception] = []

    def feed() -> None:
        try:
            daemon.client.feed(probe.pid, b"x" * 1_000_000)
        except InvalidState as error:
            errors.append(error)

    feeder = threading.Thread(target=feed)
    feeder.start()
    daemon.client.feed(probe.pid, b"")  # it is this far
    daemon.client.signal(probe.pid, Signal.KILL)
    feeder.join(20)
    assert [str(error) for error in errors] == ["the agent's standard input is closed"] or isinstance(
        errors[0], NoSuchProcess
    )


@pytest.mark.parametrize(("sent", "code"), [(Signal.TERM, 143), (Signal.KILL, 137), (Signal.INT, 130)])
def test_a_signal_s_exit_code(daemon: Daemon, sent: Signal, code: int) -> None:
    probe = daemon.probe()
    os_pid = daemon.client.proc(probe.pid).os_pid
    daemon.client.signal(probe.pid, sent)
    assert code == daemon.finished(probe.pid).exit_code
    assert os_pid is not None
    assert not os_alive(os_pid)


@pytest.mark.parametrize(("sent", "code"), [(Signal.TERM, 143), (Signal.KILL, 137)])
def test_a_suspended_process_can_be_ended(daemon: Daemon, sent: Signal, code: int) -> None:
    probe = daemon.probe()
    assert ProcState.SUSPENDED is daemon.client.signal(probe.pid, Signal.STOP).state
    daemon.client.signal(probe.pid, sent)
    assert code == daemon.finished(probe.pid).exit_code


def test_stop_and_cont_restore_the_state_before(daemon: Daemon) -> None:
    probe = daemon.probe()
    waiting = threading.Thread(target=lambda: probe.call("proc.recv"))
    waiting.start()
    daemon.client.wait(probe.pid, state=ProcState.WAITING, timeout_s=20)
    stopped = daemon.client.signal(probe.pid, Signal.STOP)
    assert ProcState.SUSPENDED is stopped.state
    assert ProcState.SUSPENDED is daemon.client.signal(probe.pid, Signal.STOP).state  # twice is fine
    assert stopped.os_pid is not None
    assert psutil.Process(stopped.os_pid).status() == psutil.STATUS_STOPPED
    resumed = daemon.client.signal(probe.pid, Signal.CONT)
    assert (resumed.state, resumed.reason) == (ProcState.WAITING, "proc.recv")
    daemon.client.send(probe.pid, "go on")
    waiting.join(20)
    assert not waiting.is_alive()
    daemon.client.signal(probe.pid, Signal.KILL)


def test_signals_to_nobody(daemon: Daemon) -> None:
    with pytest.raises(NoSuchProcess, match="no process 9999"):
        daemon.client.signal(9999, Signal.TERM)
    pid = daemon.run("exit 0")
    daemon.finished(pid)
    with pytest.raises(NoSuchProcess, match=f"process {pid} has ended"):
        daemon.client.signal(pid, Signal.TERM)


def test_a_deadline_ends_even_a_stubborn_agent(daemon: Daemon) -> None:
    info = daemon.finished(daemon.run("hold", deadline_s=0.2))
    assert (info.exit_code, info.reason) == (124, "deadline of 0.2 s passed")
    stubborn = daemon.probe("stubborn", deadline_s=1.0)
    daemon.client.signal(stubborn.pid, Signal.STOP)
    assert daemon.finished(stubborn.pid).exit_code == 124


def test_wait_has_a_deadline_and_takes_any_state(daemon: Daemon) -> None:
    probe = daemon.probe()
    with pytest.raises(DeadlineHit, match=r"is running, not exited, after 0\.05 s"):
        daemon.client.wait(probe.pid, timeout_s=0.05)
    seen: list[ProcState] = []
    waiter = threading.Thread(
        target=lambda: seen.append(daemon.client.wait(probe.pid, state=ProcState.SUSPENDED, timeout_s=20).state)
    )
    waiter.start()
    daemon.client.signal(probe.pid, Signal.STOP)
    waiter.join(20)
    assert seen == [ProcState.SUSPENDED]
    daemon.client.signal(probe.pid, Signal.KILL)
    # One that ends instead is told of, not waited for.
    assert ProcState.EXITED is daemon.client.wait(probe.pid, state=ProcState.ASKING, timeout_s=20).state
    with pytest.raises(NoSuchProcess):
        daemon.client.wait(9999)


def test_what_cannot_be_run(daemon: Daemon) -> None:
    before = daemon.client.procs(all=True)
    with pytest.raises(NoSuchAgent, match="no agent 'prob'; did you mean probe"):
        daemon.client.run(RunRequest("prob"))
    with pytest.raises(BadRequest, match="nice = 20: must be -20 to 19"):
        daemon.run("hold", nice=20)
    with pytest.raises(BadRequest, match="deadline_s"):
        daemon.run("hold", deadline_s=0)
    with pytest.raises(BadRequest, match="max_tokens"):
        daemon.run("hold", max_tokens=0)
    with pytest.raises(InvalidState, match="`aios model use gpt` first"):
        daemon.run("hold", model="gpt")
    assert before == daemon.client.procs(all=True)


def test_a_task_too_long_for_the_host_is_refused_and_recorded(daemon: Daemon) -> None:
    with pytest.raises(BadRequest, match="give long input on standard input"):
        daemon.run("x" * 100_000)
    last = daemon.client.procs(all=True)[-1]
    assert (last.exit_code, last.state) == (2, ProcState.EXITED)


def test_nice_is_shown_and_bounded(daemon: Daemon) -> None:
    probe = daemon.probe(nice=3)
    assert daemon.client.proc(probe.pid).nice == 3
    assert daemon.client.nice(probe.pid, 7).nice == 7
    with pytest.raises(BadRequest):
        daemon.client.nice(probe.pid, 99)
    daemon.client.signal(probe.pid, Signal.KILL)
    assert daemon.finished(probe.pid).nice == 7


def test_a_mailbox_is_bounded(daemon: Daemon) -> None:
    probe = daemon.probe()
    for _ in range(1_000):
        daemon.client.send(probe.pid, "hello")
    with pytest.raises(LimitHit, match="the mailbox of process"):
        daemon.client.send(probe.pid, "one too many")
    daemon.client.signal(probe.pid, Signal.KILL)


def test_many_agents_at_once(daemon: Daemon) -> None:
    pids = [daemon.run(f"exit {number}") for number in range(20)]
    assert list(range(20)) == [daemon.finished(pid).exit_code for pid in pids]


@pytest.mark.parametrize(("sent", "code"), [(Signal.TERM, 143), (Signal.CONT, None)])
def test_an_agent_that_stopped_itself_can_be_ended_and_resumed(daemon: Daemon, sent: Signal, code: int | None) -> None:
    pid = daemon.run("selfstop")
    os_pid = daemon.client.proc(pid).os_pid
    assert os_pid is not None
    agent = psutil.Process(os_pid)
    for _ in range(2_000):
        if agent.status() == psutil.STATUS_STOPPED:
            break
        daemon.client.proc(pid)
    daemon.client.signal(pid, sent)
    if code is None:
        stream = daemon.client.events(pid, follow=True, kinds=(EventKind.STDOUT,))
        assert next(iter(stream))
        stream.close()
        daemon.client.signal(pid, Signal.KILL)
        code = 137
    assert code == daemon.finished(pid).exit_code

"""The kernel's own life: started by whoever needs it, once; ended without a trace; replaced after a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from daemons import Daemon, os_alive

from aios_kernel.client import event_of, launch, paths
from aios_kernel.client.paths import MAX_SOCKET_PATH_BYTES
from aios_kernel.errors import BadConfig, KernelUnreachable
from aios_kernel.protocol import EventKind, ProcState


def test_many_starters_get_one_kernel(home: Path, fresh: Callable[[], Daemon]) -> None:
    kernels: list[int] = []
    starters = [threading.Thread(target=lambda: kernels.append(fresh().client.status().pid)) for _ in range(3)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join(60)
    assert len(kernels) == 3
    assert len(set(kernels)) == 1
    # A second daemon finds the first and ends quietly.
    second = subprocess.run(
        [sys.executable, "-m", "aios_kernel", "--foreground"], timeout=60, capture_output=True, text=True, check=False
    )
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "aios kernel: already running\n")
    assert kernels[0] == fresh().client.status().pid


def test_stop_leaves_nothing_behind(home: Path, fresh: Callable[[], Daemon]) -> None:
    daemon = fresh()
    kernel = psutil.Process(daemon.client.status().pid)
    agents = [daemon.probe(), daemon.probe("stubborn"), daemon.probe()]
    daemon.client.signal(agents[2].pid, "STOP")  # type: ignore[arg-type]
    family = [kernel, *kernel.children(recursive=True)]
    assert len(family) == 1 + 1 + len(agents)
    stream = daemon.client.events(agents[0].pid, follow=True)
    assert launch.stop()
    assert not [process for process in family if runs(process)]
    left = {path.name for path in home.rglob("*") if path.name.startswith("kernel.")}
    assert {"kernel.log", "kernel.lock"} == left
    # Whoever followed an agent saw its end.
    last = [event_of(data) for _, data in stream][-1]
    stream.close()
    assert (last.kind, last.data) == (EventKind.EXIT, "143")
    assert not launch.stop()  # twice is fine
    codes = {proc.pid: proc.exit_code for proc in fresh().client.procs(all=True)}
    assert [codes[agent.pid] for agent in agents] == [143, 137, 143]


def runs(process: psutil.Process) -> bool:
    """A zombie does not: it waits for init to collect it."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_long_log_is_laid_aside_at_a_start(home: Path, fresh: Callable[[], Daemon]) -> None:
    log = paths().log
    log.parent.mkdir(parents=True, exist_ok=True)
    for size, kept in ((launch.LOG_BYTES, False), (launch.LOG_BYTES + 1, True)):
        with log.open("ab") as file:
            file.truncate(size)
        fresh()
        assert log.with_name("kernel.log.1").exists() is kept
        assert (log.stat().st_size < launch.LOG_BYTES) is kept
        launch.stop()
    log.with_name("kernel.log.1").unlink()


def test_sigterm_is_a_clean_stop(home: Path, fresh: Callable[[], Daemon]) -> None:
    kernel = psutil.Process(fresh().client.status().pid)
    kernel.send_signal(signal.SIGTERM)
    kernel.wait(20)
    assert not paths().run_file.exists()
    assert not paths().socket.exists()


def test_a_killed_kernel_is_replaced_and_the_new_one_knows_what_ran(home: Path, fresh: Callable[[], Daemon]) -> None:
    daemon = fresh()
    probe = daemon.probe()
    done = daemon.run("exit 3")
    daemon.finished(done)
    kernel = daemon.client.status().pid
    os_pid = daemon.client.proc(probe.pid).os_pid
    assert os_pid is not None
    agent = psutil.Process(os_pid)
    os.kill(kernel, signal.SIGKILL)
    psutil.wait_procs([agent], timeout=20)
    assert not os_alive(os_pid)  # its host saw the kernel's end
    notices: list[str] = []
    client = launch.connect(notices.append)
    assert [f"the kernel (pid {kernel}) had died; started a new one"] == notices
    rows = {proc.pid: proc for proc in client.procs(all=True)}
    assert (rows[done].exit_code, rows[done].reason) == (3, "exit 3")
    assert (
        rows[probe.pid].exit_code,
        rows[probe.pid].reason,
        rows[probe.pid].state,
    ) == (137, "kernel died", ProcState.EXITED)
    assert (lambda e: (e.kind, e.data))(daemon.events(probe.pid, follow=True)[-1]) == (EventKind.EXIT, "137")
    assert probe.pid < daemon.run("exit 0")  # pids go on


def test_a_kernel_that_was_just_killed_does_not_answer(home: Path, fresh: Callable[[], Daemon]) -> None:
    """Its socket accepts connections for as long as its memory, the model's too, is being given back."""
    kernel = fresh().client.status().pid
    for _ in range(3):
        assert launch.answers(paths())
        os.kill(kernel, signal.SIGKILL)
        assert not launch.answers(paths())
        kernel = launch.connect(lambda _notice: None).status().pid


@pytest.mark.parametrize("temporary", ["short", "t" * 120])
def test_a_home_whose_name_is_too_long_for_a_socket(
    temporary: str, home: Path, tmp_path: Path, fresh: Callable[[], Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder := tmp_path / temporary).mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it remembers
    monkeypatch.setenv("AIOS_HOME", str(home / ("h" * 120)))
    fresh()
    socket = paths().socket
    assert socket.is_socket()
    assert len(os.fsencode(socket)) <= MAX_SOCKET_PATH_BYTES
    assert launch.stop()
    assert not socket.parent.exists()


def test_a_dead_host_is_replaced(home: Path, fresh: Callable[[], Daemon]) -> None:
    daemon = fresh()
    probe = daemon.probe()
    (host,) = psutil.Process(daemon.client.status().pid).children()
    host.kill()
    info = daemon.finished(probe.pid)
    assert (info.exit_code, info.reason) == (137, "agent host died")
    assert daemon.finished(daemon.run("exit 0")).exit_code == 0


def test_a_wrong_config_is_reported_to_the_starter(home: Path, fresh: Callable[[], Daemon]) -> None:
    config = paths().config_file
    config.write_text("[model]\nslotz = 4\n")
    try:
        with pytest.raises(BadConfig, match=r"config\.toml:2: unknown key 'slotz'; did you mean slots\?"):
            fresh()
    finally:
        config.unlink()
    assert not paths().run_file.exists()


def test_a_damaged_journal_is_reported_to_the_starter(home: Path, fresh: Callable[[], Daemon]) -> None:
    journal = paths().journal
    aside = journal.with_name("aside")
    journal.rename(aside)
    journal.write_bytes(b"damaged" * 9_999)
    try:
        with pytest.raises(KernelUnreachable, match=r"the journal .* cannot be used: .*not a valid DuckDB"):
            fresh()
    finally:
        aside.rename(journal)


def test_without_a_usable_model_the_kernel_still_serves(home: Path, fresh: Callable[[], Daemon]) -> None:
    config = paths().config_file
    config.write_text('[model]\nref = "nonesuch"\n')
    try:
        daemon = fresh()
        assert daemon.client.status().model_state.startswith("failed: no model 'nonesuch'")
        assert daemon.finished(daemon.run("exit 0")).exit_code == 0
        pid = daemon.run("chat hello")
        assert daemon.finished(pid).exit_code == 1
        assert b"no model 'nonesuch'" in daemon.output(pid, EventKind.STDERR)
        probe = daemon.probe()
        assert ProcState.SUSPENDED is daemon.client.signal(probe.pid, "STOP").state  # type: ignore[arg-type]
    finally:
        config.unlink()

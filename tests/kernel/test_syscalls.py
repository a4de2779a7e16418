"""Syscalls over the socket, in the name of a real process."""

from __future__ import annotations

import json
import socket
import threading

import pytest
from daemons import Daemon, Probe

from aios_kernel.client import KernelClient, is_error
from aios_kernel.errors import (
    BadRequest,
    Cancelled,
    DeadlineHit,
    KernelError,
    NoSuchProcess,
    NoSuchSyscall,
    NoSuchTool,
    NotAuthenticated,
    NotPermitted,
    ToolFailed,
)
from aios_kernel.protocol import EventKind, ProcState, Signal, SyscallRequest


@pytest.fixture(scope="module")
def probe(daemon: Daemon) -> Probe:
    return daemon.probe(nice=5)


def test_tools(probe: Probe) -> None:
    assert {"calculator", "clock", "file_read", "python"} <= {tool["name"] for tool in probe.call("tool.list")}
    assert [tool["name"] for tool in probe.call("tool.list", names=["clock", "hammer"])] == ["clock"]
    assert probe.call("tool.call", name="calculator", arguments={"expression": "12*7"}) == "84"
    with pytest.raises(ToolFailed, match="division by zero"):
        probe.call("tool.call", name="calculator", arguments={"expression": "1/0"})
    with pytest.raises(NoSuchTool):
        probe.call("tool.call", name="hammer")


def test_self_is_the_process_of_the_token(probe: Probe) -> None:
    assert probe.pid == probe.call("proc.self")["pid"]


def test_a_child_is_spawned_waited_for_and_collected(daemon: Daemon, probe: Probe) -> None:
    pid = probe.call("proc.spawn", agent="probe", task="exit 7", nice=-5, group="admin")["pid"]
    # A person sees the zombie until its parent has collected it.
    info = daemon.finished(pid)
    assert (ProcState.ZOMBIE, 7, probe.pid) == (info.state, info.exit_code, info.ppid)
    assert (info.nice, info.group) == (5, "user")  # never more than its parent has
    assert pid in [proc.pid for proc in daemon.client.procs()]
    assert probe.call("proc.wait", pid=pid) == {"exit_code": 7, "output": "out\n"}
    assert ProcState.EXITED is daemon.client.proc(pid).state
    assert probe.call("proc.wait", pid=pid) == {"exit_code": 7, "output": "out\n"}  # still known


def test_zombies_go_with_their_parent(daemon: Daemon) -> None:
    parent = daemon.probe()
    pid = parent.call("proc.spawn", agent="probe", task="exit 0")["pid"]
    assert ProcState.ZOMBIE is daemon.finished(pid).state
    daemon.client.signal(parent.pid, Signal.KILL)
    daemon.finished(parent.pid)
    assert ProcState.EXITED is daemon.client.proc(pid).state


def test_an_agent_may_touch_its_own_descendants_only(daemon: Daemon, probe: Probe) -> None:
    stranger = daemon.probe()
    for name, args in (("proc.wait", {}), ("proc.send", {"text": "hi"})):  # and proc.signal, but a person is asked
        with pytest.raises(NotPermitted, match="no policy permits it"):
            probe.call(name, pid=stranger.pid, **args)
        with pytest.raises(NoSuchProcess):
            probe.call(name, pid=9999, **args)
    child = probe.call("proc.spawn", agent="probe", task="hold")["pid"]
    assert probe.call("proc.signal", pid=child, signal="KILL")["pid"] == child
    assert probe.call("proc.wait", pid=child)["exit_code"] == 137
    daemon.client.signal(stranger.pid, Signal.KILL)


def test_mail_from_a_person_and_from_an_agent(daemon: Daemon, probe: Probe) -> None:
    assert probe.call("proc.recv", timeout_s=0.01) is None
    daemon.client.send(probe.pid, "hello")
    assert probe.call("proc.recv") == {"text": "hello", "sender": 0}
    with pytest.raises(NotPermitted):
        probe.call("proc.send", pid=probe.pid, text="to myself")


@pytest.mark.parametrize(
    ("name", "args", "error", "says"),
    [
        ("tool.cal", {}, NoSuchSyscall, "did you mean tool.call"),
        ("tool.call", {}, BadRequest, "missing required field `name`"),
        ("tool.call", {"name": 3}, BadRequest, "tool.call: name: Expected `str`, got `int`"),
        ("proc.self", {"x": 1}, BadRequest, r"unknown argument 'x' \(accepted: none\)"),
        ("proc.spawn", {"agent": "probe", "stdin": True}, BadRequest, "no standard input"),
        ("llm.chat", {"messages": "hi"}, BadRequest, "llm.chat: messages: Expected `array`"),
    ],
)
def test_wrong_arguments_are_named(
    probe: Probe, name: str, args: dict[str, object], error: type[KernelError], says: str
) -> None:
    with pytest.raises(error, match=says):
        probe.call(name, **args)


def test_a_syscall_has_a_deadline(probe: Probe) -> None:
    with pytest.raises(DeadlineHit, match=r"proc.recv: not done after 0\.05 s"):
        probe.as_agent.call("POST", "/syscall", dict, body=SyscallRequest("proc.recv", {}, 0.05))


def test_a_slow_syscall_holds_up_no_other(probe: Probe) -> None:
    waiting = threading.Thread(target=lambda: probe.call("proc.recv", timeout_s=2.0))
    waiting.start()
    assert probe.call("tool.call", name="calculator", arguments={"expression": "1+1"}) == "2"
    assert waiting.is_alive()
    waiting.join()


def test_a_closed_connection_cancels_and_loses_no_mail(daemon: Daemon) -> None:
    probe = daemon.probe()
    body = json.dumps({"name": "proc.recv", "args": {}}).encode()
    token = probe.as_agent._headers["Authorization"]
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(daemon.client.socket_path)
        head = f"POST /syscall HTTP/1.1\r\nHost: k\r\nAuthorization: {token}\r\nContent-Length: {len(body)}\r\n\r\n"
        raw.sendall(head.encode() + body)
        daemon.client.wait(probe.pid, state=ProcState.WAITING, timeout_s=20)
    daemon.client.wait(probe.pid, state=ProcState.RUNNING, timeout_s=20)
    stream = daemon.client.events(probe.pid, follow=True, kinds=(EventKind.SYSCALL,))
    assert next(iter(stream))[1]["data"] == "proc.recv ECANCELED"
    stream.close()
    daemon.client.send(probe.pid, "kept")
    assert probe.call("proc.recv")["text"] == "kept"
    daemon.client.signal(probe.pid, Signal.KILL)


def test_the_end_of_a_process_ends_its_syscalls(daemon: Daemon) -> None:
    probe = daemon.probe()
    errors: list[KernelError] = []

    def receive() -> None:
        try:
            probe.call("proc.recv", deadline_s=None)
        except KernelError as error:
            errors.append(error)

    waiting = threading.Thread(target=receive)
    waiting.start()
    daemon.client.wait(probe.pid, state=ProcState.WAITING, timeout_s=20)
    daemon.client.signal(probe.pid, Signal.KILL)
    waiting.join(20)
    assert [Cancelled] == [type(error) for error in errors]
    with pytest.raises(NotAuthenticated):
        probe.call("proc.self")


def test_tokens_open_syscalls_and_nothing_else(daemon: Daemon, probe: Probe) -> None:
    with pytest.raises(NotPermitted):
        probe.as_agent.procs()
    with pytest.raises(NotAuthenticated):
        KernelClient(daemon.client.socket_path, "forged").syscall(SyscallRequest("proc.self"))
    with pytest.raises(NotAuthenticated):
        daemon.client.syscall(SyscallRequest("proc.self"))


def test_only_chats_stream(probe: Probe) -> None:
    stream = probe.as_agent.stream("POST", "/syscall", body=SyscallRequest("proc.self", stream=True))
    ((kind, data),) = list(stream)
    stream.close()
    assert kind == "error"
    assert BadRequest("proc.self does not stream", name="proc.self") == is_error(data)


def test_a_syscall_whose_body_comes_after_the_end_is_refused(daemon: Daemon) -> None:
    probe = daemon.probe()
    body = json.dumps({"name": "proc.self", "args": {}}).encode()
    token = probe.as_agent._headers["Authorization"]
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(20)
        raw.connect(daemon.client.socket_path)
        head = f"POST /syscall HTTP/1.1\r\nHost: k\r\nAuthorization: {token}\r\nContent-Length: {len(body)}\r\n\r\n"
        raw.sendall(head.encode() + body[:5])
        probe.call("proc.self")  # the kernel has read the other's head
        daemon.client.signal(probe.pid, Signal.KILL)
        daemon.finished(probe.pid)
        raw.sendall(body[5:])
        assert b" 401 " in raw.recv(65_536).partition(b"\r\n")[0]
    assert daemon.events(probe.pid)[-1].kind is EventKind.EXIT


def test_a_body_without_measure_is_refused(daemon: Daemon) -> None:
    probe = daemon.probe()
    with pytest.raises(BadRequest, match="the body is longer than"):
        probe.call("proc.send", pid=1, text="x" * (17 << 20))
    nested = b'{"name": "proc.self", "args": {"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    token = probe.as_agent._headers["Authorization"]
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(20)
        raw.connect(daemon.client.socket_path)
        head = f"POST /syscall HTTP/1.1\r\nHost: k\r\nAuthorization: {token}\r\nContent-Length: {len(nested)}\r\n\r\n"
        raw.sendall(head.encode() + nested)
        assert b" 400 " in raw.recv(65_536).partition(b"\r\n")[0]
    daemon.client.signal(probe.pid, Signal.KILL)

"""The HTTP face itself: schema, shapes of errors, and clients that leave."""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
from pathlib import Path

import pytest
from daemons import Daemon

from aios_kernel.client import KernelClient
from aios_kernel.errors import BadRequest, KernelUnreachable, NoSuchProcess


def raw(daemon: Daemon, request: bytes) -> tuple[int, dict[str, object]]:
    """Status and JSON body of a hand-written request."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(daemon.client.socket_path)
        connection.sendall(request.replace(b"Host: k\r\n", f"Host: k\r\n{person(daemon)}\r\n".encode()))
        reply = b""
        while chunk := connection.recv(65_536):
            reply += chunk
    head, _, body = reply.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def person(daemon: Daemon) -> str:
    return f"Authorization: Bearer {daemon.paths.person_key.read_text()}"


def test_the_schema_lists_every_route(daemon: Daemon) -> None:
    schema = daemon.client.call("GET", "/openapi.json", dict)
    assert {"/kernel", "/procs", "/procs/{pid}/events", "/syscall", "/models"} <= set(schema["paths"])
    assert "ProcInfo" in schema["components"]["schemas"]


def test_every_error_has_one_shape(daemon: Daemon) -> None:
    status, body = raw(daemon, b"GET /nothing HTTP/1.1\r\nHost: k\r\nConnection: close\r\n\r\n")
    assert status == 404
    assert body == {"error": {"errno": "EINVAL", "message": "GET /nothing: Not Found", "data": {}}}
    status, body = raw(
        daemon,
        b"POST /procs HTTP/1.1\r\nHost: k\r\nConnection: close\r\nContent-Length: 9\r\n"
        b'Content-Type: application/json\r\n\r\n{"agent":',
    )
    assert (status, body["error"]["errno"]) == (400, "EINVAL")  # type: ignore[index]
    with pytest.raises(BadRequest, match="pid: Input should be a valid integer"):
        daemon.client.call("GET", "/procs/abc")
    with pytest.raises(BadRequest, match="agent: Field required"):
        daemon.client.call("POST", "/procs", body={})
    with pytest.raises(BadRequest, match="signal: Input should be 'TERM'"):
        daemon.client.call("POST", "/procs/1/signal", body={"signal": "HUP"})
    with pytest.raises(BadRequest, match="each must be one of stdout"):
        daemon.client.events(1, kinds=("nonsense",))  # type: ignore[arg-type]
    with pytest.raises(NoSuchProcess):
        daemon.client.events(9999)


def test_the_socket_is_the_users_alone(daemon: Daemon) -> None:
    mode = daemon.paths.socket.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    for path in (
        daemon.paths.journal,
        daemon.paths.log,
        daemon.paths.lock,
        daemon.paths.run_file,
        daemon.paths.person_key,
    ):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


@pytest.mark.model
def test_status(daemon: Daemon) -> None:
    status = daemon.client.status()
    assert daemon.paths.run_file.read_text() == f"{status.pid}\n"
    assert status.model == "smollm2-135m-instruct-q4_1"
    assert status.model_state in ("loading", "ready")
    assert status.exact or status.exact_reason == "the model is still loading: its self-test will tell"
    assert [model.current for model in daemon.client.models() if model.ref == status.model] == [True]


def test_a_wait_needs_a_sensible_timeout(daemon: Daemon) -> None:
    for timeout in (b"nan", b"-1"):
        head = b"GET /procs/1/wait?timeout_s=%b HTTP/1.1\r\nHost: k\r\nConnection: close\r\n\r\n" % timeout
        status, body = raw(daemon, head)
        assert (status, body["error"]["errno"]) == (400, "EINVAL")  # type: ignore[index]


def test_the_schema_describes_every_route(daemon: Daemon) -> None:
    schema = daemon.client.call("GET", "/openapi.json", dict)
    for path, methods in schema["paths"].items():
        for method, route in methods.items():
            assert route.get("description"), f"{method} {path}"


@pytest.mark.skipif(sys.platform != "linux", reason="SO_PEERCRED is Linux's")
def test_what_another_user_serves_is_no_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kernel.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        monkeypatch.setattr(os, "getuid", lambda: 4_242)
        with pytest.raises(KernelUnreachable, match="no kernel answers"):
            KernelClient(str(path)).status(timeout=5)

"""The kernel's thin client: blocking calls over its Unix socket, typed replies, typed errors.

Standard library and msgspec only, so that `aios ps` starts fast. Agents, which await several things at once, use
`aios_kernel.client.aio`.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from aios_kernel import protocol as p
from aios_kernel.client.paths import Paths, paths, person_key
from aios_kernel.errors import (
    BadRequest,
    DeadlineHit,
    InternalError,
    KernelError,
    KernelUnreachable,
    NoSuchSnapshot,
    from_wire,
)

__all__ = ["KernelClient", "Paths", "decode_reply", "iter_sse", "output_bytes", "paths"]

T = TypeVar("T")

# A call that should answer at once gets this long; waits and streams name their own deadline, or none.
CALL_TIMEOUT_S = 30.0
BLOCK_BYTES = 1 << 20  # of a file on its way

Body = bytes | Iterable[bytes]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("kernel", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self._path)
            _check_owner(self.sock)
        except OSError:
            self.sock.close()
            raise


def _check_owner(sock: socket.socket) -> None:
    """Raises PermissionError where another user answers: somebody may have been first at a path that all can write.

    Source: unix(7), SO_PEERCRED: three ints, pid, uid and gid of whoever listens. Elsewhere than on Linux: no check.
    """
    if sys.platform == "linux":
        _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        if os.getuid() not in (0, uid):
            raise PermissionError(f"user {uid} answers there")


def _read(response: http.client.HTTPResponse) -> bytes:
    """The next block of a reply's body; empty at its end, or where it breaks off."""
    try:
        return response.read(BLOCK_BYTES)
    except (OSError, http.client.HTTPException):
        return b""


class Stream:
    """A running stream of server-sent events: iterate it, or `close` it from any thread to end the wait."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response
        self._closed = False
        self._reading = False

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Yields (event name, decoded JSON data). Raises KernelUnreachable when the kernel goes away midway."""
        self._reading = True
        try:
            yield from iter_sse(self._response)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if self._closed:
                return
            raise KernelUnreachable("the kernel went away") from error
        finally:
            self._reading = False
            self._connection.close()

    def close(self) -> None:
        self._closed = True
        sock = self._connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):  # already closed by the peer
                sock.shutdown(socket.SHUT_RDWR)  # wakes a reader, also below a signal handler
        if not self._reading:
            self._connection.close()


def iter_sse(lines: Any) -> Iterator[tuple[str, Any]]:
    """(event, data) pairs of an event stream given as an iterable of byte lines.

    Source: WHATWG HTML, "Server-sent events"; only `event` and one-line `data` fields are sent by this kernel,
    comment lines (keep-alives) are skipped.
    """
    name = "message"
    for raw in lines:
        line = raw.rstrip(b"\r\n")
        if not line:
            name = "message"
        elif line.startswith(b"event:"):
            name = line[6:].strip().decode()
        elif line.startswith(b"data:"):
            yield name, json.loads(line[5:])


def decode_reply(status: int, body: bytes, kind: Any) -> Any:
    """The reply's body as `kind`. Raises the KernelError that it carries."""
    if status >= 300:
        try:
            error = json.loads(body)["error"]
        except (ValueError, KeyError, TypeError):
            raise InternalError(f"the kernel answered HTTP {status}: {body[:200]!r}") from None
        raise from_wire(error)
    return msgspec.json.decode(body, type=kind) if kind is not None else None


def output_bytes(event: p.Event) -> bytes:
    """What the agent wrote, of a STDOUT or STDERR event."""
    return base64.b64decode(event.data)


class KernelClient:
    """One kernel, by its socket. Each call opens a connection of its own, so threads may share a client.

    Raises, from every call: KernelUnreachable when no kernel answers, else the KernelError it answered.
    """

    def __init__(self, socket_path: str | None = None, token: str | None = None) -> None:
        self.socket_path = socket_path or str(paths().socket)
        self._token = token  # of an agent; None: the person, with the key that the kernel has made for them

    # --- transport

    @property
    def _headers(self) -> dict[str, str]:
        key = self._token or _person_key(self.socket_path)
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _open(
        self, method: str, path: str, body: Body | None, timeout: float | None, query: dict[str, Any]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = _UnixConnection(self.socket_path, timeout)
        query = {k: str(v).lower() if isinstance(v, bool) else v for k, v in query.items() if v is not None}
        url = quote(path) + ("?" + urlencode(query) if query else "")
        headers = self._headers
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it reads no more: it has answered
                connection.request(method, url, body, headers)
            return connection, connection.getresponse()
        except TimeoutError as error:
            connection.close()
            raise DeadlineHit(f"the kernel did not answer {method} {path} in time") from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise KernelUnreachable(f"no kernel answers on {self.socket_path}") from error
        except KernelError:  # of the body's source
            connection.close()
            raise

    def call(
        self,
        method: str,
        path: str,
        /,
        kind: Any = None,
        *,
        body: Any = None,
        raw: Body | None = None,
        timeout: float | None = CALL_TIMEOUT_S,
        **query: Any,
    ) -> Any:
        """One request and its reply decoded as `kind` (None: nothing expected). `timeout` in seconds, None: none."""
        payload = raw if raw is not None else (msgspec.json.encode(body) if body is not None else None)
        connection, response = self._open(method, path, payload, timeout, query)
        try:
            return decode_reply(response.status, response.read(), kind)
        except TimeoutError as error:
            raise DeadlineHit(f"the kernel did not finish {method} {path} in time") from error
        except (OSError, http.client.HTTPException) as error:
            raise KernelUnreachable("the kernel went away") from error
        except msgspec.ValidationError as error:
            raise InternalError(f"the kernel's reply to {method} {path} does not fit the protocol: {error}") from error
        finally:
            connection.close()

    def stream(self, method: str, path: str, *, body: Any = None, **query: Any) -> Stream:
        """Open an event stream. It has no deadline of its own: the caller closes it."""
        payload = msgspec.json.encode(body) if body is not None else None
        connection, response = self._open(method, path, payload, None, query)
        if response.status >= 400:
            try:
                decode_reply(response.status, response.read(), None)
            finally:
                connection.close()
        return Stream(connection, response)

    def download(self, url: str, write: Callable[[bytes], object], **query: Any) -> None:
        """Give a reply's body to `write`, block by block. Raises KernelUnreachable when not all of it comes."""
        connection, response = self._open("GET", url, None, CALL_TIMEOUT_S, query)
        try:
            if response.status >= 400:
                decode_reply(response.status, response.read(), None)
            left = int(response.headers["Content-Length"])
            while block := _read(response):
                write(block)
                left -= len(block)
        finally:
            connection.close()
        if left:
            raise KernelUnreachable("the kernel went away")

    # --- kernel

    def status(self, timeout: float = CALL_TIMEOUT_S) -> p.KernelStatus:
        reply: p.KernelStatus = self.call("GET", "/kernel", p.KernelStatus, timeout=timeout)
        return reply

    def stop(self) -> None:
        """Ask the kernel to end. Returns when it has accepted; the lock file is free once it is gone."""
        self.call("POST", "/kernel/stop")

    def key(self, group: str, *, new: bool = False) -> p.KeyInfo:
        reply: p.KeyInfo = self.call("POST", "/keys", p.KeyInfo, body=p.KeyRequest(group, new))
        return reply

    def models(self) -> list[p.ModelInfo]:
        reply: list[p.ModelInfo] = self.call("GET", "/models", list[p.ModelInfo])
        return reply

    def use_model(self, ref: str) -> p.ModelInfo:
        reply: p.ModelInfo = self.call("PUT", "/model", p.ModelInfo, body=p.ModelRequest(ref), timeout=None)
        return reply

    def sched(self) -> p.SchedInfo:
        reply: p.SchedInfo = self.call("GET", "/sched", p.SchedInfo)
        return reply

    def set_sched(self, policy: str, quantum: int | None = None) -> p.SchedInfo:
        reply: p.SchedInfo = self.call("PUT", "/sched", p.SchedInfo, body=p.SchedRequest(policy, quantum))
        return reply

    def queue(self) -> list[p.QueueEntry]:
        reply: list[p.QueueEntry] = self.call("GET", "/queue", list[p.QueueEntry])
        return reply

    def watch(self, hz: float = 10.0) -> Stream:
        """What changes, at most `hz` times a second: ("frame", dict) pairs; `frame_of` makes a Frame of the dict."""
        return self.stream("GET", "/watch", hz=hz)

    # --- snapshots: an id is a saved one's name or, but to remove, the pid of a living process

    def snapshots(self) -> list[p.SnapshotInfo]:
        reply: list[p.SnapshotInfo] = self.call("GET", "/snapshots", list[p.SnapshotInfo])
        return reply

    def snapshot(self, id: str) -> p.SnapshotDetail:
        """All of one. Waits for a model that still loads: it knows what the tokens say."""
        reply: p.SnapshotDetail = self.call("GET", _snapshot(id), p.SnapshotDetail, timeout=None)
        return reply

    def save(self, pid: int, name: str | None = None, *, force: bool = False) -> p.SnapshotInfo:
        """Keep a living process's context; `force` replaces one that has the name."""
        body = p.SaveRequest(pid, name, force)
        reply: p.SnapshotInfo = self.call("POST", "/snapshots", p.SnapshotInfo, body=body, timeout=None)
        return reply

    def remove_snapshot(self, id: str) -> None:
        self.call("DELETE", _snapshot(id))

    def export_snapshot(self, id: str, write: Callable[[bytes], object]) -> None:
        """Give the file of one to `write`, block by block."""
        self.download(f"{_snapshot(id)}/file", write)

    def import_snapshot(
        self, blocks: Iterable[bytes], name: str | None = None, *, force: bool = False
    ) -> p.SnapshotInfo:
        """Send a file that was exported; it is kept once it has been checked. Raises SnapshotBroken, InvalidState."""
        reply: p.SnapshotInfo = self.call(
            "POST", "/snapshots/file", p.SnapshotInfo, raw=blocks, timeout=None, name=name, force=force
        )
        return reply

    # --- processes

    def run(self, request: p.RunRequest) -> int:
        # One that begins with a copy of a context has to wait for a model that still loads.
        timeout = CALL_TIMEOUT_S if request.snapshot is None else None
        started: p.Started = self.call("POST", "/procs", p.Started, body=request, timeout=timeout)
        return started.pid

    def procs(self, *, all: bool = False) -> list[p.ProcInfo]:
        reply: list[p.ProcInfo] = self.call("GET", "/procs", list[p.ProcInfo], all=all)
        return reply

    def proc(self, pid: int) -> p.ProcInfo:
        reply: p.ProcInfo = self.call("GET", f"/procs/{pid}", p.ProcInfo)
        return reply

    def signal(self, pid: int, signal: p.Signal) -> p.ProcInfo:
        reply: p.ProcInfo = self.call("POST", f"/procs/{pid}/signal", p.ProcInfo, body=p.SignalRequest(signal))
        return reply

    def nice(self, pid: int, nice: int) -> p.ProcInfo:
        reply: p.ProcInfo = self.call("POST", f"/procs/{pid}/nice", p.ProcInfo, body=p.NiceRequest(nice))
        return reply

    def wait(self, pid: int, *, state: p.ProcState = p.ProcState.EXITED, timeout_s: float | None = None) -> p.ProcInfo:
        """Block until the process is in `state` or has exited. Raises DeadlineHit after `timeout_s`."""
        reply: p.ProcInfo = self.call(
            "GET", f"/procs/{pid}/wait", p.ProcInfo, timeout=None, state=state.value, timeout_s=timeout_s
        )
        return reply

    def events(self, pid: int, *, follow: bool = False, after: int = -1, kinds: tuple[p.EventKind, ...] = ()) -> Stream:
        """The process's life as a stream of ("event", dict) pairs; `event_of` makes an Event of the dict."""
        return self.stream(
            "GET", f"/procs/{pid}/events", follow=follow, after=after, kinds=",".join(kinds) if kinds else None
        )

    def feed(self, pid: int, data: bytes, *, eof: bool = False) -> None:
        """Write to the agent's standard input; blocks while its pipe is full. `eof` closes it after `data`."""
        self.call("POST", f"/procs/{pid}/stdin", raw=data, timeout=None, eof=eof)

    def send(self, pid: int, text: str) -> None:
        """Put a message into the process's mailbox."""
        self.call("POST", f"/procs/{pid}/mail", body=p.Mail(text))

    # --- agents

    def agents(self) -> list[p.AgentInfo]:
        reply: list[p.AgentInfo] = self.call("GET", "/agents", list[p.AgentInfo])
        return reply

    def syscall(self, request: p.SyscallRequest) -> Any:
        """One syscall of the process whose token this client carries. Returns its result."""
        reply: dict[str, Any] = self.call("POST", "/syscall", dict[str, Any], body=request, timeout=request.deadline_s)
        return reply["result"]


def _person_key(socket_path: str) -> str:
    """The running kernel's, which is another than that of the one before; "" where this cannot be read."""
    try:
        return person_key(Path(socket_path)).read_text(encoding="ascii")
    except OSError:
        return ""


def _snapshot(id: str) -> str:
    """The path of one. Raises NoSuchSnapshot for what cannot be an id."""
    if not id or "/" in id:
        raise NoSuchSnapshot(f"no snapshot is called '{id}'; `aios snap ls` lists them", id=id)
    return f"/snapshots/{id}"


def event_of(data: dict[str, Any]) -> p.Event:
    """The Event in the data of an event stream. Raises BadRequest when it is none."""
    try:
        return msgspec.convert(data, p.Event)
    except msgspec.ValidationError as error:
        raise BadRequest(f"not an event: {error}") from error


def frame_of(data: dict[str, Any]) -> p.Frame:
    """The Frame in the data of a watch. Raises BadRequest when it is none."""
    try:
        return msgspec.convert(data, p.Frame)
    except msgspec.ValidationError as error:
        raise BadRequest(f"not a frame: {error}") from error


def is_error(data: Any) -> KernelError | None:
    """The error that a stream's `error` event carries, if `data` is one."""
    return from_wire(data["error"]) if isinstance(data, dict) and "error" in data else None

"""The agent host: a preloaded fork server, a child of the daemon, that starts agents as OS processes.

The daemon and the host speak over a SOCK_SEQPACKET socketpair, one JSON object a packet; an agent's standard streams
travel as file descriptors. When the daemon dies the host sees end of file and kills its agents.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from aios_kernel.client.confine import Confinement
from aios_kernel.errors import BadRequest, HostFailed, KernelError, NoSuchAgent
from aios_kernel.pipes import until_ready
from aios_kernel.protocol import AgentInfo, Pid

log = logging.getLogger(__name__)

MODULE: Final = "aios_agents.host"  # started by name: the kernel imports nothing of the agents' room
MAX_PACKET_BYTES: Final = 65_536
ANSWER_S: Final = 20.0  # the first answer includes the host's start on a busy machine
END_S: Final = 3.0

_ERRORS: Final[dict[str, type[KernelError]]] = {"ENOENT": NoSuchAgent, "ECHILD": HostFailed}


@dataclass(frozen=True, slots=True)
class SpawnOrder:
    """What the host needs to start one agent."""

    pid: Pid
    agent: str
    task: str
    cwd: str | None
    columns: int | None
    stdin: bool
    history: bool  # there is one for it to ask for
    confinement: Confinement | None


class Host:
    """The agent host, started when it is first needed and again after it has died.

    Args:
        agents: the folder with the user's agents.
        umask: the user's own, for the files that agents write.
        environment: theirs; None: this process's own.
    """

    def __init__(self, agents: Path, umask: int, environment: dict[str, str] | None = None) -> None:
        self._environment = environment
        self._agents = agents
        self._umask = umask
        self._on_exit: Callable[[Pid, int], None] | None = None
        self._on_lost: Callable[[], None] | None = None
        self.on_refused: Callable[[Pid, str, str, str], object] = lambda *_: None
        self._process: asyncio.subprocess.Process | None = None
        self._socket: socket.socket | None = None
        self._reader: asyncio.Task[None] | None = None
        self._spawning: dict[Pid, asyncio.Future[int]] = {}
        self._listing: deque[asyncio.Future[list[AgentInfo]]] = deque()  # the host answers in order
        self._starting = asyncio.Lock()
        self._sending = asyncio.Lock()  # one waits for room in the socket at a time: an event loop wakes one
        self._room: asyncio.Task[None] | None = None
        self._closing = False

    def listen(self, on_exit: Callable[[Pid, int], None], on_lost: Callable[[], None]) -> None:
        """Before `start`: `on_exit` hears an agent's pid and wait status (its exit code, or -signal), `on_lost` that
        the host has died and took its agents with it."""
        self._on_exit, self._on_lost = on_exit, on_lost

    async def start(self) -> None:
        """Start the host unless it runs. Raises HostFailed."""
        async with self._starting:
            if self._socket is not None:
                return
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                options = ["--fd", str(theirs.fileno()), "--agents", str(self._agents), "--umask", str(self._umask)]
                try:
                    self._process = await asyncio.create_subprocess_exec(
                        sys.executable,
                        "-P",
                        "-m",
                        MODULE,
                        *options,
                        pass_fds=[theirs.fileno()],
                        env=self._environment,
                        stdin=asyncio.subprocess.DEVNULL,
                        stdout=sys.stderr.fileno(),
                        start_new_session=True,  # a terminal's Ctrl-C on a foreground kernel is not for the host
                    )
                except OSError as error:
                    ours.close()
                    raise HostFailed(f"the agent host cannot be started: {error}") from error
            ours.setblocking(False)
            self._socket = ours
            self._reader = asyncio.create_task(self._read(ours, self._process))

    async def agents(self) -> list[AgentInfo]:
        """Every installed agent. Raises HostFailed."""
        await self.start()
        async with _in_time():
            await self._send({"op": "agents"})
            future: asyncio.Future[list[AgentInfo]] = asyncio.get_running_loop().create_future()
            self._listing.append(future)
            return await future

    async def spawn(self, order: SpawnOrder, fds: Sequence[int]) -> int:
        """Start an agent with `fds` as its standard streams and its line. Returns its OS pid.

        Raises:
            NoSuchAgent: no agent has this name.
            BadRequest: the task does not fit into one packet.
            HostFailed: the host could not start it.
        """
        await self.start()
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._spawning[order.pid] = future
        try:
            async with _in_time():
                sock = await self._send({"op": "spawn", **asdict(order)}, fds)
                os_pid = await future
            if sock is not self._socket:  # it has died since it answered, and has taken the agent with it
                raise HostFailed("the agent host died; the kernel's log has its last words")
            return os_pid
        finally:
            self._spawning.pop(order.pid, None)

    async def close(self) -> None:
        """End the host; it kills what agents it still has."""
        self._closing = True
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._socket is not None:  # the reader had not begun
            self._socket.close()
            self._socket = None
        if self._process is not None:
            await _reap(self._process)

    # --- transport

    async def _send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> socket.socket:
        """Send a packet, waiting while there is no room. Returns the socket that took it."""
        packet = msgspec.json.encode(message)
        if len(packet) > MAX_PACKET_BYTES:
            raise BadRequest(f"the task is too long ({len(packet)} bytes): give long input on standard input")
        async with self._sending:
            while (sock := self._socket) is not None:
                try:
                    socket.send_fds(sock, [packet], list(fds))
                    return sock
                except BlockingIOError:
                    self._room = asyncio.create_task(until_ready(sock.fileno(), writing=True))
                    try:
                        await asyncio.wait({self._room})
                    finally:
                        self._room.cancel()
                except OSError as error:
                    raise HostFailed(f"the agent host does not answer: {error}") from error
        raise HostFailed("the agent host has died")

    async def _read(self, sock: socket.socket, process: asyncio.subprocess.Process) -> None:
        loop = asyncio.get_running_loop()
        try:
            while packet := await loop.sock_recv(sock, MAX_PACKET_BYTES):
                try:
                    self._handle(msgspec.json.decode(packet))
                except Exception:  # one bad packet must not end the conversation
                    log.exception("the agent host sent what is not understood: %r", packet[:200])
        except OSError as error:
            log.error("agent host: %s", error)
        finally:
            self._socket = None
            if self._room is not None:
                self._room.cancel()
                await asyncio.wait({self._room})  # before its descriptor's number is another file's
            sock.close()
            self._fail_waiters()
        if not self._closing:
            if self._on_lost is not None:
                self._on_lost()  # before a new host can have agents
            await _reap(process)
            log.error("the agent host died (status %s); its agents are ended", process.returncode)

    def _handle(self, message: dict[str, Any]) -> None:
        match message["op"]:
            case "agents":
                agents = msgspec.convert(message["agents"], list[AgentInfo])
                listing = self._listing.popleft()
                if not listing.done():
                    listing.set_result(agents)
            case "spawned":
                self._spawned(Pid(message["pid"]), int(message["os_pid"]))
            case "failed":
                waiter = self._spawning.get(message["pid"])
                if waiter is not None and not waiter.done():
                    waiter.set_exception(_ERRORS.get(message["errno"], HostFailed)(message["message"]))
            case "exited" if self._on_exit is not None:
                self._on_exit(Pid(message["pid"]), int(message["status"]))
            case "refused":
                self.on_refused(Pid(message["pid"]), message["call"], message["action"], message["what"])
            case other:
                raise ValueError(f"unknown op {other!r}")

    def _spawned(self, pid: Pid, os_pid: int) -> None:
        waiter = self._spawning.get(pid)
        if waiter is not None and not waiter.done():
            waiter.set_result(os_pid)
            return
        log.error("agent %d (OS pid %d) started after its caller had given up: killed", pid, os_pid)
        with contextlib.suppress(ProcessLookupError):  # ended just now
            os.kill(os_pid, signal.SIGKILL)

    def _fail_waiters(self) -> None:
        waiting: list[asyncio.Future[Any]] = [*self._spawning.values(), *self._listing]
        self._listing.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(HostFailed("the agent host died; the kernel's log has its last words"))


@contextlib.asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    """Raises HostFailed when what is done within takes too long."""
    try:
        async with asyncio.timeout(ANSWER_S):
            yield
    except TimeoutError as error:
        raise HostFailed(f"the agent host did not answer in {ANSWER_S:g} s") from error


async def _reap(process: asyncio.subprocess.Process) -> None:
    """Wait for a host whose socket is closed; one that lingers is killed."""
    try:
        async with asyncio.timeout(END_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):  # ended just now
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()

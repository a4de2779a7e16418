"""The agent host: a small preloaded process that forks agents in milliseconds.

    python -m aios_agents.host --fd N --agents DIR

It reads packets (protocol in `Host`) from the inherited SOCK_SEQPACKET socket N, forks one OS process per agent and
reports how each ended. It runs one thread only, because a fork copies no other. When the socket ends, so do all agents.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from aios_agents import confined, manifest, runner
from aios_agents.manifest import Manifest, ManifestError
from aios_agents.refusals import Refusals
from aios_kernel.client.confine import Confinement
from aios_kernel.client.confine.reach import Refusal
from aios_kernel.errors import HostFailed, KernelError, NoSuchAgent, row_of

MAX_PACKET_BYTES = 64 * 1024
NUM_FDS = runner.LINE_FD + 1  # stdin, stdout, stderr and line of an agent, as descriptors beside its packet
_CHANNEL_FD = NUM_FDS  # in the child, until it is confined: to tell the host who listens to it
_MAX_WHAT = 1_024  # bytes of a name that an agent has chosen
UNCONFINED_EXIT = 126  # of an agent that could not be confined, and so did not run

# Options of prctl(2); the numbers are those of Linux's include/uapi/linux/prctl.h.
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15


class Host:
    """The fork server.

    Packets in: {"op": "agents"}, and {"op": "spawn", **runner.Start} with four descriptors.
    Packets out: {"op": "agents", "agents": [AgentInfo]}, {"op": "spawned", "pid", "os_pid"},
    {"op": "failed", "pid", "errno", "message"}, {"op": "exited", "pid", "status"}: an exit code, or minus a signal;
    {"op": "refused", "pid", "call", "action", "what"}: the system has refused a call of an agent.
    """

    def __init__(self, sock: socket.socket, user_agents: Path | None) -> None:
        self._sock = sock
        self._user_agents = user_agents
        self._libc = ctypes.CDLL(None) if sys.platform == "linux" else None
        self._os_pid = os.getpid()
        self._os_pid_to_pid: dict[int, int] = {}
        self._selector = selectors.DefaultSelector()
        self._refusals = Refusals(self._selector, self._refused)
        self._wake_r, self._wake_w = os.pipe()
        self._over = False

    def serve(self) -> None:
        """Work until the socket ends; then kill every agent."""
        os.set_blocking(self._wake_r, False)
        os.set_blocking(self._wake_w, False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the shell
        signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler is needed for the wake-up byte
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        self._selector.register(self._sock, selectors.EVENT_READ, self._take_packet)
        self._selector.register(self._wake_r, selectors.EVENT_READ, self._reap)
        try:
            self._loop()
        except (BrokenPipeError, ConnectionResetError):
            pass  # the kernel is gone
        finally:
            for os_pid in self._os_pid_to_pid:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(os_pid, signal.SIGKILL)

    def _loop(self) -> None:
        while not self._over:
            # The children that have ended come first: their descriptors are ready too, and go.
            ready = [key for key, _ in self._selector.select(self._refusals.resume())]
            for key in sorted(ready, key=lambda key: key.fileobj != self._wake_r):
                if self._selector.get_map().get(key.fd) is key:
                    key.data()

    def _take_packet(self) -> None:
        data, fds, flags, _ = socket.recv_fds(self._sock, MAX_PACKET_BYTES, NUM_FDS)
        self._over = not data
        try:
            if data:
                self._handle(data, fds, truncated=bool(flags & socket.MSG_TRUNC))
        finally:
            for fd in fds:
                os.close(fd)

    def _send(self, op: str, **body: Any) -> None:
        self._sock.send(json.dumps({"op": op, **body}).encode())

    def _refused(self, pid: int, refusal: Refusal, call: str) -> None:
        what = os.fsencode(refusal.what)[:_MAX_WHAT].decode(errors="replace")
        self._send("refused", pid=pid, call=call, action=refusal.action, what=what)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_r, 4096)
        with contextlib.suppress(ChildProcessError):
            while True:
                os_pid, status = os.waitpid(-1, os.WNOHANG)
                if os_pid == 0:
                    return
                self._refusals.forget(os_pid)
                pid = self._os_pid_to_pid.pop(os_pid)
                self._send("exited", pid=pid, status=os.waitstatus_to_exitcode(status))

    def _handle(self, data: bytes, fds: list[int], *, truncated: bool) -> None:
        try:
            packet = {} if truncated else json.loads(data)
        except ValueError:
            packet = {}
        match packet:
            case {"op": "agents"}:
                self._list()
            case {"op": "spawn", "pid": int(pid)}:
                try:
                    self._spawn(packet, fds)
                except KernelError as error:
                    self._send("failed", pid=pid, errno=row_of(error).errno, message=error.message)
            case _:
                _log(f"ignored a packet of {len(data)} bytes: {data[:80]!r}")

    def _list(self) -> None:
        agents, broken = manifest.find(self._user_agents)
        for error in broken.values():
            _log(str(error))
        infos = [asdict(agent.info()) for agent in agents.values()]
        while len(json.dumps(infos)) > MAX_PACKET_BYTES - 100:
            _log(f"too many agents for one packet: {infos.pop()['name']} is left out")
        self._send("agents", agents=infos)

    def _spawn(self, packet: dict[str, Any], fds: list[int]) -> None:
        """Fork the agent that the packet asks for and report it. Raises NoSuchAgent, HostFailed."""
        try:
            start = msgspec.convert(packet, runner.Start)
        except msgspec.ValidationError as error:
            raise HostFailed(f"malformed spawn: {error}") from error
        if len(fds) != NUM_FDS:
            raise HostFailed(f"spawn came with {len(fds)} descriptors instead of {NUM_FDS}")
        agent = self._find(start.agent)
        confinement = confined.of(agent, start.confinement) if start.confinement else None
        ours, theirs = socket.socketpair()
        try:
            os_pid = self._fork(agent, start, confinement, [*fds, theirs.fileno()])
        except OSError as error:
            ours.close()
            raise HostFailed(f"cannot fork: {error}") from error
        finally:
            theirs.close()
        self._os_pid_to_pid[os_pid] = start.pid
        if confinement is not None:
            self._refusals.expect(ours, start.pid, os_pid, confinement)
        else:
            ours.close()
        self._send("spawned", pid=start.pid, os_pid=os_pid)

    def _find(self, name: str) -> Manifest:
        agents, broken = manifest.find(self._user_agents)
        if name in broken:
            raise HostFailed(str(broken[name]))
        if name not in agents:
            raise NoSuchAgent(f"no agent is called {name}", name=name)
        return agents[name]

    def _fork(self, agent: Manifest, start: runner.Start, confinement: Confinement | None, fds: list[int]) -> int:
        """Returns the child's OS pid once it leads its own session, so that signals to its group reach it."""
        ready_r, ready_w = os.pipe()
        try:
            os_pid = os.fork()
            if os_pid == 0:
                self._be_agent(agent, start, confinement, fds)
        finally:
            os.close(ready_w)
            os.read(ready_r, 1)  # ends when the child has closed its copy, or has died
            os.close(ready_r)
        return os_pid

    def _be_agent(
        self, agent: Manifest, start: runner.Start, confinement: Confinement | None, fds: list[int]
    ) -> NoReturn:
        code = 1
        try:
            os.setsid()
            self._leave_host(fds)
            self._name_process(agent.name)
            with socket.socket(fileno=_CHANNEL_FD) as channel:
                if confinement is not None:
                    _tell_of_listener(channel, confined.enter(confinement))
            code = int(runner.run(agent, start)) & 0xFF
        except OSError as error:  # a runner raises nothing
            _log(f"{agent.name} cannot be confined: {error}")
            code = UNCONFINED_EXIT
        finally:
            os._exit(code)  # the host's own exit handlers and buffers are not the agent's

    def _leave_host(self, fds: list[int]) -> None:
        """Drop everything inherited: signal dispositions, descriptors, the right to outlive the host."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._libc is not None:
            self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != self._os_pid:  # the host died before the line above
                os._exit(1)
        self._sock.close()  # before its number is the line's
        self._selector.close()
        for target, fd in enumerate(fds):  # each is above 4: the host's streams, selector and pipe hold 0 to 5
            os.dup2(fd, target)
        os.closerange(_CHANNEL_FD + 1, os.sysconf("SC_OPEN_MAX"))

    def _name_process(self, agent_name: str) -> None:
        if self._libc is not None:
            self._libc.prctl(_PR_SET_NAME, f"aios-{agent_name}".encode()[:15])


def _tell_of_listener(channel: socket.socket, listener: int | None) -> None:
    """From the agent to its host: who has it answers this process's calls, so it must not keep it."""
    if listener is None:
        _log("somebody else listens to this process: what agents are refused is not told")
        return
    socket.send_fds(channel, [b"l"], [listener])
    os.close(listener)


def preload() -> None:
    """Import what every agent needs, once, and keep the garbage collector from touching (copying) those pages."""
    importlib.import_module("aiohttp")
    agents, _ = manifest.find(None)
    for agent in agents.values():
        if agent.entry is not None:
            agent.load()
    gc.collect()
    gc.freeze()


def _log(text: str) -> None:
    print(f"agent host: {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Entry point of `python -m aios_agents.host`."""
    parser = argparse.ArgumentParser(prog="aios_agents.host", description="Forks agents for the kernel.")
    parser.add_argument("--fd", type=int, required=True, help="inherited SOCK_SEQPACKET socket to the kernel")
    parser.add_argument("--agents", type=Path, help="folder with the user's agents")
    parser.add_argument("--umask", type=int, help="for the files that agents write; absent: the inherited one")
    options = parser.parse_args()
    if options.umask is not None:
        os.umask(options.umask)
    sock = socket.socket(fileno=options.fd)
    try:
        preload()
    except (ManifestError, ImportError) as error:
        sys.exit(f"agent host: a bundled agent is broken: {error}")
    Host(sock, options.agents).serve()


if __name__ == "__main__":
    main()

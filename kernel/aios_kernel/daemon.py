"""One kernel: its parts put together, from the lock it takes to the last file it removes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

from aios_kernel import config as config_file
from aios_kernel import models
from aios_kernel.client.paths import Paths
from aios_kernel.clock import SystemClock
from aios_kernel.errors import InternalError, KernelError, NoSuchModel
from aios_kernel.hosting import Host
from aios_kernel.journal import Journal
from aios_kernel.llm import Llm
from aios_kernel.protocol import PROTOCOL_VERSION, KernelStatus, ModelInfo
from aios_kernel.scheduler.policies import POLICIES
from aios_kernel.supervisor import Supervisor
from aios_kernel.syscall import Dispatcher
from aios_kernel.tools import ToolRegistry, builtin_tools

log = logging.getLogger(__name__)

STOP_GRACE_S: Final = 2.0  # from TERM to KILL for agents, when the kernel stops
HTTP_GRACE_S: Final = 2  # for replies under way, after every process has ended


class Kernel:
    """The running kernel. `start` it on the event loop, `close` it last; both once."""

    def __init__(self, paths: Paths, user_umask: int) -> None:
        """Reads the configuration and opens the journal. Raises BadConfig, InternalError."""
        self.version = metadata.version("aios-shell")
        self.stopping = asyncio.Event()
        self._paths = paths
        self._clock = SystemClock()
        self._started = self._clock.monotonic()
        self._config = config_file.load(paths.config_file, tuple(sorted(POLICIES)))
        self._journal = Journal.open(paths.journal, kernel_pid=os.getpid(), version=self.version, clock=self._clock)
        self._tools = ToolRegistry(builtin_tools(self._clock))
        self.host = Host(paths.agents, user_umask)
        self.llm = Llm(self._config.engine, self._clock)
        self.supervisor = Supervisor(self.host, self.llm, self._journal, self._clock, str(paths.socket))
        self.dispatcher = Dispatcher(self.supervisor, self.llm, self._tools, self._journal, self._clock)

    def start_model(self) -> None:
        """Begin to load the model last used, else the configured one, else the embedded one. Never raises."""
        try:
            self.llm.start(self._choose_model())
        except KernelError as error:
            log.error("no model: %s", error)
            self.llm.fail(error)

    async def close(self) -> None:
        """End agents, engine, host and journal, in this order."""
        await self.supervisor.close(STOP_GRACE_S)
        await self.llm.close()
        self._tools.close()
        await asyncio.to_thread(self._journal.close)

    def request_stop(self) -> None:
        """Asked by a client or a signal; twice is fine."""
        self.stopping.set()

    def status(self) -> KernelStatus:
        spec, stats, engine = self.llm.spec, self.llm.stats(), self._config.engine
        return KernelStatus(
            pid=os.getpid(),
            version=self.version,
            protocol=PROTOCOL_VERSION,
            socket=str(self._paths.socket),
            url=None,
            model=self.llm.model.ref if self.llm.model else "",
            model_state=self.llm.state,
            policy=self.llm.policy,
            exact=spec is not None and spec.exact,
            exact_reason=spec.exact_reason if spec else _no_model(self.llm.state),
            uptime_s=self._clock.monotonic() - self._started,
            slots=spec.num_slots if spec else engine.slots,
            slots_used=stats.slots_used,
            threads=stats.threads,
            procs=len(self.supervisor.table.alive()),
            tok_per_s=stats.tok_per_s,
            kv_bytes=stats.kv_bytes,
            ram_bytes=stats.ram_bytes,
        )

    async def models(self) -> list[ModelInfo]:
        return models.mark(await asyncio.to_thread(self._find_models), self.llm.model)

    async def use_model(self, ref: str) -> ModelInfo:
        """Change the model now and for kernels to come.

        Raises:
            NoSuchModel, ModelBroken, InvalidState: the former model stays.
        """
        model = models.resolve(ref, await asyncio.to_thread(self._find_models))
        await self.llm.use(model)
        self._choice_file.write_text(model.path if model.origin == "path" else model.ref, encoding="utf-8")
        return models.mark([model], model)[0]

    def _choose_model(self) -> ModelInfo:
        found = self._find_models()
        with contextlib.suppress(FileNotFoundError):  # never chosen
            return models.resolve(self._choice_file.read_text(encoding="utf-8").strip(), found)
        if self._config.model is not None:
            return models.resolve(self._config.model, found)
        if not found:
            raise NoSuchModel("there is no model on this machine: `aios model pull` fetches one")
        return found[0]

    def _find_models(self) -> list[ModelInfo]:
        return models.find(self._paths.models, os.environ, Path.home())

    @property
    def _choice_file(self) -> Path:
        return self._paths.state / "model"


def _no_model(state: str) -> str:
    return "the model is still loading: its self-test will tell" if state == "loading" else "no model is loaded"


async def serve(paths: Paths, user_umask: int, on_ready: Callable[[], None]) -> None:
    """Run a kernel until it is asked to stop, by a client, SIGTERM or SIGINT. The lock is the caller's.

    Args:
        on_ready: called once requests are answered; the model may still be loading.

    Raises:
        BadConfig, InternalError: it cannot start; one line says why.
    """
    listener = bind(paths.socket)
    with listener, _removed_at_end(paths.socket):
        kernel = Kernel(paths, user_umask)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, kernel.request_stop)
        try:
            await kernel.host.start()  # it imports on the other core while we do here
            await _serve_http(kernel, listener, on_ready)
        finally:
            await kernel.close()


async def _serve_http(kernel: Kernel, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    import uvicorn  # with the application's, these imports take most of the start: the host is on its way by now

    from aios_kernel.server import create_app

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # the kernel's own handlers end agents first

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            on_ready()
            kernel.start_model()

    server = Server(
        uvicorn.Config(
            create_app(kernel),
            log_config=None,
            access_log=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            timeout_keep_alive=86_400,  # an agent's connection lives as long as the agent
            timeout_graceful_shutdown=HTTP_GRACE_S,
        )
    )
    serving = asyncio.create_task(server.serve([listener]))
    stopping = asyncio.create_task(kernel.stopping.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await kernel.supervisor.close(STOP_GRACE_S)  # followers see their EXIT event before the connections close
    server.should_exit = True
    await serving


def bind(path: Path) -> socket.socket:
    """A Unix socket bound to `path`, mode 0600; a stale one is replaced, so hold the lock.

    Raises:
        InternalError: the folder is not this user's alone, or the path cannot be bound.
    """
    try:
        folder = path.parent.stat()
        if folder.st_uid != os.getuid() or folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise InternalError(f"others may write to {path.parent}: a socket there is not safe", path=str(path))
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        path.chmod(0o600)
    except OSError as error:
        raise InternalError(f"cannot make the socket {path}: {error}", path=str(path)) from error
    return listener


@contextlib.contextmanager
def _removed_at_end(path: Path) -> Iterator[None]:
    try:
        yield
    finally:
        path.unlink(missing_ok=True)

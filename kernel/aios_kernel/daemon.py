"""One kernel: its parts put together, from the lock it takes to the last file it removes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Final

from aios_kernel import config as config_file
from aios_kernel import models
from aios_kernel.access.manager import AccessManager
from aios_kernel.audit import AuditLog
from aios_kernel.client.address import Address
from aios_kernel.client.paths import Paths
from aios_kernel.clock import SystemClock
from aios_kernel.config import Config
from aios_kernel.core import available_cores
from aios_kernel.embedding import Embedding
from aios_kernel.errors import KernelError, NoSuchModel
from aios_kernel.gauges import Gauges
from aios_kernel.hosting import Host
from aios_kernel.journal import Journal
from aios_kernel.keys import Keys
from aios_kernel.listen import tcp_socket, unix_socket
from aios_kernel.llm import Llm
from aios_kernel.memory.enrich import Enricher
from aios_kernel.memory.manager import MemoryManager
from aios_kernel.person import PersonKey
from aios_kernel.protocol import PROTOCOL_VERSION, KernelStatus, ModelInfo
from aios_kernel.sandbox.agents import AgentSandbox
from aios_kernel.sandbox.environment import harmless
from aios_kernel.scheduler.governor import Governor
from aios_kernel.scheduler.policies import POLICIES
from aios_kernel.snapshots import Snapshots
from aios_kernel.storage import StorageManager
from aios_kernel.supervisor import Supervisor
from aios_kernel.syscalls import Dispatcher, all_rows
from aios_kernel.tools.manager import ToolManager

log = logging.getLogger(__name__)

STOP_GRACE_S: Final = 2.0  # from TERM to KILL for agents, when the kernel stops


class Kernel:
    """The running kernel. `start` it on the event loop, `close` it last; both once."""

    def __init__(self, paths: Paths, config: Config, user_umask: int, url: str | None = None) -> None:
        """Opens journal and audit log. url: where it listens on TCP. Raises InternalError, BadConfig."""
        self.version = metadata.version("aios-shell")
        self.stopping = asyncio.Event()
        self._paths = paths
        self.clock = SystemClock()
        self._started = self.clock.monotonic()
        self.url = url
        self.keys = Keys(paths.keys)
        self.gauges = Gauges()
        self._config = config
        self.person = PersonKey(paths.person_key)
        limits = config.access
        self.audit = AuditLog.open(paths.audit, self.clock, version=self.version, max_bytes=limits.audit_bytes)
        self.access = AccessManager(paths.policies, self.audit, self.clock, limits.answer_s)
        self._journal = Journal.open(
            paths.journal,
            kernel_pid=os.getpid(),
            version=self.version,
            clock=self.clock,
            max_bytes=config.journal.max_bytes,
        )
        self.tools = ToolManager(paths, config, self.clock)
        self.host = Host(paths.agents, user_umask, harmless(os.environ) if config.sandbox.agents else None)
        self.llm = Llm(replace(config.engine, swap=paths.swap), self.clock, config.overflow)
        self.snapshots = Snapshots(paths.snapshots, self.llm, self.clock)
        tell = partial(self.audit.append, urgent=False)
        self.sandbox = AgentSandbox(paths.scratch, config.sandbox, tell)
        self.host.on_refused = self.sandbox.refused
        self.supervisor = Supervisor(self.host, self.llm, self.snapshots, self._journal, self.clock, self.sandbox)
        self._governor = Governor.for_machine(config.engine.threads or available_cores())  # of vectors' threads
        self.embedding = Embedding(
            config.memory.embedding, self._find_model, self._spare_threads, gpu_layers=config.engine.gpu_layers
        )
        enricher = Enricher(self.supervisor, self.llm)
        files = paths.memory, paths.memory_swap
        self.memory = MemoryManager(*files, config.memory, self.embedding, enricher, self.clock)
        self.supervisor.on_end.append(self.memory.log.end)
        private = (paths.config, paths.data, paths.state, paths.socket.parent)
        embed = self.embedding.embed if config.memory.embedding else None
        self.storage = StorageManager(paths.data, config.storage, self.clock, private, embed)
        self.storage.expire()
        managers = self.supervisor, self._journal, self.access, self.memory, self.embedding, self.storage
        table = all_rows(self.llm, self.tools.registry, *managers)
        self.dispatcher = Dispatcher(table, self.access, self._journal, self.clock)

    def start_model(self) -> None:
        """Begin to load the model last used, else the configured one, else the embedded one. Never raises."""
        try:
            self.llm.start(self._choose_model())
        except KernelError as error:
            log.error("no model: %s", error)
            self.llm.fail(error)

    async def close(self) -> None:
        """End agents and tools, engine, host, journal and audit log, in this order."""
        await asyncio.gather(self.supervisor.close(STOP_GRACE_S), self.tools.close())
        await self.sandbox.close()
        await self.llm.close()
        await self.storage.close()
        await asyncio.to_thread(self.embedding.close)
        await asyncio.to_thread(self.memory.close)
        await asyncio.to_thread(self._journal.close)
        self.access.close()
        await asyncio.to_thread(self.audit.close)

    def request_stop(self) -> None:
        """Asked by a client or a signal; twice is fine."""
        self.stopping.set()

    def status(self) -> KernelStatus:
        policy, quantum = self.llm.policy
        spec, stats, engine = self.llm.spec, self.llm.stats(), self._config.engine
        return KernelStatus(
            pid=os.getpid(),
            version=self.version,
            protocol=PROTOCOL_VERSION,
            socket=str(self._paths.socket),
            url=self.url,
            model=self.llm.model.ref if self.llm.model else "",
            model_state=self.llm.state,
            policy=policy,
            policies=tuple(sorted(POLICIES)),
            quantum=quantum,
            exact=spec is not None and spec.exact,
            exact_reason=spec.exact_reason if spec else _no_model(self.llm.state),
            uptime_s=self.clock.monotonic() - self._started,
            slots=spec.num_slots if spec else engine.slots,
            slots_used=stats.slots_used,
            threads=stats.threads,
            procs=len(self.supervisor.table.alive()),
            tok_per_s=stats.tok_per_s,
            prefill_tok_per_s=stats.prefill_tok_per_s,
            kv_bytes=stats.kv_bytes,
            ram_bytes=stats.ram_bytes,
            ram_budget=engine.ram_bytes,
            disk_bytes=stats.disk_bytes,
            disk_budget=engine.disk_bytes,
            prefix_bytes=stats.prefix_bytes,
            prefix_hit_rate=stats.prefix_hit_rate,
            steps=stats.steps,
            engine_s=stats.engine_s,
            core_s=stats.core_s,
            eta_error=stats.eta_error,
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

    def _find_model(self, ref: str) -> ModelInfo:
        return models.resolve(ref, self._find_models())

    def _spare_threads(self) -> int:
        """For vectors: one beside a generation, else as many as there are quiet cores."""
        return 1 if self.llm.num_active else self._governor.update(self.clock.monotonic())

    def _find_models(self) -> list[ModelInfo]:
        return models.find(self._paths.models, os.environ, Path.home())

    @property
    def _choice_file(self) -> Path:
        return self._paths.state / "model"


def _no_model(state: str) -> str:
    return "the model is still loading: its self-test will tell" if state == "loading" else "no model is loaded"


async def serve(paths: Paths, user_umask: int, listen: Address | None, on_ready: Callable[[], None]) -> None:
    """Run a kernel until it is asked to stop, by a client, SIGTERM or SIGINT. The lock is the caller's.

    Args:
        listen: where foreign clients are answered on TCP; None: where the configuration says.
        on_ready: called once requests are answered; the model may still be loading.

    Raises:
        BadConfig, InternalError, KernelUnreachable: it cannot start; one line says why.
    """
    config = config_file.load(paths.config_file, tuple(sorted(POLICIES)))
    with contextlib.ExitStack() as sockets:
        foreign = url = None
        if (wanted := listen or config.listen) is not None:
            foreign, url = tcp_socket(wanted)
            sockets.enter_context(foreign)
            if not wanted.is_loopback:
                log.warning("listening on %s, plain HTTP: whoever can read the network can read the key", url)
        own = sockets.enter_context(unix_socket(paths.socket))
        sockets.enter_context(_removed_at_end(paths.socket, paths.person_key))
        kernel = Kernel(paths, config, user_umask, url)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, kernel.request_stop)
        try:
            await kernel.host.start()  # it imports on the other core while we do here
            from aios_kernel.web import serve_http

            await serve_http(kernel, own, foreign, on_ready)
        finally:
            await kernel.close()


@contextlib.contextmanager
def _removed_at_end(*files: Path) -> Iterator[None]:
    """Files of one folder, and that too where nothing else is in it: one made for a socket whose path was too long."""
    try:
        yield
    finally:
        for file in files:
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty
            files[0].parent.rmdir()

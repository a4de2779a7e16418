"""The model side as the daemon sees it: one engine at a time, the model it runs, and what became of loading it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from aios_kernel.chat import ChatManager
from aios_kernel.clock import Clock
from aios_kernel.core import Core, EngineConfig, ModelSpec
from aios_kernel.errors import InvalidState, KernelError, ModelBroken, NoSuchModel
from aios_kernel.protocol import ChatReply, ChatRequest, ModelInfo, Pid, QueueEntry, SchedInfo, SnapshotInfo
from aios_kernel.scheduler.engine import Engine
from aios_kernel.scheduler.request import EngineStats, GenEvent, Usage

log = logging.getLogger(__name__)

CLOSE_S: Final = 10.0  # one step and the model's teardown
ABANDON_S: Final = 0.1  # a model that still loads cannot be interrupted: its thread is left to itself


class Llm:
    """Owns the engine. Event loop only."""

    def __init__(self, config: EngineConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._on_events: Callable[[list[GenEvent]], None] | None = None
        self._engine: Engine | None = None
        self._chat: ChatManager | None = None
        self._policy = (config.policy, config.quantum)  # as last set: a new engine goes on with it
        self.num_active = 0  # generations under way
        self._error: KernelError = NoSuchModel("no model is loaded")
        self.model: ModelInfo | None = None

    def listen(self, on_events: Callable[[list[GenEvent]], None]) -> None:
        """`on_events` hears, on the event loop, what happened in one step, after the chat manager has seen it."""
        self._on_events = on_events

    # --- the model

    def start(self, model: ModelInfo) -> None:
        """Begin to load `model` in the engine's thread; returns at once."""
        loop = asyncio.get_running_loop()
        config = self._config
        self._error = ModelBroken(f"{model.ref} is not loaded")

        def load() -> Core:
            # Here, in the engine's thread, as they cost tenths of a second; the first chat needs the template's.
            import aios_kernel.chat.template  # noqa: F401
            from aios_kernel.core.llama import LlamaCore

            return LlamaCore.load(model.path, config)

        def deliver(events: list[GenEvent]) -> None:
            loop.call_soon_threadsafe(self._deliver, chat, events)

        self.model = model
        self._engine = engine = Engine(load, config, clock=self._clock, deliver=deliver)
        self._chat = chat = ChatManager(engine, clock=self._clock)
        engine.start()
        if self._policy != (config.policy, config.quantum):
            engine.set_policy(*self._policy)

    def fail(self, error: KernelError) -> None:
        """There is no model to load: every generation fails with this."""
        self._error = error

    async def use(self, model: ModelInfo) -> ModelSpec:
        """Change to another model; contexts are recomputed when next used.

        Raises:
            InvalidState: a generation is under way.
            ModelBroken: it cannot be loaded; the former model is loaded again.
        """
        if self.num_active:
            raise InvalidState(f"generations are under way ({self.num_active}): wait for them", active=self.num_active)
        former = self.model
        self.num_active += 1  # nobody else changes it meanwhile
        try:
            await self.close()
            self.start(model)
            return await self.ready()
        except KernelError:
            if former is not None and former.path != model.path:
                await self.close()
                self.start(former)
            raise
        finally:
            self.num_active -= 1

    async def ready(self) -> ModelSpec:
        """The loaded model's facts, once it is loaded. Raises NoSuchModel, ModelBroken."""
        if self._engine is None:
            raise self._error
        return await asyncio.shield(asyncio.wrap_future(self._engine.ready))

    async def close(self) -> None:
        """End the engine and its thread."""
        engine, self._engine, self._chat = self._engine, None, None
        if engine is not None:
            await asyncio.to_thread(engine.close, CLOSE_S if engine.ready.done() else ABANDON_S)

    def _deliver(self, chat: ChatManager, events: list[GenEvent]) -> None:
        chat.deliver(events)  # an engine that is closed still answers its last chats
        if chat is self._chat and self._on_events is not None:
            self._on_events(events)

    # --- processes

    async def chat(
        self, pid: Pid, request: ChatRequest, nice: int, on_delta: Callable[[str], None], program: Pid
    ) -> ChatReply:
        """One chat turn, in the program that the process `program` began.

        Raises: NoSuchModel, ModelBroken, and what ChatManager.chat raises.
        """
        self.num_active += 1
        try:
            if self._chat is None:
                raise self._error
            return await self._chat.chat(pid, request, nice, on_delta, program)
        finally:
            self.num_active -= 1

    async def suspend(self, pid: Pid) -> SnapshotInfo | None:
        """Take the process's context off its slot; None when it has none."""
        if self._engine is None or self._broken:
            return None
        suspended = self._engine.suspend(pid)
        if self.spec is None:
            return None  # still loading: there is no context yet, and the engine will know when it starts
        return await asyncio.shield(asyncio.wrap_future(suspended))  # begun, it is done: see Control

    async def resume(self, pid: Pid) -> None:
        if self._engine is not None and not self._broken:
            resumed = self._engine.resume(pid)
            if self.spec is not None:
                await asyncio.shield(asyncio.wrap_future(resumed))

    def renice(self, pid: Pid, nice: int) -> None:
        if self._engine is not None:
            self._engine.renice(pid, nice)

    async def release(self, pid: Pid) -> None:
        """The process has ended: drop its context. Returns when nothing of it is left in the engine."""
        if self._chat is None:
            return
        released = self._chat.release(pid)
        if self.spec is not None:  # while the model loads nobody would answer, and there is nothing to drop
            await asyncio.wrap_future(released)

    def usage(self, pid: Pid) -> Usage:
        return self._engine.usage(pid) if self._engine is not None else Usage()

    # --- facts

    @property
    def spec(self) -> ModelSpec | None:
        """None until a model is loaded."""
        ready = self._engine.ready if self._engine is not None else None
        return ready.result() if ready is not None and ready.done() and ready.exception() is None else None

    @property
    def _broken(self) -> bool:
        ready = self._engine.ready if self._engine is not None else None
        return ready is not None and ready.done() and ready.exception() is not None

    @property
    def state(self) -> str:
        """ "loading", "ready" or "failed: why"."""
        if self._engine is None:
            return f"failed: {self._error}"
        if not self._engine.ready.done():
            return "loading"
        error = self._engine.ended
        return "ready" if error is None else f"failed: {error}"

    @property
    def policy(self) -> str:
        return self._engine.sched().policy if self._engine is not None else self._policy[0]

    def stats(self) -> EngineStats:
        return self._engine.stats() if self._engine is not None else EngineStats()

    def queue(self) -> list[QueueEntry]:
        return self._engine.queue() if self._engine is not None else []

    def snapshots(self) -> list[SnapshotInfo]:
        return self._engine.snapshots() if self._engine is not None else []

    def sched(self) -> SchedInfo:
        if self._engine is None:
            raise self._error
        return self._engine.sched()

    async def set_sched(self, policy: str, quantum: int | None) -> SchedInfo:
        """Change the policy between two steps. Raises BadRequest for an unknown one."""
        if self._engine is None:
            raise self._error
        await asyncio.wrap_future(self._engine.set_policy(policy, quantum))
        info = self._engine.sched()
        self._policy = (info.policy, info.quantum)
        return info

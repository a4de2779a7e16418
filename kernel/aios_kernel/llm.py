"""The model side as the daemon sees it: one engine at a time, the model it runs, and what became of loading it."""

from __future__ import annotations

import asyncio
import codecs
import functools
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from aios_kernel.chat import ChatManager, Conversation, Grant
from aios_kernel.clock import Clock
from aios_kernel.context.image import Image
from aios_kernel.core import Core, EngineConfig, ModelSpec
from aios_kernel.errors import InvalidState, KernelError, ModelBroken, NoSuchModel, NoSuchSnapshot
from aios_kernel.models import SCRIPT_SUFFIX
from aios_kernel.protocol import (
    ChatReply,
    ChatRequest,
    ModelInfo,
    Overflow,
    Pid,
    PolicyClass,
    QueueEntry,
    SchedInfo,
    SnapshotInfo,
    StepInfo,
)
from aios_kernel.scheduler.engine import Engine
from aios_kernel.scheduler.request import EngineStats, GenEvent, Phase, Usage

log = logging.getLogger(__name__)

CLOSE_S: Final = 10.0  # one step and the model's teardown
LOOK_S: Final = 1.0  # between two looks at the queue, of up to 10 ms each
ABANDON_S: Final = 0.1  # a model that still loads cannot be interrupted: its thread is left to itself


class Llm:
    """Owns the engine. Event loop only."""

    def __init__(self, config: EngineConfig, clock: Clock, overflow: Overflow = Overflow.DROP_OLDEST) -> None:
        self._config = config
        self._clock = clock
        self._overflow = overflow
        self._on_events: Callable[[list[GenEvent]], None] | None = None
        self._engine: Engine | None = None
        self._chat: ChatManager | None = None
        self._policy = (config.policy, config.quantum)  # as last set: a new engine goes on with it,
        self._suspended: set[Pid] = set()  # and with these
        self._looked_at = 0.0  # when the queue was last foreseen
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

            if model.path.endswith(SCRIPT_SUFFIX):
                from aios_kernel.scripted import FileCore

                return FileCore.load(Path(model.path), config)
            from aios_kernel.core.llama import LlamaCore

            return LlamaCore.load(model.path, config)

        def deliver(events: list[GenEvent]) -> None:
            loop.call_soon_threadsafe(self._deliver, chat, events)

        self.model = model
        self._engine = engine = Engine(load, config, clock=self._clock, deliver=deliver)
        self._chat = chat = ChatManager(engine, clock=self._clock, overflow=self._overflow)
        engine.start()
        if self._policy != (config.policy, config.quantum):
            engine.set_policy(*self._policy)
        for pid in self._suspended:
            engine.suspend(pid)

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
        engine, chat = self._engine, self._chat
        self._engine = self._chat = None
        if engine is not None and chat is not None:
            await chat.close()  # its threads use the model
            await asyncio.to_thread(engine.close, CLOSE_S if engine.ready.done() else ABANDON_S)

    def _deliver(self, chat: ChatManager, events: list[GenEvent]) -> None:
        chat.deliver(events)  # an engine that is closed still answers its last chats
        if chat is self._chat and self._on_events is not None:
            self._on_events(events)
        self._look(events)

    def _look(self, events: list[GenEvent]) -> None:
        """Foresee the queue when somebody joins it, whether or not anybody asks: so that how far forecasts can be
        trusted is known when somebody does."""
        now = self._clock.monotonic()
        if now - self._looked_at >= LOOK_S and any(event.phase is Phase.READY for event in events):
            self._looked_at = now
            self.queue()

    # --- processes

    async def chat(
        self,
        pid: Pid,
        request: ChatRequest,
        nice: int,
        on_delta: Callable[[str], None],
        program: Pid,
        *,
        policy_class: PolicyClass,
        on_window: Callable[[str], None],
        grant: Grant,
    ) -> ChatReply:
        """One chat turn, in the program that the process `program` began. For the rest see ChatManager.chat.

        Raises: NoSuchModel, ModelBroken, and what ChatManager.chat raises.
        """
        self.num_active += 1
        try:
            if self._chat is None:
                raise self._error
            return await self._chat.chat(
                pid, request, nice, on_delta, program, policy_class=policy_class, on_window=on_window, grant=grant
            )
        finally:
            self.num_active -= 1

    async def suspend(self, pid: Pid) -> SnapshotInfo | None:
        """Take the process's context off its slot; None when it has none."""
        self._suspended.add(pid)
        if self._engine is None or self._broken:
            return None
        suspended = self._engine.suspend(pid)
        if self.spec is None:
            return None  # still loading: there is no context yet, and the engine will know when it starts
        return await asyncio.shield(asyncio.wrap_future(suspended))  # begun, it is done: see Control

    async def resume(self, pid: Pid) -> None:
        self._suspended.discard(pid)
        if self._engine is not None and not self._broken:
            resumed = self._engine.resume(pid)
            if self.spec is not None:
                await asyncio.shield(asyncio.wrap_future(resumed))

    def renice(self, pid: Pid, nice: int) -> None:
        if self._engine is not None:
            self._engine.renice(pid, nice)

    async def release(self, pid: Pid, keep: bytes | None = None) -> None:
        """The process has ended: drop its context, or keep it for `inherit`. Returns when the engine has."""
        self._suspended.discard(pid)
        if self._chat is None:
            return
        released = self._chat.release(pid, keep)
        if self.spec is not None:  # while the model loads nobody would answer, and there is nothing to drop
            await asyncio.wrap_future(released)

    def inherit(self, pid: Pid, names: Iterable[bytes]) -> None:
        """See ChatManager.inherit. A change of model drops what was kept."""
        if self._chat is not None:
            self._chat.inherit(pid, names)

    def usage(self, pid: Pid) -> Usage:
        return self._engine.usage(pid) if self._engine is not None else Usage()

    def behind(self, pid: Pid) -> str | None:
        return self._engine.behind(pid) if self._engine is not None else None

    # --- contexts apart from their processes

    async def capture(self, pid: Pid) -> tuple[Image, Conversation]:
        """The process's context, and what was said in it, as they are now.

        Raises: NoSuchSnapshot (it has said nothing to the model yet), NoSuchModel, ModelBroken, KernelStopping.
        """
        if self._engine is None or self._chat is None:
            raise self._error
        image = await asyncio.wrap_future(self._engine.capture(pid))
        conversation = self._chat.conversation(pid, image.tokens)
        if conversation is None:
            raise NoSuchSnapshot(f"process {pid} has said nothing to the model yet", pid=pid)
        return image, conversation

    async def plant(self, pid: Pid, image: Image, conversation: Conversation) -> None:
        """Make them those of a process that has said nothing yet. Raises InvalidState, BadRequest, PromptTooLong, and
        NoSuchModel, ModelBroken, KernelStopping."""
        if self._engine is None or self._chat is None:
            raise self._error
        self._chat.plant(pid, conversation)
        await asyncio.wrap_future(self._engine.plant(pid, image))

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """The text of each token; a character that takes several is with its last.

        Raises: InvalidState (the model still loads), NoSuchModel, ModelBroken.
        """
        engine = self._engine
        if engine is None:
            raise self._error
        written = functools.cache(engine.written)  # a text uses few of its tokens once
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return [decoder.decode(written(token)) for token in tokens]

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
    def policy(self) -> tuple[str, int]:
        """Its name, and the quantum in tokens."""
        if self._engine is None:
            return self._policy
        info = self._engine.sched()
        return info.policy, info.quantum

    def stats(self) -> EngineStats:
        return self._engine.stats() if self._engine is not None else EngineStats()

    def queue(self) -> list[QueueEntry]:
        return self._engine.queue() if self._engine is not None else []

    def steps(self) -> tuple[StepInfo, ...]:
        return self._engine.steps() if self._engine is not None else ()

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

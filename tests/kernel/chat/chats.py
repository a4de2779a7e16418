"""Chats over an engine with a scripted or the real model, as tests hold them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aios_kernel.chat import ChatManager
from aios_kernel.clock import SystemClock
from aios_kernel.core import Core, EngineConfig
from aios_kernel.models import find
from aios_kernel.protocol import ChatRequest
from aios_kernel.scheduler.engine import Engine
from aios_kernel.scheduler.request import GenEvent
from aios_kernel.testing import Script, ScriptedCore, babble, reply

DEADLINE_S = 100.0  # the real model takes its time where other tests do too
CONFIG = EngineConfig(slots=2, window=4096, threads=1)

Use = Callable[[ChatManager, Engine], Awaitable[Any]]


@asynccontextmanager
async def chatting(
    load: Callable[[EngineConfig], Core], config: EngineConfig = CONFIG, **options: Any
) -> AsyncIterator[tuple[ChatManager, Engine]]:
    loop = asyncio.get_running_loop()

    def deliver(events: list[GenEvent]) -> None:
        loop.call_soon_threadsafe(manager.deliver, events)

    engine = Engine(lambda: load(config), config, clock=SystemClock(), deliver=deliver)
    manager = ChatManager(engine, **options)
    engine.start()
    try:
        yield manager, engine
    finally:
        await manager.close()
        await asyncio.to_thread(engine.close, DEADLINE_S)


def real_model(config: EngineConfig) -> Core:
    from aios_kernel.core.llama import LlamaCore

    nowhere = Path("/nonexistent")
    return LlamaCore.load(find(nowhere, {}, nowhere)[0].path, config)


def run(load: Callable[[EngineConfig], Core], use: Use, config: EngineConfig = CONFIG, **options: Any) -> Any:
    """What `use` returns."""

    async def main() -> Any:
        async with chatting(load, config, **options) as (manager, engine):
            return await asyncio.wait_for(use(manager, engine), DEADLINE_S)

    return asyncio.run(main())


def with_script(script: str | Script, use: Use, config: EngineConfig = CONFIG, **options: Any) -> Any:
    """What `use` returns, over a model that answers everything with a text; with an empty one that never ends."""
    follow = script if callable(script) else reply(script) if script else babble
    return run(lambda config: ScriptedCore(follow, config), use, config, **options)


def ask(text: str, **options: Any) -> ChatRequest:
    return ChatRequest([{"role": "user", "content": text}], **options)

"""The generations that chats wait for: submitted to the engine, told of by its events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aios_kernel.scheduler.engine import Engine
from aios_kernel.scheduler.request import GenEvent, GenRequest, GenResult, JobId

Show = Callable[[str], None]


def show_nothing(_text: str) -> None:
    """For a text that nobody watches as it comes."""


@dataclass(slots=True)
class _Waiting:
    done: asyncio.Future[GenResult]
    show: Show


class Generations:
    """Event loop only; `deliver` is called there too."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: dict[JobId, _Waiting] = {}

    async def run(self, request: GenRequest, show: Show = show_nothing) -> GenResult:
        """Run one generation; who is cancelled cancels it.

        Raises: BadRequest (and PromptTooLong), ModelFailed, ModelBroken, KernelStopping.
        """
        job = self._engine.submit(request)
        waiting = self._waiting[job] = _Waiting(asyncio.get_running_loop().create_future(), show)
        finished = False
        try:
            result = await waiting.done
            finished = True
            return result
        finally:
            del self._waiting[job]
            if not finished:
                self._engine.cancel(job)

    def deliver(self, events: list[GenEvent]) -> None:
        """Hand the engine's events to the chats that wait for them."""
        for event in events:
            waiting = self._waiting.get(event.job) if event.job is not None else None
            if waiting is None or waiting.done.done():
                continue
            if event.text:
                try:
                    waiting.show(event.text)
                except Exception as error:  # the caller's own; its chat ends with it, others go on
                    waiting.done.set_exception(error)
            elif event.done is not None:
                waiting.done.set_result(event.done)
            elif event.error is not None:
                waiting.done.set_exception(event.error)

"""What writer threads tell those who wait for a row: futures of the event loop, resolved from outside it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aios_kernel.errors import InternalError

log = logging.getLogger(__name__)


def retrieve(future: asyncio.Future[Any]) -> None:
    """A done callback: a failure that nobody awaits is no complaint, the writer logs it itself."""
    if not future.cancelled():
        future.exception()


def acknowledge(futures: list[asyncio.Future[None]], error: InternalError | None) -> None:
    """Resolve the futures of one loop, from the writer's thread: the rows are durable, or could not be written."""
    try:
        futures[0].get_loop().call_soon_threadsafe(_resolve, futures, error)
    except RuntimeError:  # the loop has ended: nobody waits any more
        log.debug("rows written after the event loop's end")


def _resolve(futures: list[asyncio.Future[None]], error: InternalError | None) -> None:
    for future in futures:
        if future.done():  # its waiter was cancelled
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

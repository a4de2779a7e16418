"""Vectors of texts for whoever asks: one model in a thread of its own, loaded when first needed, fair to all."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aios_kernel.core import CoreError
from aios_kernel.errors import (
    BadRequest,
    InternalError,
    KernelError,
    KernelStopping,
    LimitHit,
    ModelFailed,
    NoSuchModel,
)
from aios_kernel.protocol import ModelInfo

if TYPE_CHECKING:
    from aios_kernel.core.embed import LlamaEmbedder

log = logging.getLogger(__name__)

MAX_PIECES: Final = 4  # of a text that count: its first 1,024 tokens
MAX_TEXTS: Final = 256  # of one call
MAX_TEXT_BYTES: Final = 1 << 18
MAX_WAITING: Final = 1_024  # calls of one caller
CLOSE_S: Final = 5.0  # one piece and the model's teardown


@dataclass(slots=True, eq=False)
class _Call:
    texts: deque[str]
    done: asyncio.Future[list[list[float]]]
    pieces: deque[list[int]] = field(default_factory=deque)  # of the text that is being done
    total: Any = None  # the sum of the vectors of its pieces so far, each as often as it has tokens
    vectors: list[list[float]] = field(default_factory=list)


class Embedding:
    """Owns the model that finds by meaning. Event loop only.

    Attributes:
        model: its reference; "": there is none.
        identity: tells its vectors from those of any other model, once it is loaded.
    """

    def __init__(
        self, ref: str, resolve: Callable[[str], ModelInfo], threads: Callable[[], int], *, gpu_layers: int = 0
    ) -> None:
        """The arguments are called in the thread.

        resolve: finds the model of a reference, raising NoSuchModel or ModelBroken.
        threads: how many the next piece may use. Beside a generation one: two teams that wait for each other by
            spinning slow each other down a hundredfold.
        """
        self.model = ref
        self.identity: str | None = None
        self._resolve = resolve
        self._threads = threads
        self._gpu_layers = gpu_layers
        self._calls: OrderedDict[int, deque[_Call]] = OrderedDict()  # of each caller; the first one is next
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._failed: KernelError | None = None

    @property
    def state(self) -> str:
        """none, idle (loaded when first needed), ready, or failed: why."""
        if not self.model:
            return "none"
        if self._failed is not None:
            return f"failed: {self._failed.message}"
        return "ready" if self.identity else "idle"

    async def embed(self, texts: Sequence[str], by: int = 0) -> list[list[float]]:
        """A vector of length 1 for each text, float32 values. Callers take turns, a piece of text each.

        Args:
            by: who asks: a pid, 0 for the kernel's own.

        Raises:
            NoSuchModel: none is configured, or there is none of that name; ModelBroken, ModelFailed, KernelStopping
            BadRequest, LimitHit: too much is asked at once.
        """
        if not self.model:
            raise NoSuchModel("there is no embedding model: [memory] embedding in config.toml names one")
        if len(texts) > MAX_TEXTS:
            raise BadRequest(f"{len(texts)} texts: at most {MAX_TEXTS} are allowed", key="texts")
        if any(len(text.encode()) > MAX_TEXT_BYTES for text in texts):
            raise BadRequest(f"a text of more than {MAX_TEXT_BYTES} bytes", key="texts")
        if not texts:
            return []
        call = _Call(deque(texts), asyncio.get_running_loop().create_future())
        with self._changed:
            if self._failed is not None:
                raise self._failed
            if self._closed:
                raise KernelStopping("the kernel is stopping")
            mine = self._calls.setdefault(by, deque())
            if len(mine) >= MAX_WAITING:
                raise LimitHit(f"{MAX_WAITING} calls wait for vectors", limit=MAX_WAITING)
            mine.append(call)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="embed", daemon=True)
                self._thread.start()
            self._changed.notify()
        return await call.done

    def close(self) -> None:
        """End the thread; who still waits gets KernelStopping. Blocks; safe to call twice."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_S)

    # --- the thread

    def _run(self) -> None:
        embedder: LlamaEmbedder | None = None
        try:
            embedder = self._load()
            while (call := self._next()) is not None:
                self._step(embedder, call)
        except KernelError as error:
            log.error("no vectors: %s", error)
            self._failed = error
        except Exception as error:
            log.exception("embedding")
            self._failed = InternalError(f"embedding: {type(error).__name__}: {error}")
        finally:
            self._refuse(self._failed or KernelStopping("the kernel is stopping"))
            if embedder is not None:
                embedder.close()

    def _load(self) -> LlamaEmbedder:
        model = self._resolve(self.model)
        from aios_kernel.core.embed import LlamaEmbedder  # late: its package loads llama.cpp

        embedder = LlamaEmbedder.load(Path(model.path), self._gpu_layers)
        self.identity = f"{model.ref} {embedder.model_hash}"
        log.info("embedding model %s: %d dimensions", model.ref, embedder.dims)
        return embedder

    def _next(self) -> _Call | None:
        """The next call to do a piece of, its caller then being the last one; None at the end."""
        with self._changed:
            while not self._closed:
                for by, calls in list(self._calls.items()):
                    while calls and calls[0].done.done():  # finished, or its caller has gone
                        calls.popleft()
                    if calls:
                        self._calls.move_to_end(by)
                        return calls[0]
                    del self._calls[by]
                self._changed.wait()
            return None

    def _step(self, embedder: LlamaEmbedder, call: _Call) -> None:
        """Do one piece of a call."""
        try:
            if not call.pieces:
                call.pieces = deque(embedder.pieces(call.texts.popleft(), MAX_PIECES))
                call.total = np.zeros(embedder.dims, dtype=np.float64)
            tokens = call.pieces.popleft()
            vector = embedder.embed(tokens, self._threads()).astype(np.float64)
            call.total += len(tokens) * vector / (np.linalg.norm(vector) or 1.0)
            if not call.pieces:
                unit = call.total / (np.linalg.norm(call.total) or 1.0)
                call.vectors.append(unit.astype(np.float32).tolist())
            if not call.pieces and not call.texts:
                self._tell(call, None)
        except CoreError as error:
            self._tell(call, ModelFailed(f"embedding: {error}"))

    def _tell(self, call: _Call, error: KernelError | None) -> None:
        """How a call ended. It leaves its caller's queue at once: its future is done only some time later."""
        with self._changed:
            for calls in self._calls.values():
                if calls and calls[0] is call:
                    calls.popleft()
        try:
            call.done.get_loop().call_soon_threadsafe(_resolve, call, error)
        except RuntimeError:  # the loop has ended: nobody waits any more
            log.debug("a vector after the event loop's end")

    def _refuse(self, error: KernelError) -> None:
        with self._changed:
            waiting = [call for calls in self._calls.values() for call in calls]
            self._calls.clear()
        for call in waiting:
            self._tell(call, error)


def _resolve(call: _Call, error: KernelError | None) -> None:
    if call.done.done():  # its waiter was cancelled
        return
    if error is not None:
        call.done.set_exception(error)
    else:
        call.done.set_result(call.vectors)

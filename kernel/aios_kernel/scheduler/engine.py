"""The engine: one thread that owns the model's context, and the thread-safe face of it."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

from aios_kernel.clock import Clock
from aios_kernel.context.image import Image
from aios_kernel.core import Core, CoreError, CoreLost, EngineConfig, ModelSpec, available_cores
from aios_kernel.errors import (
    BadRequest,
    InternalError,
    InvalidState,
    KernelError,
    KernelStopping,
    ModelFailed,
    PromptTooLong,
)
from aios_kernel.protocol import Pid, QueueEntry, SchedInfo, SnapshotInfo, StepInfo
from aios_kernel.scheduler.governor import Governor
from aios_kernel.scheduler.job import Job
from aios_kernel.scheduler.loop import StepLoop
from aios_kernel.scheduler.pace import Pace
from aios_kernel.scheduler.request import EngineStats, GenEvent, GenRequest, JobId, Usage
from aios_kernel.scheduler.view import Outlook, Viewer, empty_view, queue_of

__all__ = ["Engine", "EngineConfig"]

log = logging.getLogger(__name__)

T = TypeVar("T")
Operation = Callable[[StepLoop], Any]

VIEW_EVERY_S = 0.1  # while nothing but token counts changes


@dataclass(frozen=True, slots=True)
class _Foreseen:
    """The queue of an outlook."""

    outlook: Outlook
    entries: tuple[QueueEntry, ...] = ()
    waiting: dict[Pid, str] = field(default_factory=dict)  # whom each one is behind


class Engine:
    """Runs generations for many processes over few slots.

    Every method may be called from any thread; none blocks but `close`. Operations take effect between two steps.
    Events reach `deliver` in the engine's thread, at most one call per step.
    """

    def __init__(
        self,
        load: Callable[[], Core],
        config: EngineConfig,
        *,
        clock: Clock,
        deliver: Callable[[list[GenEvent]], None],
        governor: Governor | None = None,
    ) -> None:
        """governor: who says how many threads to use; by default one for this machine and config.

        Raises BadRequest when the config names an unknown policy.
        """
        self._load = load
        self._config = config
        self._clock = clock
        self._deliver = deliver
        self._governor = governor or _governor(config.threads)
        self._inbox: SimpleQueue[tuple[Operation, Future[Any], bool] | None] = SimpleQueue()
        self._gate = Lock()  # guards _ended against posts that nobody would answer
        self._ended: KernelError | None = None
        self._ids = itertools.count(1)
        self._core: Core | None = None
        self._loop: StepLoop | None = None
        self._view = empty_view(config)
        self._view_pace, self._asked = Pace(), False  # asked: somebody waits for the view that shows what he did
        self._foreseen, self._foresight_pace = _Foreseen(self._view.outlook), Pace()
        self._steps: tuple[StepInfo, ...] = ()
        self._thread = Thread(target=self._run, name="engine", daemon=True)
        self.ready: Future[ModelSpec] = Future()

    # --- any thread ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread, which loads the model first. `ready` tells how that went."""
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """End every generation with KernelStopping, free the model and wait for the thread that long."""
        self._inbox.put(None)
        if self._core is not None:
            self._core.abort()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @property
    def ended(self) -> KernelError | None:
        """Why it runs nothing any more: it is closed, has failed, or could not load the model. None: it runs."""
        return self._ended

    @property
    def spec(self) -> ModelSpec:
        """The loaded model. Raises InvalidState while it loads, ModelBroken if it could not be."""
        return self._loaded().spec

    def tokenize(self, text: str, *, special: bool = True) -> list[int]:
        """Tokens of `text`, no bos added. special: markers such as <|im_end|> become their one token."""
        try:
            return self._loaded().tokenize(text, special=special)
        except CoreError as error:
            raise self._ended or ModelFailed(str(error)) from error

    def piece(self, token: int) -> bytes:
        """The bytes of one token, which may end inside a character."""
        return self._loaded().piece(token)

    def written(self, token: int) -> bytes:
        """The bytes of one token as a person reads it: control tokens by their names."""
        return self._loaded().written(token)

    def submit(self, request: GenRequest) -> JobId:
        """Queue a generation; its events follow.

        Raises: BadRequest, PromptTooLong, InvalidState (still loading), ModelBroken, KernelStopping.
        """
        window = self.spec.window
        if not request.prompt:
            raise BadRequest("the prompt is empty")
        if request.max_tokens < 1:
            raise BadRequest(f"max_tokens = {request.max_tokens}: must be at least 1", key="max_tokens")
        if len(request.prompt) >= window:
            raise PromptTooLong(
                f"the prompt has {len(request.prompt)} tokens, the context window {window}",
                tokens=len(request.prompt),
                window=window,
            )
        if not 0 <= request.accepted < len(request.prompt):
            raise BadRequest(f"accepted = {request.accepted}: must be within the prompt", key="accepted")
        with self._gate:
            if self._ended is not None:
                raise self._ended
            job = Job(JobId(next(self._ids)), request, self._clock.monotonic())
            self._inbox.put((lambda loop: loop.submit(job), Future(), False))
        return job.id

    def cancel(self, job: JobId) -> None:
        """End a generation with finish_reason "cancelled"; nothing happens if it has ended."""
        self._post(lambda loop: loop.cancel(job))

    def suspend(self, pid: Pid) -> Future[SnapshotInfo | None]:
        """Stop the process's generations and take its context off its slot. None: it had no KV state."""
        future = self._post(lambda loop: loop.suspend(pid), shown=True)
        self._interrupt(pid)
        return future

    def resume(self, pid: Pid) -> Future[None]:
        return self._post(lambda loop: loop.resume(pid), shown=True)

    def renice(self, pid: Pid, nice: int) -> Future[None]:
        return self._post(lambda loop: loop.renice(pid, nice))

    def release(self, pid: Pid, *, keep: bool = False) -> Future[None]:
        """The process has ended: cancel what it generates, drop its context, or keep it for `inherit`.

        What is kept counts like any context; releasing its process again drops it.
        """
        future = self._post(lambda loop: loop.release(pid, keep=keep))
        self._interrupt(pid)
        return future

    def inherit(self, pid: Pid, former: Pid) -> Future[None]:
        """Go on with the kept context of `former`, if there still is one. The future raises InvalidState: `pid`
        generates."""
        return self._post(lambda loop: loop.inherit(pid, former))

    def capture(self, pid: Pid) -> Future[Image]:
        """A copy of the process's context. The future raises NoSuchSnapshot when it has none yet."""
        return self._post(lambda loop: loop.capture(pid))

    def plant(self, pid: Pid, image: Image) -> Future[bool]:
        """Make `image` the process's context. False: its KV is of another build, it will be computed anew.

        The future raises InvalidState (the process generates), BadRequest (another model's), PromptTooLong.
        """
        return self._post(lambda loop: loop.plant(pid, image))

    def set_policy(self, name: str, quantum: int | None = None) -> Future[None]:
        """Switch while everything runs. The future raises BadRequest for an unknown name."""
        return self._post(lambda loop: loop.set_policy(name, quantum), shown=True)

    def sched(self) -> SchedInfo:
        return self._view.sched

    def queue(self) -> list[QueueEntry]:
        """Who runs, who waits behind whom, who is suspended. What it tells of the future is checked when it comes."""
        return list(self._foresee().entries)

    def behind(self, pid: Pid) -> str | None:
        """Whom one that waits is behind; None for others."""
        return self._foresee().waiting.get(pid)

    def _foresee(self) -> _Foreseen:
        outlook, now = self._view.outlook, self._clock.monotonic()
        due = not outlook.prospects or self._foresight_pace.due(now)
        if due and self._foreseen.outlook is not outlook:
            with self._foresight_pace.spend(now):
                entries = queue_of(outlook)
            waiting = [row for row in entries if row.queue == "ready"]
            self._foreseen = _Foreseen(outlook, entries, {Pid(row.pid): row.reason for row in waiting})
            etas_ms = {Pid(row.pid): row.eta_ms for row in waiting if row.eta_ms is not None}
            if etas_ms:
                self._post(lambda loop: loop.expect(outlook.at, etas_ms))
        return self._foreseen

    def snapshots(self) -> list[SnapshotInfo]:
        return list(self._view.snapshots)

    def usage(self, pid: Pid) -> Usage:
        return self._view.usage.get(pid, _UNKNOWN)

    def steps(self) -> tuple[StepInfo, ...]:
        """The newest steps, the last one last."""
        return self._steps

    def stats(self) -> EngineStats:
        return self._view.stats

    def _loaded(self) -> Core:
        if self._core is None:
            raise self._ended or InvalidState("the model is still loading")
        return self._core

    def _post(self, operation: Callable[[StepLoop], T], *, shown: bool = False) -> Future[T]:
        """Queue an operation. shown: when the future resolves, all that is told of the engine tells of it."""
        future: Future[T] = Future()
        with self._gate:
            if self._ended is not None:
                future.set_exception(self._ended)
            else:
                self._inbox.put((operation, future, shown))
        return future

    def _interrupt(self, pid: Pid) -> None:
        """Do not wait for a prefill that nobody wants any more."""
        if self._loop is not None and self._loop.prefilling == pid:
            self._loop.core.abort()

    # --- the engine's thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        self._governor.update(self._clock.monotonic())  # what others do while the model loads tells the first step
        try:
            core = self._core = self._load()
            loop = self._loop = StepLoop(core, self._config, self._governor, self._clock)
        except KernelError as error:
            self._end(error)
            self.ready.set_exception(error)
            return
        except Exception as error:
            log.exception("loading the model")
            failure = InternalError(f"the model cannot be loaded: {error}")
            self._end(failure)
            self.ready.set_exception(failure)
            return
        loop.contexts.tiers.on_written = lambda: self._inbox.put((lambda loop: loop.settle(), Future(), False))
        viewer = Viewer(loop)
        self.ready.set_result(core.spec)
        end: KernelError = KernelStopping("the kernel is stopping")
        try:
            while self._turn(loop, viewer):
                pass
        except Exception as error:  # CoreLost, or a bug: nobody may wait for an answer that never comes
            log.exception("the engine has failed")
            end = ModelFailed(f"the engine has failed: {error}; `aios model use` loads a model anew")
        self._end(end)
        loop.fail_all(end)
        self._emit(loop)
        loop.contexts.close()
        core.close()

    def _turn(self, loop: StepLoop, viewer: Viewer) -> bool:
        """Operations that wait, then one step if anything can run. False: it is time to end."""
        answers: list[tuple[Future[Any], Any, Exception | None]] = []
        try:
            going = self._drain(loop, answers)
            if going and loop.runnable():
                self._step(loop)
            self._publish(loop, viewer)
            self._emit(loop)
        finally:
            for future, result, error in answers:
                if error is None:
                    future.set_result(result)
                else:
                    future.set_exception(error)
        return going

    def _drain(self, loop: StepLoop, answers: list[tuple[Future[Any], Any, Exception | None]]) -> bool:
        """Run operations: at most as many as wait now, so that a flood of them starves nobody; idle: wait for one."""
        idle = not loop.runnable()
        for _ in range(max(self._inbox.qsize(), idle)):
            try:
                item = self._inbox.get(block=idle)
            except Empty:
                return True
            idle = False
            if item is None:
                return False
            operation, future, shown = item
            if not future.set_running_or_notify_cancel():
                continue
            self._asked = self._asked or shown
            try:
                answers.append((future, operation(loop), None))
            except Exception as error:
                answers.append((future, None, error if isinstance(error, KernelError) else ModelFailed(str(error))))
                if isinstance(error, CoreLost):
                    raise
                if not isinstance(error, KernelError):
                    log.exception("an engine operation failed")
        return True

    def _step(self, loop: StepLoop) -> None:
        try:
            loop.step()
            self._steps = tuple(loop.recorder.steps)
        except CoreLost:
            raise
        except Exception as error:
            log.exception("an engine step failed")
            known = isinstance(error, CoreError)
            loop.fail_all(ModelFailed(str(error)) if known else InternalError(f"engine: {error!r}"))
            loop.contexts.rebuild()

    def _publish(self, loop: StepLoop, viewer: Viewer) -> None:
        """Show what has changed: at once to those who wait for it, else as its cost allows, and before a rest."""
        now = self._clock.monotonic()
        news = loop.changed or now - self._view.at >= VIEW_EVERY_S
        if self._asked or (news and (self._view_pace.due(now) or not loop.runnable())):
            loop.changed = self._asked = False
            with self._view_pace.spend(now):
                self._view = viewer.view()

    def _emit(self, loop: StepLoop) -> None:
        if not loop.events:
            return
        events, loop.events = loop.events, []
        try:
            self._deliver(events)
        except Exception:
            log.exception("nobody took %d engine events", len(events))

    def _end(self, error: KernelError) -> None:
        """From now on every call is answered with `error`; so is what waits in the inbox."""
        with self._gate:
            self._ended = error
            while not self._inbox.empty():
                item = self._inbox.get()
                if item is not None and item[1].set_running_or_notify_cancel():
                    item[1].set_exception(error)


def _governor(threads: int) -> Governor:
    return Governor(threads, read=None) if threads else Governor.for_machine(available_cores())


_UNKNOWN = Usage()

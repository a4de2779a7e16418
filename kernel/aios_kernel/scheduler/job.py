"""One generation on its way: its sampler, its text, its times."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Final

from aios_kernel.core import Logits, ModelSpec, Sampler
from aios_kernel.scheduler.request import GenRequest, GenResult, JobId
from aios_kernel.scheduler.text import TextStream

SHORT_S: Final = 1.0  # a wait shorter than this needs no forecast: one that is wrong by as much is wrong by all of it


class Finish(StrEnum):
    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"


class Job:
    """A generation. Owner thread only; times in seconds of the engine's clock."""

    def __init__(self, job_id: JobId, request: GenRequest, now: float) -> None:
        self.id = job_id
        self.request = request
        self.program = request.program or request.pid
        self.sampler: Sampler | None = None  # made when the job first runs
        self.queued = 0  # place in the run queue, see policy.Runnable
        self._queued_at = self._ran_at = now
        self.running = False  # it holds a slot in this step
        self._forecast: tuple[float, float] | None = None  # of this wait: when it was made, the seconds it said
        self.used = 0
        self.produced: list[int] = []
        self.cached = len(request.prompt)  # tokens of the prompt that need no feeding, as far as is known
        self.fed = 0  # prompt tokens that it did feed
        self._told = 0  # tokens that events have told of
        self.stream = TextStream(request.stop)
        self.wait_s = self.prefill_s = self.decode_s = 0.0
        self._digest = hashlib.blake2b(digest_size=16) if request.logits_hash else None
        self.waits_since: float | None = now  # ready without a slot; None: it does not wait

    def line_up(self, place: int, now: float) -> None:
        """Join the run queue."""
        self.queued, self._queued_at, self._forecast = place, now, None
        self.start_waiting(now)

    def expect(self, made_at: float, eta_s: float) -> None:
        """Note the first forecast of this wait: the time from then until it gets a slot."""
        if self._forecast is None and self._queued_at <= made_at and not self.running:
            self._forecast = made_at, eta_s

    def take_slot(self, now: float) -> float | None:
        """Run from now on. Returns how wrong the forecast of its wait was, as a part of what was left of the wait."""
        self.running, self.used, self._ran_at = True, 0, now
        self.stop_waiting(now)
        if self._forecast is None:
            return None
        made_at, eta_s = self._forecast
        return abs(eta_s - (now - made_at)) / max(now - made_at, SHORT_S)

    def queue_wait_s(self, now: float) -> float:
        """Time in the run queue since it last joined, up to `now` or to getting the slot that it holds."""
        return (self._ran_at if self.running else now) - self._queued_at

    def start_waiting(self, now: float) -> None:
        if self.waits_since is None:
            self.waits_since = now

    def stop_waiting(self, now: float) -> None:
        if self.waits_since is not None:
            self.wait_s += now - self.waits_since
            self.waits_since = None

    def choose(self, row: Logits, position: int) -> int:
        """The token for `position` of the context. Raises CoreError when none is possible."""
        assert self.sampler is not None
        if self._digest is not None:
            self._digest.update(row.tobytes())
        return self.sampler.sample(row, position)

    def accept(self, token: int, piece: bytes) -> tuple[str, Finish | None]:
        """Take a chosen token that does not end the generation: (text to show, why it ends now)."""
        self.produced.append(token)
        self.used += 1
        delta = self.stream.feed(piece)
        if self.stream.stopped:
            return delta, Finish.STOP
        return delta, Finish.LENGTH if len(self.produced) >= self.request.max_tokens else None

    def untold(self) -> int:
        """Tokens produced since this was last asked."""
        before, self._told = self._told, len(self.produced)
        return self._told - before

    def result(self, reason: Finish, spec: ModelSpec, now: float) -> GenResult:
        self.stop_waiting(now)
        return GenResult(
            text=self.stream.text,
            tokens=tuple(self.produced),
            cut=self.stream.stopped,
            finish_reason=reason.value,
            tokens_in=len(self.request.prompt),
            tokens_cached=self.cached,
            wait_ms=self.wait_s * 1e3,
            prefill_ms=self.prefill_s * 1e3,
            decode_ms=self.decode_s * 1e3,
            exact=spec.exact,
            logits_hash=self._digest.hexdigest() if self._digest else None,
        )

    def close(self) -> None:
        if self.sampler is not None:
            self.sampler.close()
            self.sampler = None

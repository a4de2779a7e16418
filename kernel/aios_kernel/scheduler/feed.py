"""Feeding: which pieces of prompts, then one token for everyone who decodes; and what the model answers to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aios_kernel.clock import Clock
from aios_kernel.context.manager import ContextManager
from aios_kernel.core import Core, CoreError, DecodeAborted, DecodeFailed, EngineConfig, Logits
from aios_kernel.errors import ModelFailed
from aios_kernel.protocol import Pid, StepPhase
from aios_kernel.scheduler.experience import Costs
from aios_kernel.scheduler.job import Job
from aios_kernel.scheduler.line import Line
from aios_kernel.scheduler.policy import PREFILL_COST
from aios_kernel.scheduler.record import Recorder
from aios_kernel.scheduler.service import Ledger

Running = list[tuple[Line, Job]]
Choice = tuple[Line, Job, int | ModelFailed]  # the token that a generation chose, or why it cannot go on

OVERTAKE_CHUNKS: Final = 2  # that short prompts may go ahead of the plan's first one, before it gets a chunk


class _StepOver(Exception):
    """A model call has failed: nothing of this step can go on."""

    def __init__(self, choices: list[Choice]) -> None:
        super().__init__()
        self.choices = choices


class Feeder:
    """Makes the model calls of a step. Owner thread only."""

    def __init__(
        self,
        core: Core,
        contexts: ContextManager,
        ledger: Ledger,
        recorder: Recorder,
        config: EngineConfig,
        clock: Clock,
    ) -> None:
        self._core = core
        self._contexts = contexts
        self._ledger = ledger
        self._recorder = recorder
        self._config = config
        self._clock = clock
        self._suspects: set[Pid] = set()  # were in a failed batch: fed alone until they are past it
        self._overtaken = 0  # tokens that short prompts were fed ahead of the plan's first one
        self.costs = Costs()  # what calls have lately taken
        self.core_s = 0.0  # seconds in model calls so far
        self.prefilling: Pid | None = None  # read by other threads, to know whom an abort would hit

    def forget(self, pid: Pid) -> None:
        """`pid` does not run any more."""
        self._suspects.discard(pid)

    def feed(self, running: Running, *, contended: bool) -> Iterator[Choice]:
        """The model calls of one step; choices come while it goes on, and may end generations.

        After a failed call the step is over: whoever it concerns is tried again alone in the next one, or has failed.
        """
        try:
            yield from self._prefill(running, contended)
            yield from self._decode(running, contended)
        except _StepOver as over:
            yield from over.choices

    # --- prompts

    def _prefill(self, running: Running, contended: bool) -> Iterator[Choice]:
        """Feed prompt pieces up to the step's budget."""
        waiting = [(line, job) for line, job in running if line.context.log.next_size > 1]
        budget = prefill_budget(self._config, self.costs, len(waiting), len(running))
        while waiting:
            line, job = entry = self._next_prompt(waiting)
            log = line.context.log
            job.cached += self._contexts.adopt(line.context)
            if log.next_size > budget:
                return
            budget -= log.next_size
            yield from self._prefill_piece(line, job, contended)
            if line.job is not job or log.next_size <= 1:
                waiting.remove(entry)

    def _next_prompt(self, waiting: Running) -> tuple[Line, Job]:
        """The shortest one, so that nobody waits a minute for a first token behind a book; but not for ever ahead of
        the one that the policy has put first."""
        shortest = min(waiting, key=lambda entry: entry[0].context.log.pending)
        if shortest is waiting[0]:
            return shortest
        if self._overtaken >= OVERTAKE_CHUNKS * self._config.chunk:
            self._overtaken = 0
            return waiting[0]
        self._overtaken += shortest[0].context.log.next_size
        return shortest

    def _prefill_piece(self, line: Line, job: Job, contended: bool) -> list[Choice]:
        start, tokens = line.context.log.next_piece()
        self.prefilling = line.pid
        began = self._clock.monotonic()
        try:
            row = self._core.prefill(line.slot, tokens, start)
        except CoreError as error:
            raise _StepOver(self._recover([(line, job)], error)) from error
        finally:
            self.prefilling = None
            took = self._clock.monotonic() - began
            self.core_s += took
        job.prefill_s += took
        job.fed += len(tokens)
        self.costs = self.costs.prefilled(len(tokens), took)
        self._recorder.use(line.slot, line.pid, StepPhase.PREFILL, len(tokens))
        self._ledger.charge(line.pid, PREFILL_COST * len(tokens), line.nice or 0, contended=contended)
        return self._choices([(line, job)], [row])

    # --- tokens

    def _decode(self, running: Running, contended: bool) -> Iterator[Choice]:
        rows = [(line, job) for line, job in running if line.job is job and line.context.log.next_size == 1]
        rows.sort(key=lambda row: row[0].slot)  # only neighbouring sequences share a call
        together = [row for row in rows if row[0].pid not in self._suspects]
        alone = [[row] for row in rows if row[0].pid in self._suspects]
        size, before = self._core.spec.max_batch, self.core_s
        for batch in [*(together[i : i + size] for i in range(0, len(together), size)), *alone]:
            yield from self._decode_batch(batch, contended)
        if rows:
            self.costs = self.costs.decoded(len(rows), self.core_s - before)

    def _decode_batch(self, batch: Running, contended: bool) -> list[Choice]:
        logs = [line.context.log for line, _ in batch]
        seqs, positions = [line.slot for line, _ in batch], [log.fed_tokens for log in logs]
        tokens = [log.tokens[position] for log, position in zip(logs, positions, strict=True)]
        began = self._clock.monotonic()
        try:
            rows = self._core.decode(seqs, tokens, positions)
        except CoreError as error:
            raise _StepOver(self._recover(batch, error)) from error
        finally:
            now = self._clock.monotonic()
            took = now - began
            self.core_s += took
        for line, job in batch:
            job.decode_s += took
            job.fed += not job.produced  # a prompt's last piece may be one token
            line.token_times.append(now)
            self._recorder.use(line.slot, line.pid, StepPhase.DECODE, 1)
            self._ledger.charge(line.pid, 1.0, line.nice or 0, contended=contended)
        # Every row is read before anything else is done with the core: that may end what the rows lie in.
        return self._choices(batch, rows)

    def _choices(self, batch: Running, rows: Logits | list[Logits]) -> list[Choice]:
        """A piece of each is in its KV; where it was the last one its logits choose a token."""
        choices: list[Choice] = []
        for (line, job), row in zip(batch, rows, strict=True):
            self._contexts.fed(line.context)
            log = line.context.log
            if log.pending:
                continue
            self.forget(line.pid)
            try:
                choices.append((line, job, job.choose(row, len(log))))
            except CoreError as error:
                choices.append((line, job, ModelFailed(f"process {line.pid}: {error}", pid=line.pid)))
        return choices

    def _recover(self, batch: Running, error: CoreError) -> list[Choice]:
        """After a failed call: cut what it may have written. Whoever failed alone has failed, others try alone."""
        if isinstance(error, DecodeFailed):
            self._contexts.rebuild()
        else:
            for line, _ in batch:
                self._core.trim(line.slot, line.context.log.fed_tokens)
        if isinstance(error, DecodeAborted):
            return []
        if len(batch) > 1:
            self._suspects.update(line.pid for line, _ in batch)
            return []
        line, job = batch[0]
        failure = ModelFailed(f"process {line.pid}, slot {line.slot}: {error}", pid=line.pid, slot=line.slot)
        return [(line, job, failure)]


def prefill_budget(config: EngineConfig, costs: Costs, num_prefilling: int, num_running: int) -> int:
    """Prompt tokens of a step: whole chunks, as many as take `step_ms`, at least one.

    Twice that while fewer decode than wait for it: decoding few at a time is what costs most when many arrive
    together.
    """
    chunk_s = costs.prefill_s * config.chunk
    chunks = int(config.step_ms / 1e3 / chunk_s) if chunk_s else 1
    return config.chunk * max(1, chunks) * (2 if 2 * num_prefilling > num_running else 1)

"""A step loop by hand: no thread, a scripted core, a clock that stands still."""

from __future__ import annotations

from aios_kernel.core import EngineConfig
from aios_kernel.protocol import Pid
from aios_kernel.scheduler.governor import CpuTimes, Governor
from aios_kernel.scheduler.job import Job
from aios_kernel.scheduler.loop import StepLoop
from aios_kernel.scheduler.request import GenEvent, GenRequest, GenResult, JobId
from aios_kernel.testing import FakeClock, ScriptedCore

WINDOW = 96


class Bench:
    """A step loop over a scripted core, and what came out of it."""

    def __init__(
        self,
        core: ScriptedCore | None = None,
        *,
        slots: int = 2,
        ram_bytes: int = 1 << 20,
        policy: str = "rr",
        clock: FakeClock | None = None,
    ) -> None:
        config = EngineConfig(slots=slots, window=WINDOW, quantum=4, chunk=16, ram_bytes=ram_bytes, policy=policy)
        self.core = core or ScriptedCore(config=config)
        self.clock = clock or FakeClock()
        self.loop = StepLoop(self.core, config, Governor(1, lambda: CpuTimes(0, 0)), self.clock)
        self.events: list[GenEvent] = []
        self.submitted = 0

    def submit(self, pid: int, prompt: str = "go\n", **options: object) -> JobId:
        self.submitted += 1
        request = GenRequest(Pid(pid), tuple(prompt.encode()), **options)  # type: ignore[arg-type]
        self.loop.submit(Job(JobId(self.submitted), request, self.clock.monotonic()))
        return JobId(self.submitted)

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            if self.loop.runnable():
                self.loop.step()
                self.loop.check_invariants()
                self.collect()
                self.clock.advance(0.01)

    def finish(self) -> None:
        self.step(2000)
        assert not self.loop.runnable()

    def collect(self) -> None:
        self.events += self.loop.events
        self.loop.events = []

    def text(self, job: JobId) -> str:
        return "".join(event.text for event in self.events if event.job == job)

    def result(self, job: JobId) -> GenResult:
        return next(event.done for event in self.events if event.job == job and event.done)

    def error(self, job: JobId) -> Exception:
        return next(event.error for event in self.events if event.job == job and event.error)


def alone(prompt: str, max_tokens: int) -> GenResult:
    bench = Bench()
    job = bench.submit(1, prompt, max_tokens=max_tokens, logits_hash=True)
    bench.finish()
    return bench.result(job)

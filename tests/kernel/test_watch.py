"""The live feed: what a frame tells, what it leaves out, and how a watch ends."""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from pathlib import Path

import anyio
import pytest
from daemons import Daemon

from aios_kernel import gpu
from aios_kernel.census import NUM_ENDED
from aios_kernel.client import Stream, frame_of, paths
from aios_kernel.config import Config
from aios_kernel.core import EngineConfig
from aios_kernel.core.llama import LlamaCore
from aios_kernel.daemon import Kernel
from aios_kernel.errors import BadRequest
from aios_kernel.life import Life
from aios_kernel.protocol import Frame, ModelInfo, ProcInfo, ProcState, RunRequest, Signal, StepPhase
from aios_kernel.scheduler.record import NUM_STEPS
from aios_kernel.scheduler.request import GenRequest
from aios_kernel.testing import ScriptedCore
from aios_kernel.watch import Watcher, watch

DEADLINE_S = 20.0
CONFIG = EngineConfig(slots=1, window=8192, policy="fifo", quantum=16)


class Crowd:
    """A kernel over a scripted model, and virtual processes in it that end when told to."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._open: dict[int, contextlib.AsyncExitStack] = {}

    async def begin(self, task: str = "") -> Life:
        stack = contextlib.AsyncExitStack()
        life = await stack.enter_async_context(self.kernel.supervisor.virtual(RunRequest("agent", task)))
        self._open[life.process.pid] = stack
        return life

    async def generate(self, max_tokens: int) -> int:
        """A process whose generation has been submitted."""
        life = await self.begin()
        life.process.generating.append(0)
        engine = self.kernel.llm._engine
        assert engine is not None
        engine.submit(GenRequest(life.process.pid, tuple(b"hello\n"), max_tokens=max_tokens))
        return life.process.pid

    async def end(self, *lives: Life) -> None:
        for life in lives:
            await self._open.pop(life.process.pid).aclose()
        for life in lives:
            await life.over.wait()

    async def close(self) -> None:
        for stack in self._open.values():
            await stack.aclose()
        await self.kernel.close()


@contextlib.asynccontextmanager
async def running(home: Path) -> AsyncIterator[Crowd]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIOS_HOME", str(home))
        where = paths()
    where.make()
    kernel = Kernel(where, Config(engine=CONFIG), 0o77)
    kernel.llm.start(ModelInfo("scripted", "", 0, "path"))
    await kernel.llm.ready()
    crowd = Crowd(kernel)
    try:
        with anyio.fail_after(60):
            yield crowd
    finally:
        await crowd.close()


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home for kernels over a scripted model."""
    monkeypatch.setattr(LlamaCore, "load", lambda _path, config: ScriptedCore(config=config))
    with tempfile.TemporaryDirectory(prefix="aios-") as home:
        yield Path(home)


@pytest.fixture
async def crowd(folder: Path) -> AsyncIterator[Crowd]:
    async with running(folder) as crowd:
        yield crowd


def first(crowd: Crowd) -> tuple[Watcher, Frame]:
    watcher = Watcher(crowd.kernel)
    frame = watcher.frame()
    assert frame is not None
    return watcher, frame


async def until(feed: AsyncGenerator[bytes, None], found: Callable[[Frame], object]) -> Frame:
    """The first frame that has what is looked for."""
    async for event in feed:
        frame = frame_of(json.loads(event.partition(b"data: ")[2]))
        if found(frame):
            return frame
    raise AssertionError("the feed has ended")


@pytest.mark.anyio
async def test_the_first_frame_has_all_and_the_next_what_differs(crowd: Crowd) -> None:
    await crowd.begin("first")
    second = await crowd.begin("second")
    watcher, frame = first(crowd)
    assert [(info.pid, info.task) for info in frame.procs] == [(1, "first"), (2, "second")]
    assert (frame.queue, frame.gone, frame.steps, frame.steps_lost) == ([], [], [], 0)
    assert (frame.status.procs, frame.status.ram_budget) == (2, CONFIG.ram_bytes)
    assert 0 <= frame.host.cpu_percent <= 100
    assert 0 < frame.host.kernel_rss < frame.host.memory_used <= frame.host.memory_total
    assert watcher.frame() is None  # time has passed, and that is all
    await crowd.kernel.supervisor.set_nice(second.process.pid, 5)
    later = watcher.frame()
    assert later is not None
    assert [(info.pid, info.nice) for info in later.procs] == [(2, 5)]
    assert later.queue is None


@pytest.mark.anyio
async def test_steps_and_the_queue_come_as_they_are(crowd: Crowd) -> None:
    feed = await watch(crowd.kernel, 30)
    runs, waits = await crowd.generate(8000), await crowd.generate(8000)
    frame = await until(feed, lambda frame: frame.queue is not None and len(frame.queue) == 2)
    assert frame.queue is not None
    assert [(entry.pid, entry.queue) for entry in frame.queue] == [(runs, "running"), (waits, "ready")]
    steps = [*frame.steps, *(await until(feed, lambda frame: frame.steps)).steps]
    numbers = [step.step for step in steps]
    assert numbers == sorted(set(numbers))
    assert {(use.pid, use.slot) for step in steps for use in step.uses} == {(runs, 0)}
    rows: dict[int, ProcInfo] = {}

    def told(frame: Frame) -> bool:
        rows.update((info.pid, info) for info in frame.procs)
        return {runs, waits} <= rows.keys() and rows[runs].tokens_out > 0 and rows[waits].wait_ms > 1000

    await until(feed, told)
    assert (rows[runs].state, rows[runs].slot) == (ProcState.RUNNING, 0)
    assert (rows[waits].state, rows[waits].reason.split(",")[0]) == (ProcState.READY, f"behind {runs}")


@pytest.mark.anyio
async def test_who_looks_seldom_gets_the_newest_steps_and_the_number_of_the_others(crowd: Crowd) -> None:
    watcher, _ = first(crowd)
    await crowd.generate(NUM_STEPS + 300)
    feed = await watch(crowd.kernel, 30)
    await until(feed, lambda frame: any(info.tokens_out == NUM_STEPS + 300 for info in frame.procs))
    last = crowd.kernel.llm.stats().steps
    frame = watcher.frame()
    assert frame is not None
    assert [step.step for step in frame.steps] == list(range(last - NUM_STEPS + 1, last + 1))
    assert frame.steps_lost == last - NUM_STEPS
    assert first(crowd)[1].steps_lost == 0  # who has just come has lost nothing


@pytest.mark.anyio
async def test_the_ended_stay_until_as_many_newer_ones_have_ended(crowd: Crowd) -> None:
    watcher, _ = first(crowd)
    lives = [await crowd.begin() for _ in range(NUM_ENDED + 1)]
    await crowd.end(lives[0])
    frame = watcher.frame()
    assert frame is not None
    ended = next(info for info in frame.procs if info.pid == 1)
    assert (ended.state, ended.exit_code, ended.os_pid) == (ProcState.EXITED, 0, None)
    assert ended == await crowd.kernel.supervisor.census.info(1)
    await crowd.end(*lives[1:-1])
    frame = watcher.frame()
    assert frame is not None
    assert frame.gone == []
    short = await crowd.begin("begins and ends unseen")
    await crowd.end(lives[-1], short)
    frame = watcher.frame()
    assert frame is not None
    assert ([info.pid for info in frame.procs], frame.gone) == ([NUM_ENDED + 1, NUM_ENDED + 2], [1, 2])


@pytest.mark.anyio
async def test_the_last_that_ended_are_told_of_after_a_restart(folder: Path) -> None:
    async with running(folder) as crowd:
        await crowd.end(*[await crowd.begin(f"task {n}") for n in range(1, NUM_ENDED + 3)])
        before = first(crowd)[1]
    async with running(folder) as crowd:
        await crowd.end(await crowd.begin())
        await crowd.kernel.supervisor.census.recall()
        after = first(crowd)[1]
    assert [info.pid for info in before.procs] == list(range(3, NUM_ENDED + 3))
    assert [info.pid for info in after.procs] == list(range(4, NUM_ENDED + 4))
    assert after.procs[:-1] == before.procs[1:]


# --- over the socket


def frames(stream: Stream) -> Iterator[Frame]:
    """Frames until the stream ends; one that never ends, or shows nothing any more, is closed."""
    timer = threading.Timer(DEADLINE_S, stream.close)
    timer.start()
    try:
        for name, data in stream:
            assert name == "frame"
            yield frame_of(data)
    finally:
        timer.cancel()
        stream.close()


def test_a_pace_that_makes_no_sense_is_refused(daemon: Daemon) -> None:
    for hz in (0.0, -1.0, 1000.0, float("nan")):
        with pytest.raises(BadRequest, match="must be 1 to 30"):
            daemon.client.watch(hz)
    with pytest.raises(BadRequest, match="not a frame"):
        frame_of({"at": 1})


def test_a_process_is_told_of_from_its_start_to_its_end(daemon: Daemon) -> None:
    probe = None
    told: dict[int, list[ProcState]] = {}
    child = 0
    for number, frame in enumerate(frames(daemon.client.watch(30))):
        if probe is None:
            assert number == 0
            probe = daemon.probe()
            child = probe.call("proc.spawn", agent="probe", task="exit 3")["pid"]
        for info in frame.procs:
            told.setdefault(info.pid, []).append(info.state)
        if told.get(child, [])[-1:] == [ProcState.ZOMBIE]:
            daemon.client.signal(probe.pid, Signal.KILL)
        if [told.get(pid, [])[-1:] for pid in (probe.pid, child)] == [[ProcState.EXITED]] * 2:
            break
    assert probe is not None
    assert told[child][-2:] == [ProcState.ZOMBIE, ProcState.EXITED]
    assert told[probe.pid][-1] is ProcState.EXITED
    assert "Traceback" not in daemon.log()


@pytest.mark.model
def test_a_chat_is_seen_at_work(daemon: Daemon) -> None:
    pid = daemon.run("chat Tell me about the sea.")
    phases: set[StepPhase] = set()
    rates: list[float] = []
    rows: list[ProcInfo] = []
    for frame in frames(daemon.client.watch(20)):
        phases |= {use.phase for step in frame.steps for use in step.uses if use.pid == pid}
        rows += [info for info in frame.procs if info.pid == pid]
        rates.append(frame.status.prefill_tok_per_s)
        assert all(step.took_ms > 0 and len(step.uses) for step in frame.steps)
        if rows and rows[-1].state is ProcState.EXITED:
            break
    assert phases == {StepPhase.PREFILL, StepPhase.DECODE}
    assert max(rates) > 0
    assert max(row.tok_per_s for row in rows) > 0
    assert {row.slot for row in rows} >= {0, None}
    assert rows[-1].tokens_out > 0


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "LIBRARY", "libno-such-driver.so.1")
    assert gpu.open_gpu() is None


def test_a_watch_ends_with_the_kernel_and_tells_of_all_ends(fresh: Callable[[], Daemon]) -> None:
    daemon = fresh()
    pid = daemon.probe().pid
    last: ProcState | None = None
    for number, frame in enumerate(frames(daemon.client.watch())):
        last = next((info.state for info in frame.procs if info.pid == pid), last)
        if number == 0:
            assert last is ProcState.RUNNING
            daemon.client.stop()
    assert last is ProcState.EXITED
    assert "Traceback" not in daemon.log()

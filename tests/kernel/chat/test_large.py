"""Large requests hold up nobody else: neither the event loop nor another agent's stream."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from chats import CONFIG, DEADLINE_S, ask, chatting, real_model, run

from aios_kernel.chat import ChatManager
from aios_kernel.chat.manager import LARGE
from aios_kernel.chat.workers import NUM_THREADS, Workers
from aios_kernel.core import EngineConfig
from aios_kernel.errors import BadRequest, PromptTooLong
from aios_kernel.protocol import ChatRequest, Pid, ToolSpec
from aios_kernel.scheduler.engine import Engine
from aios_kernel.testing import ScriptedCore, reply

ME, OTHER = Pid(1), Pid(2)


class Watched(ScriptedCore):
    """Notes in which threads it cuts text into tokens."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(reply("hello"), config)
        self.threads_seen: list[str] = []

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        self.threads_seen.append(threading.current_thread().name)
        return super().tokenize(text, special=special)


def seen(request: ChatRequest) -> list[str]:
    cores: list[Watched] = []

    def load(config: EngineConfig) -> Watched:
        cores.append(Watched(config))
        return cores[0]

    async def use(manager: ChatManager, _: Engine) -> None:
        await manager.chat(ME, request, 0)

    run(load, use, replace(CONFIG, window=1 << 16))
    return cores[0].threads_seen


def test_a_small_prompt_is_made_at_once_and_a_large_one_in_a_thread() -> None:
    assert set(seen(ask("x" * 1_000))) == {"MainThread"}
    assert all(thread.startswith("chat") for thread in seen(ask("x" * LARGE)))


def test_tools_that_were_used_before_need_no_second_grammar(monkeypatch: pytest.MonkeyPatch) -> None:
    from aios_kernel.chat import manager as module

    made: list[str] = []

    def counting(asked: Any) -> str:
        made.append(threading.current_thread().name)
        return real(asked)

    real = module.grammar_of
    monkeypatch.setattr(module, "grammar_of", counting)
    tool = ToolSpec("t", "d", {"type": "object", "properties": {}})

    async def use(manager: ChatManager, _: Engine) -> None:
        for request in (ask("hi", tools=[tool]), ask("ho", tools=[tool]), ask("hi", json_schema={})):
            await manager.chat(ME, request, 0)

    run(lambda config: ScriptedCore(reply("{}"), config), use)
    assert [name.startswith("chat") for name in made] == [True, True]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "integer"}, "maxItems": 10**9},
        {"type": "string", "minLength": 10**9},
        {"type": "object", "properties": {f"p{n}": {"type": "string", "maxLength": 1_000} for n in range(300)}},
        {"enum": ["x" * 1_000_000]},
    ],
)
def test_a_schema_that_would_fill_the_memory_is_refused_at_once(schema: dict[str, Any]) -> None:
    async def use(manager: ChatManager, _: Engine) -> None:
        with pytest.raises(BadRequest, match="the grammar of this JSON Schema is too large"):
            await asyncio.wait_for(manager.chat(ME, ask("hi", json_schema=schema), 0), 5)

    run(lambda config: ScriptedCore(reply("1"), config), use)


def test_one_key_has_one_thread_even_when_it_goes_away() -> None:
    async def main() -> None:
        workers = Workers()
        gate, running = threading.Event(), []

        def work() -> int:
            running.append(1)
            gate.wait(DEADLINE_S)
            return len(running)

        first = asyncio.create_task(workers.run(1, work))
        others = [asyncio.create_task(workers.run(key, work)) for key in range(2, NUM_THREADS)]
        await asyncio.sleep(0)
        first.cancel()
        again = [asyncio.create_task(workers.run(1, lambda: 0)) for _ in range(8)]
        with pytest.raises(asyncio.CancelledError):
            await first
        done, _ = await asyncio.wait(again, timeout=0.1)
        assert not done  # the cancelled one still has the thread
        gate.set()
        assert await asyncio.gather(*again) == [0] * 8
        await asyncio.gather(*others)
        assert len(running) == NUM_THREADS - 1
        await workers.close()

    asyncio.run(asyncio.wait_for(main(), DEADLINE_S))


def test_closing_waits_for_what_runs() -> None:
    async def main() -> None:
        workers, gate, ends = Workers(), threading.Event(), []

        def work() -> None:
            gate.wait(DEADLINE_S)
            ends.append("work")

        running = asyncio.create_task(workers.run(1, work))
        await asyncio.sleep(0)
        running.cancel()
        closing = asyncio.create_task(workers.close())
        await asyncio.wait([closing], timeout=0.1)
        gate.set()
        await closing
        assert ends == ["work"]

    asyncio.run(asyncio.wait_for(main(), DEADLINE_S))


def test_a_thread_that_raises_raises_where_it_is_waited_for() -> None:
    async def main() -> None:
        workers = Workers()
        with pytest.raises(ZeroDivisionError):
            await workers.run(1, lambda: 1 // 0)
        assert await workers.run(1, lambda: 1) == 1
        await workers.close()

    asyncio.run(main())


@pytest.mark.model
def test_a_large_prompt_does_not_hold_up_another_agents_stream() -> None:
    """Three megabytes in twelve prompts are refused while another streams. Its longest gap between two texts is
    compared with its own median: on the event loop each prompt would be a gap of some fifteen times the median."""
    huge = ChatRequest([{"role": "user", "content": "All work and no play makes Jack a dull boy. " * 5_700}])

    async def main() -> tuple[list[float], int]:
        async with chatting(real_model) as (manager, _):
            times: list[float] = []
            streaming = asyncio.Event()

            def on_delta(_: str) -> None:
                times.append(time.perf_counter())
                if len(times) == 20:
                    streaming.set()

            stream = asyncio.create_task(manager.chat(ME, ask("Tell me about the sea.", max_tokens=400), 0, on_delta))
            stream.add_done_callback(lambda _: streaming.set())
            await streaming.wait()
            began = len(times)
            for _ in range(12):
                with pytest.raises(PromptTooLong) as caught:
                    await manager.chat(OTHER, huge, 0)
                assert caught.value.data["tokens"] > 50_000
            ended = len(times)
            await stream
            return times, ended - began

    times, meanwhile = asyncio.run(asyncio.wait_for(main(), DEADLINE_S))
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert meanwhile > 10
    assert max(gaps) < 10 * statistics.median(gaps)

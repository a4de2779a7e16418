"""llm.chat: messages in, reply out, over the engine. Lives on the event loop."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from aios_kernel.chat import summary
from aios_kernel.chat.conversation import Conversation, Memory, begun
from aios_kernel.chat.fitting import Fit, Fitting
from aios_kernel.chat.generations import Generations, Show, show_nothing
from aios_kernel.chat.grammar import grammar_of
from aios_kernel.chat.reply import read_reply
from aios_kernel.chat.request import Ask, check, overflow, sampling
from aios_kernel.chat.tools import CallFilter
from aios_kernel.chat.workers import Workers
from aios_kernel.clock import Clock, SystemClock
from aios_kernel.core import ModelSpec, SamplingParams
from aios_kernel.protocol import ChatReply, ChatRequest, Overflow, Pid, PolicyClass
from aios_kernel.scheduler.engine import Engine
from aios_kernel.scheduler.request import GenEvent, GenRequest, GenResult

if TYPE_CHECKING:
    from aios_kernel.chat.prompt import Renderer

T = TypeVar("T")
Grant = Callable[[int], AbstractContextManager[int]]

# Bytes of a request, as JSON, beyond which a thread prepares it: the embedded model's tokenizer takes 9 ms for so many,
# about a decode step; the way to a thread and back takes 0.13 ms.
LARGE: Final = 16_384

MAX_KEPT: Final = 128  # conversations of ended processes; memory for their contexts mostly ends before that

NUM_GRAMMARS: Final = 64  # kept, of at most 200 kB each

_SUMMARY: Final = SamplingParams(repeat_penalty=1.1)  # without it a small model falls into circles


class ChatManager:
    """Renders messages, runs the generation, reads the reply. Event loop only; `deliver` is called there too."""

    def __init__(
        self, engine: Engine, *, clock: Clock | None = None, overflow: Overflow = Overflow.DROP_OLDEST
    ) -> None:
        """overflow: what to do with a prompt that outgrows the window where the request does not say."""
        self._engine = engine
        self._clock = clock or SystemClock()
        self._overflow = overflow
        self._generations = Generations(engine)
        self._memories: dict[Pid, Memory] = {}
        self._kept: OrderedDict[bytes, tuple[Pid, Memory]] = OrderedDict()  # of ended processes; the last is the newest
        self._workers = Workers()
        self._grammars: dict[bytes, str] = {}  # by what they are made of; the last used one is the last
        self._renderer: Renderer | None = None

    async def chat(
        self,
        pid: Pid,
        request: ChatRequest,
        nice: int,
        on_delta: Show = show_nothing,
        program: Pid | None = None,
        *,
        policy_class: PolicyClass = PolicyClass.NORMAL,
        on_window: Show = show_nothing,
        grant: Grant = nullcontext,
    ) -> ChatReply:
        """One turn of `pid`. Waits for the model if it still loads; cancelling the task cancels the generation.

        Args:
            nice, program, policy_class: see GenRequest.
            on_delta: gets the reply's text as it comes, tool calls left out.
            on_window: is told what was done to make the prompt fit the window, before the reply begins.
            grant: how many of so many more tokens may be produced, beside those of the reply. Raises LimitHit.

        Raises: BadRequest (and PromptTooLong), ModelFailed, ModelBroken, KernelStopping.
        """
        ready = self._engine.ready
        spec = ready.result() if ready.done() else await asyncio.shield(asyncio.wrap_future(ready))
        policy, params = overflow(request, self._overflow), sampling(request)
        memory, renderer = self._memory(pid), self._rendering(spec)
        large = len(msgspec.json.encode(request, enc_hook=str)) > LARGE
        ask = await self._run(pid, partial(check, request), apart=large)
        grammar = await self._grammar(pid, ask)
        base = GenRequest(pid=pid, prompt=(), nice=nice, policy_class=policy_class, program=program)
        fitting = Fitting(ask, memory, renderer, spec.window, request.max_tokens)
        fit = await self._fit(base, fitting, policy, grant, apart=large)
        if fit.news is not None:
            on_window(fit.news)
        calls = CallFilter() if ask.tools else None
        if calls is not None:
            calls.feed(ask.given)
        with memory.holding(begun(request, ask, fit)) as conversation:
            result = await self._generations.run(
                replace(
                    base,
                    prompt=(*fit.prompt.tokens, *fit.prompt.given),
                    params=params,
                    grammar=grammar,
                    head=fit.prompt.head,
                    accepted=len(fit.prompt.given),
                    stop=tuple(request.stop),
                    max_tokens=request.max_tokens,
                    logits_hash=request.logits_hash,
                ),
                on_delta if calls is None else lambda text: _show(on_delta, calls.feed(text)),
            )
            conversation.end(result, self._engine.tokenize)
        if calls is not None:
            _show(on_delta, calls.flush())
        return read_reply(ask, result, fit.news)

    async def _grammar(self, pid: Pid, ask: Ask) -> str | None:
        """What the reply must follow. Making it takes some milliseconds a tool, and agents ask for the same again."""
        if ask.json_schema is None and not ask.tools:
            return None
        key = msgspec.json.encode((ask.json_schema, ask.tools, ask.must_call), enc_hook=str)
        grammar = self._grammars.pop(key, "") or await self._run(pid, partial(grammar_of, ask), apart=True)
        self._grammars[key] = grammar
        if len(self._grammars) > NUM_GRAMMARS:
            del self._grammars[next(iter(self._grammars))]
        return grammar

    async def _fit(self, base: GenRequest, fitting: Fitting, policy: Overflow, grant: Grant, *, apart: bool) -> Fit:
        """A prompt that fits the window. Raises PromptTooLong."""
        pid, memory = base.pid, fitting.memory
        if policy is Overflow.REFUSE:
            return await self._run(pid, fitting.whole, apart=apart)
        fit = await self._run(pid, fitting.as_before, apart=apart)
        if fitting.fits(fit):
            return fit
        shorter = await self._run(pid, partial(fitting.shorter, fit), apart=True)
        if shorter.units and policy is Overflow.SUMMARISE:
            shorter = await self._summarise(base, fitting, shorter, grant)
        if shorter.forgotten is not None:
            memory.keep(shorter.forgotten, fit.forgotten)
        return shorter

    async def _summarise(self, base: GenRequest, fitting: Fitting, fit: Fit, grant: Grant) -> Fit:
        """`fit` with a summary of what it leaves out, which the process's own generations make; as it is without one,
        the news telling why."""

        async def reply_to(ask: Ask) -> GenResult:
            prompt = await self._run(base.pid, partial(fitting.renderer.prompt, ask, Memory()), apart=True)
            with grant(summary.max_tokens(fitting.window)) as max_tokens:
                return await self._generations.run(
                    replace(base, prompt=tuple(prompt.tokens), params=_SUMMARY, max_tokens=max_tokens)
                )

        assert fit.forgotten is not None
        try:
            pieces = await self._run(base.pid, partial(fitting.pieces, fit), apart=True)
            result = await summary.summarise(pieces, fit.forgotten.summary, reply_to)
            return await self._run(base.pid, partial(fitting.summarised, fit, result), apart=True)
        except summary.NoSummary as error:
            return replace(fit, news=f"{fit.news} ({error})")

    def conversation(self, pid: Pid, image_tokens: Sequence[int]) -> Conversation | None:
        """What `pid` says to the model and gets, or last did; None when it never has.

        image_tokens: its context as captured; of a reply under way it holds what there was of it then.
        """
        memory = self._memories.get(pid)
        return memory.conversation(image_tokens, self._engine.piece) if memory is not None else None

    def plant(self, pid: Pid, conversation: Conversation) -> None:
        """Make it what `pid` last said and got: its next chat reuses these tokens, and leaves out what it left out."""
        self._memory(pid).plant(conversation)

    def release(self, pid: Pid, keep: bytes | None = None) -> Future[None]:
        """The process has ended: forget it, here and in the engine. The future resolves when the engine has.

        keep: a name under which what it said, and its context, are kept for `inherit`; the least recent ones go.
        """
        memory = self._memories.pop(pid, None)
        if keep is None or memory is None:
            return self._engine.release(pid)
        dropped = self._kept.pop(keep, None)
        self._kept[keep] = pid, memory
        if len(self._kept) > MAX_KEPT:
            _, dropped = self._kept.popitem(last=False)
        if dropped is not None:
            self._engine.release(dropped[0])
        return self._engine.release(pid, keep=True)

    def inherit(self, pid: Pid, names: Iterable[bytes]) -> None:
        """`pid`, which has said nothing yet, goes on with the first of `names` that is kept, if one is."""
        name = next((name for name in names if name in self._kept), None)
        if name is not None:
            former, self._memories[pid] = self._kept.pop(name)
            self._engine.inherit(pid, former)

    def deliver(self, events: list[GenEvent]) -> None:
        """Hand the engine's events to the chats that wait for them."""
        self._generations.deliver(events)

    async def close(self) -> None:
        """Wait for the threads that use the model. The engine must still be there, and be closed after this."""
        await self._workers.close()

    def _memory(self, pid: Pid) -> Memory:
        return self._memories.get(pid) or self._memories.setdefault(pid, Memory())

    def _rendering(self, spec: ModelSpec) -> Renderer:
        if self._renderer is None:
            from aios_kernel.chat.prompt import Renderer  # late: jinja2, which the engine's thread has loaded
            from aios_kernel.chat.template import ChatTemplate

            template = ChatTemplate(spec.chat_template, bos=spec.bos, eos=spec.eos, clock=self._clock)
            self._renderer = Renderer(spec, template, self._engine.tokenize)
        return self._renderer

    async def _run(self, pid: Pid, work: Callable[[], T], *, apart: bool) -> T:
        return await self._workers.run(pid, work) if apart else work()


def _show(on_delta: Show, text: str) -> None:
    if text:
        on_delta(text)

"""llm.chat: messages in, reply out, over the engine. Lives on the event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aios_kernel.chat.grammar import call_grammar, json_grammar
from aios_kernel.chat.tools import CallFilter, function_form, parse_calls, with_protocol
from aios_kernel.clock import Clock, SystemClock
from aios_kernel.core import ModelSpec, SamplingParams
from aios_kernel.errors import BadRequest, ModelFailed
from aios_kernel.protocol import ChatReply, ChatRequest, Pid, ToolSpec
from aios_kernel.scheduler.engine import Engine
from aios_kernel.scheduler.request import GenEvent, GenRequest, GenResult, JobId

if TYPE_CHECKING:
    from aios_kernel.chat.template import ChatTemplate

ROLES: Final = ("system", "user", "assistant", "tool")
RANDOM_SEED: Final = 0xFFFF_FFFF  # to llama.cpp this one means: another each time


@dataclass(slots=True)
class _Waiting:
    """A generation that a chat waits for."""

    done: asyncio.Future[GenResult]
    show: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Prompt:
    text: str
    tokens: list[int]
    tools: Sequence[ToolSpec]  # those the reply may call
    grammar: str | None


@dataclass(slots=True)
class _Spoken:
    """A process's last prompt and reply, as text and as the tokens they really were."""

    text: str = ""
    tokens: list[int] = field(default_factory=list)


class ChatManager:
    """Renders messages, runs the generation, reads the reply. Event loop only; `deliver` is called there too."""

    def __init__(self, engine: Engine, *, clock: Clock | None = None) -> None:
        self._engine = engine
        self._clock = clock or SystemClock()
        self._waiting: dict[JobId, _Waiting] = {}
        self._spoken: dict[Pid, _Spoken] = {}
        self._template: ChatTemplate | None = None

    async def chat(
        self,
        pid: Pid,
        request: ChatRequest,
        nice: int,
        on_delta: Callable[[str], None] = lambda _text: None,
        program: Pid | None = None,
    ) -> ChatReply:
        """One turn of `pid`. Waits for the model if it still loads; cancelling the task cancels the generation.

        on_delta gets the reply's text as it comes, tool calls left out. program: see GenRequest.
        Raises: BadRequest (and PromptTooLong), ModelFailed, ModelBroken, KernelStopping.
        """
        ready = self._engine.ready
        spec = ready.result() if ready.done() else await asyncio.shield(asyncio.wrap_future(ready))
        prompt = self._prepare(pid, request, spec)
        calls = CallFilter() if prompt.tools else None
        result = await self._generate(
            GenRequest(
                pid=pid,
                prompt=tuple(prompt.tokens),
                params=_sampling(request),
                grammar=prompt.grammar,
                stop=tuple(request.stop),
                max_tokens=request.max_tokens,
                nice=nice,
                program=program,
                logits_hash=request.logits_hash,
            ),
            on_delta if calls is None else lambda text: _show(on_delta, calls.feed(text)),
        )
        if calls is not None:
            _show(on_delta, calls.flush())
        if result.cut:
            self._spoken[pid] = _Spoken(prompt.text, prompt.tokens)
        else:
            self._spoken[pid] = _Spoken(prompt.text + result.text, [*prompt.tokens, *result.tokens])
        return _reply(request, prompt, result)

    def release(self, pid: Pid) -> Future[None]:
        """The process has ended: forget it, here and in the engine. The future resolves when the engine has."""
        self._spoken.pop(pid, None)
        return self._engine.release(pid)

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

    async def _generate(self, request: GenRequest, show: Callable[[str], None]) -> GenResult:
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

    def _prepare(self, pid: Pid, request: ChatRequest, spec: ModelSpec) -> _Prompt:
        if self._template is None:
            from aios_kernel.chat.template import ChatTemplate  # late: jinja2, which the engine's thread has loaded

            self._template = ChatTemplate(spec.chat_template, bos=spec.bos, eos=spec.eos, clock=self._clock)
        messages = _checked(request.messages)
        tools, required = _choice(request)
        if self._template.has_tools:
            native = [_native(message) for message in messages]
            text = self._template.render(native, [function_form(tool) for tool in tools])
        else:
            text = self._template.render(with_protocol(messages, tools))
        if spec.add_bos and not text.startswith(spec.bos):
            text = spec.bos + text
        grammar = None
        if request.json_schema is not None:
            grammar = json_grammar(request.json_schema)
        elif tools:
            grammar = call_grammar(tools, text_allowed=not required)
        return _Prompt(text, self._tokens(pid, text), tools, grammar)

    def _tokens(self, pid: Pid, text: str) -> list[int]:
        """Tokens of `text`. What the process's last turn fed or produced keeps its tokens, so that its KV is reused:
        text cut anew may give other tokens than those the model produced."""
        spoken = self._spoken.get(pid)
        if spoken is None or not spoken.text or not text.startswith(spoken.text):
            return self._engine.tokenize(text)
        return spoken.tokens + self._engine.tokenize(text[len(spoken.text) :])


def _sampling(request: ChatRequest) -> SamplingParams:
    if not 0 <= request.temperature <= 10:
        raise BadRequest(f"temperature = {request.temperature}: must be 0 to 10", key="temperature")
    if not 0 <= request.seed < RANDOM_SEED:
        raise BadRequest(f"seed = {request.seed}: must be 0 to {RANDOM_SEED - 1}", key="seed")
    return SamplingParams(
        temperature=request.temperature,
        top_k=request.top_k,
        top_p=request.top_p,
        min_p=request.min_p,
        repeat_penalty=request.repeat_penalty,
        seed=request.seed,
    )


def _checked(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages with a known role and text content. Raises BadRequest that says which is not."""
    if not messages:
        raise BadRequest("messages: at least one is needed", key="messages")
    checked = []
    for index, message in enumerate(messages):
        content = message.get("content")
        if message.get("role") not in ROLES:
            raise BadRequest(f"messages[{index}].role: must be one of {', '.join(ROLES)}", key="messages")
        if isinstance(content, list) and all(isinstance(part, dict) and "text" in part for part in content):
            content = "".join(str(part["text"]) for part in content)
        if content is not None and not isinstance(content, str):
            raise BadRequest(f"messages[{index}].content: must be text", key="messages")
        for call in message.get("tool_calls") or ():
            if not isinstance(call, dict) or not {"name", "arguments"} <= call.keys():
                raise BadRequest(f"messages[{index}].tool_calls: each needs name and arguments", key="messages")
        checked.append({**message, "content": content or "", "tool_calls": message.get("tool_calls") or []})
    return checked


def _choice(request: ChatRequest) -> tuple[Sequence[ToolSpec], bool]:
    """(tools the reply may call, whether it must call one)."""
    if request.tool_choice == "none" or (not request.tools and request.tool_choice == "auto"):
        return (), False
    if request.json_schema is not None and request.tools:
        raise BadRequest("json_schema and tools exclude each other", key="json_schema")
    if request.tool_choice in ("auto", "required"):
        if not request.tools:
            raise BadRequest("tool_choice is required, but there are no tools", key="tool_choice")
        return request.tools, request.tool_choice == "required"
    chosen = [tool for tool in request.tools if tool.name == request.tool_choice]
    if not chosen:
        accepted = ["auto", "none", "required", *(tool.name for tool in request.tools)]
        raise BadRequest(
            f"tool_choice {request.tool_choice!r}: must be one of {', '.join(accepted)}", key="tool_choice"
        )
    return chosen, True


def _native(message: dict[str, Any]) -> dict[str, Any]:
    """A message as templates with tools expect it."""
    calls = [
        {"type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
        for call in message["tool_calls"]
    ]
    rest = {key: value for key, value in message.items() if key != "tool_calls"}
    return {**rest, "tool_calls": calls} if calls else rest


def _show(on_delta: Callable[[str], None], text: str) -> None:
    if text:
        on_delta(text)


def _reply(request: ChatRequest, prompt: _Prompt, result: GenResult) -> ChatReply:
    earlier = sum(len(message.get("tool_calls") or ()) for message in request.messages)
    text, calls = parse_calls(result.text, earlier + 1) if prompt.tools else (result.text, [])
    if request.json_schema is not None and result.finish_reason == "stop" and not result.cut:
        _check_json(text, request.json_schema)
    return ChatReply(
        text=text,
        tool_calls=calls,
        finish_reason="tool_calls" if calls and result.finish_reason == "stop" else result.finish_reason,
        tokens_in=result.tokens_in,
        tokens_cached=result.tokens_cached,
        tokens_out=len(result.tokens),
        wait_ms=result.wait_ms,
        prefill_ms=result.prefill_ms,
        decode_ms=result.decode_ms,
        exact=result.exact,
        logits_hash=result.logits_hash,
    )


def _check_json(text: str, schema: dict[str, Any]) -> None:
    """The grammar knows not every keyword of JSON Schema (multipleOf, say); a reply that breaks one is an error."""
    import jsonschema  # late: 60 ms, and few ask for JSON

    try:
        jsonschema.validate(json.loads(text), schema)
    except (ValueError, jsonschema.ValidationError) as error:
        reason = error.message if isinstance(error, jsonschema.ValidationError) else str(error)
        raise ModelFailed(f"the reply does not validate: {reason}") from error

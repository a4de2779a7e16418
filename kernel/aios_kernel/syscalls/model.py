"""llm.*"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from aios_kernel.access.need import Kind, Need
from aios_kernel.journal import KEPT_CHAT_BYTES
from aios_kernel.life import Life
from aios_kernel.llm import Llm
from aios_kernel.process import Process
from aios_kernel.protocol import ChatReply, ChatRequest, EventKind, ProcState
from aios_kernel.syscalls.table import OnDelta, Syscall


class ModelSyscalls:
    def __init__(self, llm: Llm) -> None:
        self._llm = llm

    def rows(self) -> dict[str, Syscall]:
        return {
            "llm.chat": Syscall(
                ChatRequest,
                self._chat,
                _use,
                ProcState.READY,
                streams=True,
                effects=False,
                kept_bytes=KEPT_CHAT_BYTES,
            )
        }

    async def _chat(self, life: Life, request: ChatRequest, on_delta: OnDelta) -> ChatReply:
        process = life.process

        def on_window(text: str) -> None:
            process.window = text
            life.log.append_nowait(EventKind.WINDOW, text.encode())

        with process.granted(request.max_tokens) as max_tokens:
            return await self._llm.chat(
                process.pid,
                dataclasses.replace(request, max_tokens=max_tokens),
                process.nice,
                on_delta,
                process.program,
                policy_class=process.policy_class,
                on_window=on_window,
                grant=process.granted,
            )


def _use(process: Process, _: ChatRequest) -> Sequence[Need]:
    return (Need("use", Kind.MODEL, process.model),)

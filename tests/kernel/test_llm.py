"""The model side, with the embedded model."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from aios_kernel import models
from aios_kernel.clock import SystemClock
from aios_kernel.core import EngineConfig
from aios_kernel.llm import Llm
from aios_kernel.protocol import ModelInfo, Pid
from aios_kernel.scheduler.request import Phase

pytestmark = [pytest.mark.model, pytest.mark.anyio]


@pytest.fixture
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelInfo:
    nowhere = tmp_path_factory.mktemp("nowhere")
    return models.find(nowhere, {}, nowhere)[0]


@pytest.fixture
async def llm(model: ModelInfo) -> AsyncIterator[Llm]:
    llm = Llm(EngineConfig(slots=2, window=256), SystemClock())
    llm.start(model)
    yield llm
    await llm.close()


async def test_a_process_that_is_suspended_is_so_for_the_next_model_too(llm: Llm, model: ModelInfo) -> None:
    await llm.suspend(Pid(1))  # while the model loads
    await llm.ready()
    for pid in (2, 3, 4):
        await llm.suspend(Pid(pid))
    await llm.resume(Pid(3))
    await llm.release(Pid(4))
    await llm.use(model)
    await llm.set_sched("rr", None)  # what the engine was told before is done when this is
    phases = [llm.usage(Pid(pid)).phase for pid in (1, 2, 3, 4)]
    assert phases == [Phase.SUSPENDED, Phase.SUSPENDED, Phase.IDLE, Phase.IDLE]
    await llm.resume(Pid(1))
    assert llm.usage(Pid(1)).phase is Phase.IDLE

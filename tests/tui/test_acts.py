"""What verbs become when several processes are marked."""

from __future__ import annotations

import pytest
from factories import proc
from textual.screen import Screen

from aios_kernel.client import KernelClient
from aios_shell.tui.acts import Acts
from aios_shell.tui.messages import Act, Notice, Run

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("pids", "name", "lines"),
    [
        ((3,), "one", ["snap save 3 --name one"]),
        ((3, 4), "one", ["snap save 3 --name one-3", "snap save 4 --name one-4"]),
        ((3, 4), "", ["snap save 3", "snap save 4"]),
        ((3, 4), None, []),
    ],
)
async def test_each_context_is_saved_under_a_name_of_its_own(
    pids: tuple[int, ...], name: str | None, lines: list[str]
) -> None:
    posted: list[Notice | Run] = []

    async def answer(_screen: Screen[str | None]) -> str | None:
        return name

    acts = Acts(KernelClient("/nowhere"), {pid: proc(pid) for pid in pids}, answer, posted.append)
    await acts.perform(Act("save", pids))
    assert [event.line for event in posted if isinstance(event, Run)] == lines

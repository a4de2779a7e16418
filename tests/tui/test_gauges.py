"""The line of gauges: what it tells, and what it leaves out when there is little room."""

from __future__ import annotations

from pathlib import Path

import pytest
from factories import host, live, proc, status
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.style import Style
from textual.app import ComposeResult
from textual.geometry import Region

from aios_shell.tui.glyphs import glyphs
from aios_shell.tui.live import Link, Live
from aios_shell.tui.themes import Themed
from aios_shell.tui.widgets.gauges import GAP, Gauge, Gauges, fitting

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No theme or setting of whoever runs the tests."""
    monkeypatch.setenv("AIOS_HOME", str(tmp_path))
    monkeypatch.delenv("NO_COLOR", raising=False)


class Host(Themed):
    """An app of nothing but the gauges."""

    def __init__(self, told: Live) -> None:
        super().__init__()
        self.gauges = Gauges(told)

    def compose(self) -> ComposeResult:
        yield self.gauges


async def picture(told: Live, width: int, height: int = 24) -> list[str]:
    app = Host(told)
    async with app.run_test(size=(width, height)):
        app.gauges.show()
        return [strip.text for strip in app.gauges.render_lines(Region(0, 0, *app.gauges.size))]


async def test_a_large_terminal_has_everything_on_two_lines() -> None:
    told = live(proc(12, slot=0), proc(13, slot=2), host=host(gpu="one", gpu_percent=5.0))
    upper, lower = await picture(told, 140, 40)
    held, free = glyphs().held, glyphs().free
    for words in (
        "SmolLM2-135M-Instruct.Q4_1",
        "plas",
        "exact",
        f"slots {held}{free}{held}{free}",
        "96 tok/s",
        "210 prefill",
    ):
        assert words in upper
    for words in ("KV 49.0 MB", "RAM", "400 MB", "DISK", "1.0 GB", "CPU", "73%", "MEM", "25%", "GPU", "5%"):
        assert words in lower


async def test_a_narrow_one_keeps_what_matters_most() -> None:
    assert "plas" in (await picture(live(), 60))[0]
    (line,) = await picture(live(), 20)
    assert "96 tok/s" in line
    assert "CPU" not in line


async def test_a_gpu_that_is_not_there_has_no_gauge() -> None:
    assert "GPU" not in "".join(await picture(live(), 200, 40))


async def test_a_kernel_that_went_away_is_told_of_first() -> None:
    told = live()
    told.link, told.note = Link.LOST, "kernel went away; trying again in 2 s"
    for width in (40, 100):
        assert (await picture(told, width))[0].startswith(" kernel went away")


async def test_before_the_first_word_of_a_kernel_the_link_is_all_there_is() -> None:
    assert (await picture(Live(link=Link.CONNECTING), 80))[0].strip() == "connecting"


async def test_a_model_that_loads_or_failed_says_so() -> None:
    for state in ("loading", "failed: no such file"):
        assert state in (await picture(live(status=status(model_state=state)), 140))[0]


async def test_fast_mode_and_many_slots_are_named() -> None:
    (line,) = await picture(live(status=status(exact=False, slots=64, slots_used=12)), 140)
    assert "fast" in line
    assert "slots 12/64" in line


async def test_the_sparkline_takes_what_is_left() -> None:
    told = live()
    told.totals.extend((0.0, float(rate)) for rate in range(1, 60))
    for width, shown in ((20, True), (30, False), (48, True)):
        (line,) = await picture(told, width)
        assert cell_len(line) == width
        assert line.rstrip().endswith(glyphs().sparks[-1] if shown else "tok/s")


async def test_the_second_line_comes_and_goes_with_the_room() -> None:
    app = Host(live())
    async with app.run_test(size=(119, 40)) as pilot:
        assert app.gauges.size.height == 1
        for size, lines in (((120, 40), 2), ((120, 29), 1), ((300, 50), 2), ((20, 50), 1)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert app.gauges.size.height == lines


async def test_a_model_named_by_a_hostile_file_is_harmless() -> None:
    lines = await picture(live(status=status(model="\x1b[2J日本\n.gguf", policy="a\x07b")), 140, 40)
    assert not set("\x1b\x07\n") & set("".join(lines))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 12)), max_size=8), st.integers(0, 60))
def test_what_fits_is_in_order_and_what_is_left_out_ranks_last(drawn: list[tuple[int, int]], width: int) -> None:
    gauges = [Gauge(rank, (("x" * size, Style()),)) for rank, size in drawn]
    kept = fitting(gauges, width)
    assert sum(gauge.width + GAP for gauge in kept) - GAP <= max(width, 0)
    rest = iter(gauges)
    assert all(any(gauge == other for other in rest) for gauge in kept)
    left = [gauge.rank for gauge in gauges]
    for gauge in kept:
        left.remove(gauge.rank)
    assert not left or not kept or min(left) >= max(gauge.rank for gauge in kept)

"""The first line: the model and how it runs, tokens a second, memory budgets, the machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.cells import cell_len
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from aios_kernel.protocol import HostInfo, KernelStatus
from aios_shell import render
from aios_shell.text import one_line
from aios_shell.tui.drawing import BOLD, DIM, PLAIN, Part, cut, strip
from aios_shell.tui.glyphs import bar, glyphs, spark
from aios_shell.tui.live import Link, Live
from aios_shell.tui.palette import Colors

TWO_LINES: Final = Size(120, 30)  # of the terminal, from which there is a second line
GAP: Final = 3
BAR: Final = 6
MIN_SPARK, MAX_SPARK = 6, 32
MAX_MODEL: Final = 28
MAX_DRAWN_SLOTS: Final = 16
NEARLY_FULL: Final = 0.9
_MARGIN: Final = 1


@dataclass(frozen=True, slots=True)
class Gauge:
    """Some parts that are shown together, or not at all."""

    rank: int  # the higher, the sooner it is left out
    parts: tuple[Part, ...]

    @property
    def width(self) -> int:
        return sum(cell_len(text) for text, _ in self.parts)


def fitting(gauges: Iterable[Gauge], width: int) -> list[Gauge]:
    """Those that have room, in order; what is left out is what ranks last."""
    kept = list(gauges)
    while kept and sum(gauge.width + GAP for gauge in kept) - GAP > width:
        kept.remove(max(kept, key=lambda gauge: gauge.rank))
    return kept


class Gauges(Widget):
    """What the kernel and the machine do, at a glance."""

    ALLOW_SELECT: ClassVar[bool] = False
    DEFAULT_CSS = "Gauges { height: auto; }"

    def __init__(self, live: Live) -> None:
        super().__init__()
        self._live = live
        self._lines: list[Sequence[Part]] = []
        self._colors: Colors | None = None

    def show(self) -> None:
        lines = self._made()
        if lines != self._lines:
            self._lines = lines
            self.refresh()

    def on_resize(self) -> None:
        self.show()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002 -- Textual's
        return 2 if viewport.width >= TWO_LINES.width and viewport.height >= TWO_LINES.height else 1

    def render_lines(self, crop: Region) -> list[Strip]:
        if Colors.of(self.app) is not self._colors:  # the theme is another one
            self._colors = Colors.of(self.app)
            self._lines = self._made()
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        return strip(self._lines[y] if y < len(self._lines) else (), self.size.width, self.rich_style)

    def _made(self) -> list[Sequence[Part]]:
        colors, live = Colors.of(self.app), self._live
        width = self.size.width - 2 * _MARGIN
        link = _link(live, colors, width)
        upper: list[Gauge] = [link] if link else []
        lower: list[Gauge] = []
        if live.status is not None:
            upper += [*_engine(live.status, colors), _slots(live, live.status, colors), *_rates(live.status, colors)]
            lower += _budgets(live.status, colors)
        if live.host is not None:
            lower += _machine(live.host, colors)
        rows = [upper, lower] if self.size.height > 1 else [upper + lower]
        stale = live.link is Link.LOST
        return [self._line(fitting(row, width), width, stale=stale) for row in rows]

    def _line(self, gauges: list[Gauge], width: int, *, stale: bool) -> Sequence[Part]:
        """The gauges with the same space between them; a sparkline takes what is left."""
        spare = width - sum(gauge.width + GAP for gauge in gauges) + GAP
        parts: list[Part] = [(" " * _MARGIN, PLAIN)]
        for n, gauge in enumerate(gauges):
            dim = DIM if stale and n else PLAIN
            parts += [(" " * GAP, PLAIN)] if n else []
            parts += [(text, style + dim) for text, style in gauge.parts]
            if gauge.rank == DECODE and spare > MIN_SPARK:
                parts += self._spark(min(spare - 1, MAX_SPARK), dim)
        return parts

    def _spark(self, width: int, dim: Style) -> list[Part]:
        """Tokens produced a second, over the last minute or so."""
        colors = Colors.of(self.app)
        values = [decode for _, decode in self._live.totals][-width:]
        top = max(values, default=0.0)
        drawn = spark(values, width, top)
        levels = [0.0] * (width - len(values)) + [value / top if top else 0.0 for value in values]
        return [(" ", PLAIN), *((char, colors.spark(level) + dim) for char, level in zip(drawn, levels, strict=True))]


# Ranks: the lower, the longer it stays when the terminal grows narrow.
LINK, DECODE, SLOTS, POLICY, MODEL, CPU, RAM, KV, MEMORY, MODE, PREFILL, GPU, DISK = range(13)


def _link(live: Live, colors: Colors, width: int) -> Gauge | None:
    """How it stands with the kernel, unless all is well."""
    if live.link is Link.LIVE:
        return None
    style = colors.error if live.link is Link.LOST else colors.accent
    note = one_line(live.note or live.link.value)
    return Gauge(LINK, ((cut(note, width, glyphs()), style + BOLD),))


def _engine(status: KernelStatus, colors: Colors) -> list[Gauge]:
    name = cut(status.model.removesuffix(".gguf"), MAX_MODEL, glyphs())
    state = "" if status.model_state == "ready" else f" {one_line(status.model_state)}"
    alarm = colors.error if status.model_state.startswith("failed") else colors.accent
    model = ((name, colors.text + BOLD), (cut(state, 40, glyphs()), alarm))
    mode = ("exact", colors.success) if status.exact else ("fast", colors.warning)
    return [Gauge(MODEL, model), Gauge(POLICY, ((one_line(status.policy), colors.primary),)), Gauge(MODE, (mode,))]


def _slots(live: Live, status: KernelStatus, colors: Colors) -> Gauge:
    """One mark a slot, in the colour of who holds it."""
    if status.slots > MAX_DRAWN_SLOTS:
        return Gauge(SLOTS, (("slots ", colors.muted), (f"{status.slots_used}/{status.slots}", colors.text)))
    holders = {proc.slot: pid for pid, proc in live.procs.items() if proc.slot is not None}
    marks = (
        (glyphs().held, colors.pid(holders[slot])) if slot in holders else (glyphs().free, colors.idle_slot)
        for slot in range(status.slots)
    )
    return Gauge(SLOTS, (("slots ", colors.muted), *marks))


def _rates(status: KernelStatus, colors: Colors) -> list[Gauge]:
    decode = ((f"{status.tok_per_s:4.0f}", colors.decode + BOLD), (" tok/s", colors.muted))
    prefill = ((f"{status.prefill_tok_per_s:4.0f}", colors.prefill + BOLD), (" prefill", colors.muted))
    return [Gauge(PREFILL, prefill), Gauge(DECODE, decode)]


def _budgets(status: KernelStatus, colors: Colors) -> list[Gauge]:
    """Contexts: in slots, then in memory and in files against what they may take."""
    return [
        Gauge(KV, (("KV ", colors.muted), (f"{render.size(status.kv_bytes):>7}", colors.text))),
        _bar(RAM, "RAM", status.ram_bytes, status.ram_budget, render.size(status.ram_bytes), colors),
        _bar(DISK, "DISK", status.disk_bytes, status.disk_budget, render.size(status.disk_bytes), colors),
    ]


def _machine(host: HostInfo, colors: Colors) -> list[Gauge]:
    memory = host.memory_used / host.memory_total if host.memory_total else 0.0
    gauges = [
        _bar(CPU, "CPU", host.cpu_percent, 100, f"{host.cpu_percent:.0f}%", colors, size=4),
        _bar(MEMORY, "MEM", memory, 1, f"{memory:.0%}", colors, size=4),
    ]
    if host.gpu_percent is not None:
        gauges.append(_bar(GPU, "GPU", host.gpu_percent, 100, f"{host.gpu_percent:.0f}%", colors, size=4))
    return gauges


def _bar(rank: int, name: str, value: float, most: float, text: str, colors: Colors, size: int = 7) -> Gauge:
    """size: cells of the figure, so that the line stands still while it changes."""
    share = value / most if most else 0.0
    filled = bar(share, BAR)
    track = glyphs().track * (BAR - len(filled))
    style = colors.warning if share >= NEARLY_FULL and rank in (RAM, DISK) else colors.text
    return Gauge(
        rank,
        ((f"{name} ", colors.muted), (filled, colors.bar_fill), (track, colors.bar_back), (f" {text:>{size}}", style)),
    )

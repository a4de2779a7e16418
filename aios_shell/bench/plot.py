"""Draws a benchmark's charts, one SVG file each benchmark, with matplotlib (the optional extra `plots`)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from aios_kernel.errors import KernelError
from aios_shell.bench.measure import Chart

WIDTH, HEIGHT = 6.4, 3.6  # inches, of each chart
LABEL_WIDTH = 14  # characters of a line below a bar
_STYLE: Final[dict[Any, Any]] = {
    "svg.hashsalt": "aios",  # the same figures give the same file
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.axisbelow": True,
}


class NoPlots(KernelError):
    """matplotlib is not there. Exit code 1."""


def check() -> None:
    """Raises NoPlots: before a benchmark of minutes rather than after it."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise NoPlots("--plot needs matplotlib: install aios-shell[plots]") from error


def save(charts: Sequence[Chart], path: Path) -> None:
    """Draw `charts` below each other into an SVG file. Raises NoPlots, OSError."""
    check()
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT * len(charts)), layout="constrained")
        for place, chart in enumerate(charts):
            _draw(figure.add_subplot(len(charts), 1, place + 1), chart)
        canvas: Any = FigureCanvasSVG(figure)  # its methods have no types
        canvas.print_svg(path, metadata={"Date": None})


def _draw(axes: Any, chart: Chart) -> None:
    axes.set_title(chart.title)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    if chart.kind == "bars":
        _draw_bars(axes, chart)
    else:
        for series in chart.series:
            axes.plot(series.x, series.y, marker="o" if chart.kind == "points" else "", label=series.name)
    if chart.log_x:
        axes.set_xscale("log")
    elif chart.kind == "lines":
        axes.set_xlim(left=0)
    if chart.log_y:
        axes.set_yscale("log")
    if len(chart.series) > 1:
        axes.legend(frameon=False)


def _draw_bars(axes: Any, chart: Chart) -> None:
    names, width = chart.series[0].x, 0.8 / len(chart.series)
    for place, series in enumerate(chart.series):
        left = -0.4 + width * (place + 0.5)
        axes.bar([i + left for i in range(len(names))], series.y, width, label=series.name)
    axes.set_xticks(range(len(names)), [textwrap.fill(str(name), LABEL_WIDTH) for name in names])
    axes.grid(visible=False, axis="x")

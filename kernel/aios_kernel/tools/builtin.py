"""The tools that come with the kernel."""

from __future__ import annotations

from aios_kernel.clock import Clock
from aios_kernel.protocol import Category
from aios_kernel.tools import calculator, clock, convert
from aios_kernel.tools.tool import Tool, plain


def builtin_tools(machine: Clock) -> list[Tool]:
    """Those that compute and touch nothing."""
    return [
        Tool(calculator.SPEC, plain(calculator.run), Category.MATH, idempotent=True, trusted=True),
        Tool(
            clock.SPEC,
            plain(lambda arguments: clock.run(arguments, machine)),
            Category.TIME,
            idempotent=True,
            trusted=True,
        ),
        Tool(convert.SPEC, plain(convert.run), Category.MATH, idempotent=True, trusted=True),
    ]

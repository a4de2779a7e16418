"""The clock tool: date and time, so that a model need not guess them."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aios_kernel.clock import Clock
from aios_kernel.errors import ToolFailed
from aios_kernel.protocol import ToolSpec

SPEC: Final = ToolSpec(
    "clock",
    "Tell the current date, time and day of the week.",
    {
        "type": "object",
        "properties": {"timezone": {"type": "string", "description": "IANA name such as Europe/Berlin; default: here"}},
        "additionalProperties": False,
    },
)


def run(arguments: dict[str, Any], machine: Clock) -> str:
    """ "2026-03-01 14:05:09 CET, Sunday". Raises ToolFailed for an unknown time zone."""
    now = datetime.fromtimestamp(machine.now(), UTC).astimezone(_zone(arguments.get("timezone")))
    return f"{now:%Y-%m-%d %H:%M:%S %Z, %A}"


def _zone(name: str | None) -> tzinfo | None:
    if not name:
        return None  # the machine's own
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ToolFailed(f"tool clock: no time zone {name!r}", timezone=name) from error

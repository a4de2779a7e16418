"""A row of the table of syscalls, and how its arguments are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from aios_kernel.access.need import Need
from aios_kernel.errors import BadRequest
from aios_kernel.journal import KEPT_BYTES
from aios_kernel.life import Life
from aios_kernel.process import Process
from aios_kernel.protocol import ProcState

OnDelta = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class NoArgs:
    pass


@dataclass(frozen=True, slots=True)
class Syscall:
    """One row of the table.

    Args:
        run: does it, for the calling process, with an instance of `args`.
        needs: what that takes, by the calling process and its arguments; each is decided before `run`. It may raise a
            KernelError instead. `nothing`, for what touches nothing but the caller itself.
        state: the caller's state meanwhile; None: it answers at once.
        streams: `run` gives text as it comes.
        effects: running it twice would not be the same as running it once.
        kept_bytes: of its arguments, and of its result, that the journal keeps whole; see journal.kept_json.
    """

    args: type
    run: Callable[[Life, Any, OnDelta], Awaitable[Any]]
    needs: Callable[[Process, Any], Sequence[Need]]
    state: ProcState | None = None
    streams: bool = False
    effects: bool = True
    kept_bytes: int = KEPT_BYTES


def nothing(_: Process, __: Any) -> Sequence[Need]:
    """The needs of a syscall that touches nothing but its caller."""
    return ()


def parse_args(name: str, raw: dict[str, Any], kind: type) -> Any:
    """`raw` as an instance of the dataclass `kind`. Raises BadRequest naming the argument."""
    accepted = [f.name for f in dataclasses.fields(kind)]
    for key in raw:
        if key not in accepted:
            raise BadRequest(f"{name}: unknown argument {key!r} (accepted: {', '.join(accepted) or 'none'})", key=key)
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:  # "Expected `str`, got `int` - at `$.task`"
        what, _, where = str(error).partition(" - at ")
        path = where.strip("`").removeprefix("$.")
        raise BadRequest(f"{name}: {path + ': ' if path else ''}{what}", key=path) from error

"""access.*"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aios_kernel.access.manager import AccessManager, check_action
from aios_kernel.access.need import Kind, Need
from aios_kernel.life import Life
from aios_kernel.protocol import ProcState
from aios_kernel.syscalls.table import OnDelta, Syscall, nothing
from aios_kernel.tools.tool import short

SHOWN: Final = 60  # characters of a resource and of its owner: none may push the other out of a person's sight

_HARMLESS: Final = frozenset({"read", "search", "call", "use", "embed"})


@dataclass(frozen=True, slots=True)
class RequestArgs:
    action: str  # "file:read"
    resource: str = ""
    owner: str | None = None  # None: the caller's own agent
    why: str = ""  # for the person who is asked


class AccessSyscalls:
    def __init__(self, access: AccessManager) -> None:
        self._access = access

    def rows(self) -> dict[str, Syscall]:
        # What it needs is what it asks for, which `request` decides.
        return {"access.request": Syscall(RequestArgs, self._request, nothing, ProcState.WAITING)}

    async def _request(self, life: Life, args: RequestArgs, __: OnDelta) -> None:
        """Ask for a right in so many words. Raises NotPermitted when the answer is no."""
        check_action(args.action)
        kind, _, verb = args.action.partition(":")
        mine = life.process.request.agent
        owner = mine if args.owner is None else args.owner
        which = short(args.resource, SHOWN) or ("all of its own" if owner == mine else "")
        whose = "" if owner in ("", mine) else f" of {short(owner, SHOWN)}"
        what = f"{args.action} {which}{whose}" + (f', saying "{args.why}"' if args.why else "")
        irreversible = verb not in _HARMLESS
        await self._access.request(life, Need(verb, Kind(kind), args.resource, owner, what, irreversible))

"""The registry: a new policy is one module and one line here."""

from __future__ import annotations

from typing import Final

from aios_kernel.errors import BadRequest
from aios_kernel.scheduler.classes import ByClass
from aios_kernel.scheduler.fair import Fair
from aios_kernel.scheduler.fifo import Fifo
from aios_kernel.scheduler.mlfq import Mlfq
from aios_kernel.scheduler.plas import Plas
from aios_kernel.scheduler.policy import Policy
from aios_kernel.scheduler.priority import Priority
from aios_kernel.scheduler.rr import RoundRobin

POLICIES: Final[dict[str, type[Policy]]] = {
    policy.name: policy for policy in (Fifo, RoundRobin, Priority, Mlfq, Fair, Plas)
}


def make_policy(name: str) -> ByClass:
    """The policy within each policy class. Raises BadRequest with the names there are."""
    if name not in POLICIES:
        accepted = ", ".join(sorted(POLICIES))
        raise BadRequest(f"no policy {name!r}; there are {accepted}", key="policy", accepted=sorted(POLICIES))
    return ByClass(POLICIES[name]())

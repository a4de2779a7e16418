"""Fair share: who has had the fewest tokens runs next; a nice value more is worth 1.25 times fewer tokens.

Virtual token counters (VTC, Sheng et al. 2024), kept by service.py: while two processes both want to run, what they
have had differs by no more than about a quantum each, however many generations either asks for.
"""

from __future__ import annotations

import math
from typing import ClassVar

from aios_kernel.scheduler.policy import Plan, Runnable, choose


class Fair:
    name: ClassVar[str] = "fair"
    preempts: ClassVar[bool] = True
    overtakes: ClassVar[bool] = True

    def plan(self, queue: tuple[Runnable, ...], *, slots: int, quantum: int) -> Plan:
        def rank(entry: Runnable) -> float:
            return entry.counter

        return choose(queue, slots, quantum=quantum, rank=rank, margin=math.inf)

"""Fair share: the program that has had the fewest tokens runs next; a nice value more is worth 1.25 times fewer.

Virtual token counters (VTC, Sheng et al. 2024), kept by service.py: while two programs both want to run, what they
have had differs by no more than about a quantum in each slot, however many processes and generations either has.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import ClassVar

from aios_kernel.protocol import Pid
from aios_kernel.scheduler.policy import Plan, Runnable, lowest


class Fair:
    name: ClassVar[str] = "fair"

    def plan(self, queue: tuple[Runnable, ...], *, slots: int, quantum: int) -> Plan:
        granted: Counter[Pid] = Counter()  # quanta that a program would have, were all before an entry to run
        ranks: dict[Pid, float] = {}
        for entry in sorted(queue, key=lambda entry: (entry.turn(quantum), entry.queued)):
            kept = entry.turn(quantum) == 0
            ranks[entry.pid] = -math.inf if kept else entry.counter + quantum * granted[entry.program]
            granted[entry.program] += 1
        return lowest(queue, slots, lambda entry: (ranks[entry.pid], entry.turn(quantum), entry.queued))

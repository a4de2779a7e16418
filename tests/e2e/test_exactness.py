"""An agent's text does not depend on who else runs, nor on being preempted, suspended and resumed."""

from __future__ import annotations

import pytest
from system import System

pytestmark = pytest.mark.model

TASKS = [
    "a fox and a river",
    "a robot and a comet",
    "a pilot and a storm",
    "a nurse and a clock",
    "a queen and a mirror",
    "a miner and a lantern",
    "a baker and a letter",
    "a sailor and an island",
    "a painter and a violin",
    "a singer and a garden",
    "a farmer and a bridge",
    "a judge and a stone",
]

LENGTH = "20"  # tokens: more than two quanta, so that each is preempted by the others


@pytest.mark.timeout(240)
def test_twelve_agents_over_four_slots_say_what_each_says_alone(system: System) -> None:
    system.configure("[model]\nslots = 4\n[sched]\nquantum = 8\n")
    alone = [system.ok("run", "narrate", task, "--max-tokens", LENGTH) for task in TASKS]
    together = [system.start("narrate", task, "--max-tokens", LENGTH) for task in TASKS]
    assert system.run("wait", *map(str, together)).returncode == 0
    assert alone == [system.ok("logs", str(pid), "--output") for pid in together]

    disturbed = [system.start("narrate", task, "--max-tokens", LENGTH) for task in TASKS]
    pids = [str(pid) for pid in disturbed]
    for _ in range(3):
        system.run("suspend", *pids)  # those that have finished refuse, which is right
        system.run("resume", *pids)
    assert system.run("wait", *pids).returncode == 0
    assert alone == [system.ok("logs", pid, "--output") for pid in pids]

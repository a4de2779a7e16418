from __future__ import annotations

from dataclasses import replace

import numpy as np

from aios_kernel.context.manager import Context, ContextManager
from aios_kernel.context.snapshot import checksum
from aios_kernel.core import EngineConfig, KvBytes, RestoreFailed
from aios_kernel.protocol import Pid, Tier
from aios_kernel.testing import FakeClock, ScriptedCore


class World:
    """A manager over two slots, and hands to feed contexts with."""

    def __init__(self, core: ScriptedCore | None = None, ram_bytes: int = 1 << 20) -> None:
        self.core = core or ScriptedCore(config=EngineConfig(slots=2, window=64))
        self.manager = ContextManager(self.core, ram_bytes=ram_bytes, clock=FakeClock())

    def run(self, pid: int, prompt: bytes) -> Context:
        """Give `pid` a slot and feed it `prompt`."""
        context = self.manager.get(Pid(pid))
        self.manager.begin(context, tuple(prompt), 16)
        self.manager.touch(context)
        self.manager.enter(context, keep={Pid(pid)})
        self.feed(context)
        self.manager.check_invariants()
        return context

    def feed(self, context: Context) -> None:
        slot = context.slot
        assert slot is not None
        while context.log.next_size:
            start, tokens = context.log.next_piece()
            self.core.prefill(slot, tokens, start)
            context.log.fed += 1

    def held(self, context: Context) -> bytes:
        """What the core holds for `context`."""
        assert context.slot is not None
        return bytes(self.core.save(context.slot).view(np.int32).astype(np.uint8))


def test_the_least_recently_used_context_makes_room() -> None:
    world = World()
    first, second = world.run(1, b"one"), world.run(2, b"two")
    world.manager.touch(first)
    world.run(3, b"three")
    assert (first.tier, second.tier) == (Tier.SLOT, Tier.RAM)


def test_a_context_comes_back_as_it_left() -> None:
    world = World()
    first = world.run(1, b"the first prompt")
    world.run(2, b"two")
    world.run(3, b"three")
    assert first.tier is Tier.RAM
    world.manager.enter(first, keep={Pid(1)})
    assert (world.held(first), first.log.pending) == (b"the first prompt", 0)
    world.manager.check_invariants()


def test_a_prompt_that_changed_meanwhile_keeps_only_what_it_shares() -> None:
    world = World()
    first = world.run(1, b"sixteen bytes, 1, and an old tail, long")
    world.manager.leave(first)
    assert world.manager.begin(first, tuple(b"sixteen bytes, 1, and a new one altogether"), 16) == 16
    world.run(1, b"sixteen bytes, 1, and a new one altogether")
    assert world.held(first) == b"sixteen bytes, 1, and a new one altogether"


def test_a_damaged_snapshot_is_rebuilt_from_the_log() -> None:
    world = World()
    first = world.run(1, b"the first prompt")
    world.manager.leave(first)
    assert first.snapshot is not None
    first.snapshot = replace(first.snapshot, data=first.snapshot.data.copy())
    first.snapshot.data[3] ^= 1
    world.manager.enter(first, keep={Pid(1)})
    world.manager.check_invariants()
    assert (0, len(b"the first prompt")) == (first.log.fed, first.log.pending)
    world.feed(first)
    assert world.held(first) == b"the first prompt"


class Forgetful(ScriptedCore):
    """Refuses every state."""

    def restore(self, seq: int, data: KvBytes) -> None:
        raise RestoreFailed("no")


def test_a_refused_restore_loses_no_tokens_of_anyone() -> None:
    world = World(Forgetful(config=EngineConfig(slots=2, window=64)))
    first, second = world.run(1, b"one, the first"), world.run(2, b"two, the second")
    world.manager.leave(first)
    world.manager.enter(first, keep={Pid(1)})
    world.manager.check_invariants()
    for context, text in ((first, b"one, the first"), (second, b"two, the second")):
        world.feed(context)
        assert text == world.held(context)


def test_ram_holds_no_more_than_allowed() -> None:
    world = World(ram_bytes=4 * 20)
    for pid in range(1, 6):
        world.manager.leave(world.run(pid, b"sixteen bytes, 1"))
        world.manager.check_invariants()
    assert [info.pid for info in world.manager.infos()] == [5]


def test_a_dropped_context_leaves_nothing() -> None:
    world = World()
    world.run(1, b"one")
    world.manager.drop(Pid(1))
    world.manager.check_invariants()
    assert tuple(world.manager.slots) == (None, None)


def test_the_checksum_sees_a_changed_bit_and_swapped_words() -> None:
    data = np.arange(100_000, dtype=np.uint32).view(np.uint8)
    flipped, swapped = data.copy(), data.copy()
    flipped[54_321] ^= 4
    swapped[8:16], swapped[16:24] = data[16:24], data[8:16]
    assert len({checksum(data), checksum(flipped), checksum(swapped)}) == 3

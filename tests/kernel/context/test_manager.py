from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aios_kernel.context.manager import Context, ContextManager
from aios_kernel.context.snapshot import Snapshot
from aios_kernel.core import EngineConfig, KvBytes, RestoreFailed
from aios_kernel.errors import BadRequest, NoSuchSnapshot, PromptTooLong
from aios_kernel.protocol import Pid, Tier
from aios_kernel.testing import FakeClock, ScriptedCore


class World:
    """A manager over two slots, and hands to feed contexts with. A token is four bytes of KV."""

    def __init__(self, core: ScriptedCore | None = None, **budgets: Any) -> None:
        config = EngineConfig(slots=2, window=64, chunk=16, **budgets)
        self.core = core or ScriptedCore(config=config)
        self.manager = ContextManager(self.core, config, FakeClock())

    def run(self, pid: int, prompt: bytes) -> Context:
        """Give `pid` a slot and feed it `prompt`."""
        context = self.manager.get(Pid(pid))
        self.manager.begin(context, tuple(prompt))
        self.manager.touch(context)
        self.manager.enter(context, keep={Pid(pid)})
        self.feed(context)
        self.manager.check_invariants()
        return context

    def feed(self, context: Context) -> None:
        slot = context.slot
        assert slot is not None
        while context.log.next_size:
            self.manager.adopt(context)
            self.manager.check_invariants()
            start, tokens = context.log.next_piece()
            self.core.prefill(slot, tokens, start)
            self.manager.fed(context)

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
    assert world.manager.begin(first, tuple(b"sixteen bytes, 1, and a new one altogether")) == 16
    world.run(1, b"sixteen bytes, 1, and a new one altogether")
    assert world.held(first) == b"sixteen bytes, 1, and a new one altogether"


def test_a_damaged_snapshot_is_rebuilt_from_the_log() -> None:
    world = World()
    first = world.run(1, b"the first prompt")
    world.manager.leave(first)
    assert first.snapshot is not None
    assert first.snapshot.data is not None
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


def test_what_fits_nowhere_is_dropped_the_least_recently_used_first() -> None:
    world = World(ram_bytes=4 * 20)
    for pid in range(1, 6):
        world.manager.leave(world.run(pid, b"sixteen bytes, 1"))
        world.manager.check_invariants()
    assert [info.pid for info in world.manager.infos()] == [5]


def on_disk(world: World, prompts: int) -> list[Context]:
    """Contexts that were sent off their slots, and whose files are written."""
    contexts = [world.run(pid, b"%d: the prompt of a process" % pid) for pid in range(1, prompts + 1)]
    for context in contexts:
        world.manager.leave(context)
    world.manager.tiers.flush()
    world.manager.check_invariants()
    return contexts


def test_memory_overflows_to_disk_and_comes_back(tmp_path: Path) -> None:
    world = World(ram_bytes=4 * 30, swap=tmp_path)
    contexts = on_disk(world, 3)
    assert [context.tier for context in contexts] == [Tier.DISK, Tier.DISK, Tier.RAM]
    assert world.manager.tiers.disk_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    world.manager.enter(contexts[0], keep={Pid(1)})
    assert (world.held(contexts[0]), contexts[0].log.pending) == (b"1: the prompt of a process", 0)
    world.manager.check_invariants()
    world.manager.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_tier_drops_the_least_recently_used(tmp_path: Path) -> None:
    world = World(ram_bytes=0, disk_bytes=4 * 60, swap=tmp_path)
    contexts = on_disk(world, 4)
    assert [context.tier for context in contexts] == [Tier.NONE, Tier.NONE, Tier.DISK, Tier.DISK]
    world.manager.enter(contexts[0], keep={Pid(1)})
    world.feed(contexts[0])
    assert world.held(contexts[0]) == b"1: the prompt of a process"


@pytest.mark.parametrize("damage", ["altered", "cut", "gone"])
def test_a_damaged_file_is_rebuilt_from_the_log(tmp_path: Path, damage: str) -> None:
    world = World(ram_bytes=0, swap=tmp_path)
    (context,) = on_disk(world, 1)
    (file,) = tmp_path.iterdir()
    data = bytearray(file.read_bytes())
    data[7] ^= 1
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(data if damage == "altered" else data[:-4])
    world.manager.enter(context, keep={Pid(1)})
    assert context.log.fed == 0
    world.feed(context)
    assert world.held(context) == b"1: the prompt of a process"


def test_a_disk_that_cannot_be_written_costs_a_recomputation_and_no_more(tmp_path: Path) -> None:
    world = World(ram_bytes=0, swap=tmp_path / "swap")
    (tmp_path / "swap").rmdir()
    (context,) = on_disk(world, 1)
    assert context.tier is Tier.NONE
    world.manager.enter(context, keep={Pid(1)})
    world.feed(context)
    assert world.held(context) == b"1: the prompt of a process"


def test_files_of_a_kernel_that_was_killed_are_removed(tmp_path: Path) -> None:
    (tmp_path / "7-1.kv").write_bytes(b"left")
    World(swap=tmp_path)
    assert list(tmp_path.iterdir()) == []


SHARED = b"a system prompt of two pieces, ."  # 32 tokens


def calls(world: World) -> int:
    """Model calls since this was last asked."""
    count = len(world.core.calls)
    world.core.calls.clear()
    return count


def test_a_prompt_that_begins_alike_is_fed_once() -> None:
    world = World()
    world.run(1, SHARED + b"first")
    assert calls(world) == 3
    second = world.run(2, SHARED + b"second")
    assert (calls(world), world.held(second)) == (1, SHARED + b"second")
    third = world.run(3, SHARED + b"third")  # the first one has left its slot for it
    assert (calls(world), world.held(third)) == (1, SHARED + b"third")


def test_a_prefix_outlives_its_process() -> None:
    world = World()
    world.run(1, SHARED + b"first")
    world.manager.drop(Pid(1))
    world.manager.check_invariants()
    calls(world)
    second = world.run(2, SHARED + b"second")
    assert (calls(world), world.held(second)) == (1, SHARED + b"second")


def test_a_prefix_is_taken_from_memory_and_from_disk(tmp_path: Path) -> None:
    for ram_bytes in (1 << 20, 0):
        world = World(ram_bytes=ram_bytes, prefix_bytes=0, swap=tmp_path)
        world.manager.leave(world.run(1, SHARED + b"first"))
        world.manager.tiers.flush()
        calls(world)
        second = world.run(2, SHARED + b"second")
        assert (calls(world), world.held(second)) == (1, SHARED + b"second")
        world.manager.close()


def test_a_damaged_prefix_is_not_taken() -> None:
    world = World()
    world.run(1, SHARED + b"first")
    world.manager.drop(Pid(1))
    (prefix,) = world.manager.prefixes
    assert prefix.snapshot.data is not None
    prefix.snapshot.data[5] ^= 1
    calls(world)
    second = world.run(2, SHARED + b"second")
    assert (calls(world), world.held(second)) == (3, SHARED + b"second")


def test_prefixes_stay_within_their_budget() -> None:
    world = World(prefix_bytes=4 * 70)
    for pid in range(1, 6):
        world.run(pid, b"%d" % pid + SHARED + b"and more")
        world.manager.drop(Pid(pid))
        world.manager.check_invariants()
    calls(world)
    world.run(6, b"5" + SHARED + b"other")
    assert calls(world) == 1
    world.run(7, b"1" + SHARED + b"other")
    assert calls(world) == 3


def test_no_prefix_is_taken_from_what_was_produced() -> None:
    """Tokens fed one by one have other bits than the same tokens fed as a prompt."""
    world = World()
    first = world.run(1, SHARED[:16])
    for token in SHARED[16:]:
        first.log.append(token)
    world.feed(first)
    calls(world)
    world.run(2, SHARED + b"second")
    assert calls(world) == 2  # 16 tokens are shared, 22 are fed


def test_a_context_planted_elsewhere_needs_no_feeding() -> None:
    world = World()
    world.run(1, SHARED + b"and the rest")
    image = world.manager.capture(Pid(1))
    assert world.manager.plant(Pid(2), image)
    calls(world)
    twin = world.run(2, SHARED + b"and the rest, and more")
    assert (calls(world), world.held(twin)) == (1, SHARED + b"and the rest, and more")


def test_a_context_of_another_build_is_computed_anew_and_of_another_model_refused() -> None:
    world = World()
    world.run(1, SHARED + b"and the rest")
    image = world.manager.capture(Pid(1))
    assert not world.manager.plant(Pid(2), replace(image, build_key="another"))
    calls(world)
    twin = world.run(2, SHARED + b"and the rest, and more")
    assert world.held(twin) == SHARED + b"and the rest, and more"
    with pytest.raises(BadRequest, match="another model"):
        world.manager.plant(Pid(3), replace(image, model_hash="another"))
    with pytest.raises(BadRequest, match="does not know"):
        world.manager.plant(Pid(3), replace(image, tokens=(*image.tokens[:-1], 100_000)))
    with pytest.raises(PromptTooLong):
        world.manager.plant(Pid(3), replace(image, tokens=image.tokens * 9, ends=(9 * len(image.tokens),)))
    assert not world.manager.plant(Pid(3), replace(image, kv=np.zeros(3, dtype=np.uint8)))
    world.manager.check_invariants()


def test_a_process_without_a_context_has_nothing_to_capture() -> None:
    with pytest.raises(NoSuchSnapshot):
        World().manager.capture(Pid(1))


def test_a_dropped_context_leaves_nothing_but_its_prefix() -> None:
    world = World()
    world.run(1, b"one")
    world.manager.drop(Pid(1))
    world.manager.check_invariants()
    assert (tuple(world.manager.slots), list(world.manager.prefixes)) == ((None, None), [])


def kept(world: World, pid: int, prompt: bytes) -> Context:
    """The context of a process that has ended."""
    context = world.run(pid, prompt)
    world.manager.keep(Pid(pid))
    return context


@pytest.mark.parametrize("tier", [Tier.SLOT, Tier.RAM, Tier.DISK])
def test_a_kept_context_is_handed_on_where_it_is(tmp_path: Path, tier: Tier) -> None:
    world = World(ram_bytes=0 if tier is Tier.DISK else 1 << 20, swap=tmp_path)
    context = kept(world, 1, b"what was said")
    if tier is not Tier.SLOT:
        world.manager.leave(context)
        world.manager.tiers.flush()
    assert world.manager.hand_on(Pid(1), Pid(2))
    world.manager.check_invariants()
    assert (world.manager.contexts, context.tier) == ({Pid(2): context}, tier)
    calls(world)
    world.run(2, b"what was said, and more")
    assert (calls(world), world.held(context)) == (1, b"what was said, and more")
    assert not world.manager.hand_on(Pid(1), Pid(3))
    world.manager.close()


def test_a_context_is_handed_on_only_when_its_process_has_ended() -> None:
    world = World()
    world.run(1, b"what is said")
    assert not world.manager.hand_on(Pid(1), Pid(2))


def test_a_kept_context_makes_room_like_any_other() -> None:
    world = World(ram_bytes=4 * 20)
    for pid in (1, 2, 3):
        kept(world, pid, b"sixteen bytes, %d" % pid)
    world.run(4, b"four")
    assert [world.manager.get(Pid(pid)).tier for pid in (1, 2, 3)] == [Tier.NONE, Tier.RAM, Tier.SLOT]
    assert [world.manager.hand_on(Pid(former), Pid(7)) for former in (1, 2)] == [False, True]
    world.manager.check_invariants()
    assert sorted(world.manager.contexts) == [3, 4, 7]


def test_the_checksum_sees_a_changed_bit_and_swapped_blocks() -> None:
    data = np.arange(100_000, dtype=np.uint32).view(np.uint8)
    snapshot = Snapshot.of("1", data.copy(), 1, 0.0)
    flipped, swapped = data.copy(), data.copy()
    flipped[54_321] ^= 4
    swapped[:4096], swapped[8192:12288] = data[8192:12288], data[:4096]
    assert snapshot.intact(data)
    assert not snapshot.intact(flipped)
    assert not snapshot.intact(swapped)

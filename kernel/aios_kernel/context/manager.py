"""Which context is in which slot, and the way in and out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from aios_kernel.clock import Clock
from aios_kernel.context.image import Image
from aios_kernel.context.log import TokenLog
from aios_kernel.context.prefix import Prefix, PrefixCache
from aios_kernel.context.snapshot import Snapshot, Tiers
from aios_kernel.core import Core, CoreError, EngineConfig, KvBytes
from aios_kernel.errors import BadRequest, NoSuchSnapshot, PromptTooLong
from aios_kernel.protocol import Pid, SnapshotInfo, Tier

T = TypeVar("T")

STATE_HEAD_BYTES: Final = 1 << 16  # of a sequence's state that is not K or V, at most: positions and lengths


@dataclass(slots=True, eq=False)
class Context:
    """One process's context. In a slot, in a snapshot, or only in its log."""

    pid: Pid
    log: TokenLog = field(default_factory=TokenLog)
    slot: int | None = None
    snapshot: Snapshot | None = None
    last_used: int = 0  # the manager's use counter; the smallest is the least recently used
    kept: bool = False  # its process has ended; another may go on with it

    @property
    def tier(self) -> Tier:
        if self.slot is not None:
            return Tier.SLOT
        return Tier.NONE if self.snapshot is None else self.snapshot.tier


class ContextManager:
    """Owner thread only.

    A context that leaves its slot goes to memory, from there to disk; where both are full the least recently used one
    is dropped, and is rebuilt from its log when it runs again. What one context has of a prompt another takes over.
    """

    def __init__(self, core: Core, config: EngineConfig, clock: Clock) -> None:
        self._core = core
        self._chunk = config.chunk
        self._clock = clock
        self._uses = 0
        self._snapshots_made = 0
        self.contexts: dict[Pid, Context] = {}
        self.slots: list[Context | None] = [None] * core.spec.num_slots
        self.tiers = Tiers(
            ram_bytes=config.ram_bytes, disk_bytes=config.disk_bytes, folder=config.swap, on_lost=self._on_lost
        )
        self._owners: dict[str, Context] = {}  # of each snapshot in `tiers`
        self.prefixes: PrefixCache[Context] = PrefixCache(config.prefix_bytes)
        self._tree = self.prefixes.tree

    def get(self, pid: Pid) -> Context:
        """The context of `pid`, an empty one if it had none."""
        return self.contexts.get(pid) or self.contexts.setdefault(pid, Context(pid))

    def touch(self, context: Context) -> None:
        """Note that `context` is used now."""
        self._uses += 1
        context.last_used = self._uses

    # --- in and out of slots

    def enter(self, context: Context, keep: Collection[Pid]) -> None:
        """Give `context` a slot, with as much KV as there is of it. Contexts of `keep` stay where they are."""
        if context.slot is not None:
            return
        slot = self._free_slot(keep)
        context.slot, self.slots[slot] = slot, context
        snapshot = context.snapshot
        if snapshot is None:
            return
        data = self.tiers.read(snapshot) if context.log.fed else None
        self._forget_snapshot(context)
        if data is None:
            self._lose(context)
        elif self._restore(slot, data):
            self._cut(context)  # the prompt may have changed since

    def _free_slot(self, keep: Collection[Pid]) -> int:
        """The lowest free slot, as only neighbouring sequences share a call; else the least recently used one's."""
        if None in self.slots:
            return self.slots.index(None)
        victims = [context for context in self.slots if context is not None and context.pid not in keep]
        victim = min(victims, key=lambda context: context.last_used)
        slot = victim.slot
        assert slot is not None
        self.leave(victim)
        return slot

    def leave(self, context: Context) -> None:
        """Take `context` off its slot, its KV into a snapshot."""
        slot, log = context.slot, context.log
        if slot is None:
            return
        data = self._guarded(lambda: self._core.save(slot)) if log.fed else None
        self._vacate(context)
        if data is not None:
            self._keep_snapshot(context, data)

    def _vacate(self, context: Context) -> None:
        slot = context.slot
        if slot is not None:
            context.slot, self.slots[slot] = None, None
            self._guarded(lambda: self._core.trim(slot, 0))

    def _keep_snapshot(self, context: Context, data: KvBytes) -> None:
        self._snapshots_made += 1
        name = f"{context.pid}-{self._snapshots_made}"
        context.snapshot = snapshot = Snapshot.of(name, data, context.log.fed_tokens, self._clock.now())
        self._owners[snapshot.id] = context
        self.tiers.put(snapshot)

    def _forget_snapshot(self, context: Context) -> None:
        snapshot, context.snapshot = context.snapshot, None
        if snapshot is not None:
            del self._owners[snapshot.id]
            self.tiers.drop(snapshot)

    def _on_lost(self, snapshot: Snapshot) -> None:
        context = self._owners.pop(snapshot.id)
        context.snapshot = None
        self._lose(context)

    def _lose(self, context: Context) -> None:
        """The KV state of `context` is gone: it is fed again when it runs."""
        context.log.lose()
        self._tree.shorten(context, 0)

    def drop(self, pid: Pid) -> None:
        """Forget the context of `pid`, but for what others may begin with."""
        context = self.contexts.pop(pid, None)
        if context is not None:
            self._keep_prefix(context)
            self._tree.shorten(context, 0)
            self._forget_snapshot(context)
            self._vacate(context)

    def keep(self, pid: Pid) -> None:
        """The process has ended; its context stays, like any other's, until `hand_on` or `drop`."""
        context = self.contexts.get(pid)
        if context is not None:
            context.kept = True

    def hand_on(self, former: Pid, pid: Pid) -> bool:
        """Make the context that `former` left that of `pid`, where it is. False: it is gone.

        One that has only its log left is gone: to feed it again token by token, as it was produced, takes longer than
        to feed its text as a prompt.
        """
        context = self.contexts.get(former)
        if context is None or not context.kept:
            return False
        if not context.log.fed:
            self.drop(former)
            return False
        self.drop(pid)
        del self.contexts[former]
        context.pid, context.kept = pid, False
        self.contexts[pid] = context
        return True

    def rebuild(self) -> None:
        """A fresh runtime context; whatever was in a slot starts over from its log. Raises CoreLost."""
        self._core.rebuild()
        for context in self.in_slots():
            self._lose(context)

    def close(self) -> None:
        self.tiers.close()

    # --- prompts

    def begin(self, context: Context, prompt: tuple[int, ...], head: int = 0) -> int:
        """Make `prompt` what `context` is to hold; return how many of its tokens need no feeding.

        head: tokens of it that others begin with too, see TokenLog.begin.
        """
        log, before = context.log, context.log.fed
        if self._tree.depth(context) > log.shared(prompt):
            self._keep_prefix(context)
        kept = log.begin(prompt, self._chunk, head)
        self._tree.shorten(context, log.fed)
        if log.fed < before:
            self._cut(context)
        return kept

    def fed(self, context: Context) -> None:
        """Note that the next piece of `context` has its KV now."""
        log = context.log
        log.fed += 1
        if self._tree.depth(context) == log.fed - 1 and (piece := log.last_fed(self._chunk)) is not None:
            self._tree.extend(context, piece)

    def adopt(self, context: Context) -> int:
        """Take over what others have of the prompt that is still to be fed; `context` is in a slot.

        Returns: tokens that need no feeding any more.
        """
        log, slot = context.log, context.slot
        assert slot is not None
        if self._tree.depth(context) != log.fed:
            return 0  # it has left the grid: nobody else can have the same pieces
        pieces, holders = self._tree.deeper(context, log.grid(self._chunk, log.fed))
        if not pieces:
            return 0
        before, depth = log.fed_tokens, log.fed + len(pieces)
        donor = min(holders, key=self._cost)
        data = self._state_of(donor)
        if data is None or not self._restore(slot, data):
            return 0
        for piece in pieces:
            log.fed += 1
            self._tree.extend(context, piece)
        self._cut(context)
        if isinstance(donor, Prefix):
            self.prefixes.touch(donor)
        if not isinstance(donor, Prefix) or self._tree.depth(donor) > depth:
            self._keep_prefix(context)  # just this much: it is cheaper to take over, and outlives the donor
        return log.fed_tokens - before

    def adoptable(self, context: Context) -> int:
        """Tokens of what is still to be fed that others have by now."""
        if self._tree.depth(context) != context.log.fed:
            return 0
        pieces, _ = self._tree.deeper(context, context.log.grid(self._chunk, context.log.fed))
        return sum(map(len, pieces))

    def _cost(self, holder: Context | Prefix) -> tuple[bool, int]:
        """What taking over from `holder` costs, for choosing the least."""
        if isinstance(holder, Prefix):
            return False, holder.snapshot.num_bytes
        return holder.tier is Tier.DISK, self.kv_bytes(holder)

    def _state_of(self, holder: Context | Prefix) -> KvBytes | None:
        """The KV bytes of a holder, perhaps of more tokens than are wanted. None: they turned out to be gone."""
        if isinstance(holder, Prefix):
            data = holder.snapshot.data
            if data is None or not holder.snapshot.intact(data):
                self.prefixes.drop(holder)
                return None
            return data
        slot = holder.slot
        if slot is not None:
            return self._guarded(lambda: self._core.save(slot))
        assert holder.snapshot is not None, f"{holder.pid} has no KV state to give"
        data = self.tiers.read(holder.snapshot)
        if data is None:
            self._forget_snapshot(holder)
            self._lose(holder)
        return data

    def _keep_prefix(self, context: Context) -> None:
        """Keep what `context` began with, unless it is kept already. Cuts its slot to just that."""
        length, slot = context.log.end_of(self._tree.depth(context)), context.slot
        estimate = length * self._core.spec.kv_bytes_per_token
        if not 0 < estimate <= self.prefixes.limit_bytes or self.prefixes.has(context):
            return
        if slot is not None:
            self._guarded(lambda: self._core.trim(slot, length))
            data = self._guarded(lambda: self._core.save(slot))
        else:
            data = context.snapshot.data if context.snapshot is not None else None  # not worth a read from disk
        if data is not None and self._tree.depth(context):  # a failed call has emptied every slot
            self._snapshots_made += 1
            name = f"prefix-{self._snapshots_made}"
            self.prefixes.keep(context, Snapshot.of(name, data, length, self._clock.now()))

    def _cut(self, context: Context) -> None:
        """Cut the KV in the slot to what the log says is fed."""
        slot, length = context.slot, context.log.fed_tokens
        if slot is not None:
            self._guarded(lambda: self._core.trim(slot, length))

    # --- contexts outside

    def capture(self, pid: Pid) -> Image:
        """The context of `pid` as it stands. Raises NoSuchSnapshot: it has said nothing to the model yet."""
        context = self.contexts.get(pid)
        if context is None or not len(context.log):
            raise NoSuchSnapshot(f"process {pid} has no context yet", pid=pid)
        kv = self._state_of(context) if context.log.fed else None
        spec, log = self._core.spec, context.log
        return Image(
            tokens=tuple(log.tokens),
            ends=log.ends,
            fed=log.fed if kv is not None else 0,
            kv=kv,
            model_hash=spec.model_hash,
            build_key=spec.build_key,
            exact=spec.exact,
        )

    def plant(self, pid: Pid, image: Image) -> bool:
        """Make `image` the context of `pid`. False: its KV is not for this build, it will be computed anew.

        Raises: BadRequest (another model's), PromptTooLong (a longer window's).
        """
        spec = self._core.spec
        if image.model_hash != spec.model_hash:
            raise BadRequest(f"the snapshot is of another model than {spec.name}", model=spec.name)
        if any(not 0 <= token < spec.n_vocab for token in image.tokens):
            raise BadRequest(f"the snapshot has tokens that {spec.name} does not know")
        if len(image.tokens) > spec.window:
            message = f"the snapshot has {len(image.tokens)} tokens, the context window {spec.window}"
            raise PromptTooLong(message, tokens=len(image.tokens), window=spec.window)
        self.drop(pid)
        context = self.get(pid)
        context.log = TokenLog.of(image.tokens, image.ends)
        if context.log.longest_piece > self._chunk:  # cut for another chunk size: these pieces cannot be fed here
            context.log = TokenLog()
            context.log.begin(image.tokens, self._chunk)
            return False
        expected = context.log.end_of(image.fed) * spec.kv_bytes_per_token
        if image.kv is None or image.build_key != spec.build_key:
            return False
        if not expected <= image.kv.size <= expected + STATE_HEAD_BYTES:
            return False
        context.log.fed = image.fed
        self._keep_snapshot(context, image.kv)
        return context.snapshot is not None

    # --- figures

    def in_slots(self) -> Iterable[Context]:
        return [context for context in self.slots if context is not None]

    def kv_bytes(self, context: Context) -> int:
        if context.snapshot is not None:
            return context.snapshot.num_bytes
        return context.log.fed_tokens * self._core.spec.kv_bytes_per_token if context.slot is not None else 0

    def infos(self) -> tuple[SnapshotInfo, ...]:
        exact = self._core.spec.exact
        return tuple(
            SnapshotInfo(s.id, c.pid, s.tokens, s.num_bytes, s.tier, s.created_at, exact)
            for c in self.contexts.values()
            if (s := c.snapshot) is not None
        )

    def _restore(self, slot: int, data: KvBytes) -> bool:
        """Put KV into a slot. False: it failed, and every slot starts over."""
        try:
            self._core.restore(slot, data)
        except CoreError:
            self.rebuild()
            return False
        return True

    def _guarded(self, call: Callable[[], T]) -> T | None:
        """Run one state call. After a failed one no cell can be trusted: start over, every log is fed again."""
        try:
            return call()
        except CoreError:
            self.rebuild()
            return None

    def check_invariants(self) -> None:
        """Re-count the world. Raises AssertionError."""
        self.tiers.check_invariants()
        self.prefixes.check_invariants()
        for slot, context in enumerate(self.slots):
            if context is not None:
                assert context.slot == slot, f"slot {slot} holds {context.pid}, which says {context.slot}"
                assert self.contexts.get(context.pid) is context, f"slot {slot} holds a dropped context"
        for pid, context in self.contexts.items():
            snapshot = context.snapshot
            assert context.pid == pid, f"the context of {context.pid} is filed under {pid}"
            if context.slot is not None:
                assert self.slots[context.slot] is context, f"{context.pid} is not in its slot {context.slot}"
                assert snapshot is None, f"{context.pid} is in a slot and in a snapshot"
            elif snapshot is None:
                assert context.log.fed == 0, f"{context.pid} has KV nowhere, yet {context.log.fed} pieces are fed"
            else:
                assert context.log.fed_tokens <= snapshot.tokens, f"{context.pid} has lost KV"
                assert self._owners.get(snapshot.id) is context, f"nobody knows whose {snapshot.id} is"
            assert self._tree.depth(context) <= context.log.fed, f"{context.pid} promises KV that it does not have"
        held = {context.snapshot.id for context in self.contexts.values() if context.snapshot}
        assert held == set(self._owners), "a snapshot without an owner"

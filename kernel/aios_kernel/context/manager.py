"""Which context is in which slot, and the way in and out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from aios_kernel.clock import Clock
from aios_kernel.context.log import TokenLog
from aios_kernel.context.snapshot import Snapshot, checksum
from aios_kernel.core import Core, CoreError
from aios_kernel.protocol import Pid, SnapshotInfo, Tier

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Context:
    """One process's context. In a slot, in a snapshot, or only in its log."""

    pid: Pid
    log: TokenLog = field(default_factory=TokenLog)
    slot: int | None = None
    snapshot: Snapshot | None = None
    last_used: int = 0  # the manager's use counter; the smallest is the least recently used

    @property
    def tier(self) -> Tier:
        if self.slot is not None:
            return Tier.SLOT
        return Tier.NONE if self.snapshot is None else Tier.RAM


class ContextManager:
    """Owner thread only. A context that leaves its slot goes to RAM; when RAM is full, the least recently used
    snapshot is dropped and its context is rebuilt from the log when it runs again.
    """

    def __init__(self, core: Core, *, ram_bytes: int, clock: Clock) -> None:
        self._core = core
        self._clock = clock
        self._ram_limit = ram_bytes
        self._uses = 0
        self._snapshots_made = 0
        self.contexts: dict[Pid, Context] = {}
        self.slots: list[Context | None] = [None] * core.spec.num_slots
        self.ram_bytes = 0

    def get(self, pid: Pid) -> Context:
        """The context of `pid`, an empty one if it had none."""
        return self.contexts.get(pid) or self.contexts.setdefault(pid, Context(pid))

    def touch(self, context: Context) -> None:
        """Note that `context` is used now."""
        self._uses += 1
        context.last_used = self._uses

    def enter(self, context: Context, keep: Collection[Pid]) -> None:
        """Give `context` a slot, with as much KV as there is of it. Contexts of `keep` stay where they are."""
        if context.slot is not None:
            return
        slot = self._free_slot(keep)
        context.slot, self.slots[slot] = slot, context
        snapshot, context.snapshot = context.snapshot, None
        if snapshot is None:
            return
        self.ram_bytes -= snapshot.data.size
        if not snapshot.intact():
            context.log.lose()
        elif context.log.fed:
            self._guarded(lambda: self._core.restore(slot, snapshot.data))
            if context.log.fed_tokens < snapshot.tokens:  # the prompt has changed since
                self._cut(context)

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
        if data is not None:
            self._snapshots_made += 1
            context.snapshot = Snapshot(
                id=f"{context.pid}-{self._snapshots_made}",
                data=data,
                tokens=log.fed_tokens,
                created_at=self._clock.now(),
                checksum=checksum(data),
            )
            self.ram_bytes += data.size
        self._vacate(context)
        self._fit_ram()

    def _vacate(self, context: Context) -> None:
        slot = context.slot
        if slot is not None:
            context.slot, self.slots[slot] = None, None
            self._guarded(lambda: self._core.trim(slot, 0))

    def _fit_ram(self) -> None:
        held = sorted((c for c in self.contexts.values() if c.snapshot), key=lambda context: context.last_used)
        for context in held:
            if self.ram_bytes <= self._ram_limit:
                return
            self._forget_snapshot(context)

    def _forget_snapshot(self, context: Context) -> None:
        if context.snapshot is not None:
            self.ram_bytes -= context.snapshot.data.size
            context.snapshot = None
            context.log.lose()

    def begin(self, context: Context, prompt: tuple[int, ...], chunk: int) -> int:
        """Make `prompt` what `context` is to hold; return how many of its tokens need no feeding."""
        before = context.log.fed
        kept = context.log.begin(prompt, chunk)
        if context.log.fed < before:
            self._cut(context)
        return kept

    def _cut(self, context: Context) -> None:
        """Cut the KV in the slot to what the log says is fed."""
        slot, length = context.slot, context.log.fed_tokens
        if slot is not None:
            self._guarded(lambda: self._core.trim(slot, length))

    def drop(self, pid: Pid) -> None:
        """Forget the context of `pid`."""
        context = self.contexts.pop(pid, None)
        if context is not None:
            self._forget_snapshot(context)
            self._vacate(context)

    def rebuild(self) -> None:
        """A fresh runtime context; whatever was in a slot starts over from its log. Raises CoreLost."""
        self._core.rebuild()
        for context in self.in_slots():
            context.log.lose()

    def in_slots(self) -> Iterable[Context]:
        return [context for context in self.slots if context is not None]

    def kv_bytes(self, context: Context) -> int:
        if context.snapshot is not None:
            return context.snapshot.data.size
        return context.log.fed_tokens * self._core.spec.kv_bytes_per_token if context.slot is not None else 0

    def infos(self) -> tuple[SnapshotInfo, ...]:
        exact = self._core.spec.exact
        return tuple(
            SnapshotInfo(s.id, c.pid, s.tokens, s.data.size, Tier.RAM, s.created_at, exact)
            for c in self.contexts.values()
            if (s := c.snapshot) is not None
        )

    def _guarded(self, call: Callable[[], T]) -> T | None:
        """Run one state call. After a failed one no cell can be trusted: start over, every log is fed again."""
        try:
            return call()
        except CoreError:
            self.rebuild()
            return None

    def check_invariants(self) -> None:
        """Re-count the world. Raises AssertionError."""
        for slot, context in enumerate(self.slots):
            if context is not None:
                assert context.slot == slot, f"slot {slot} holds {context.pid}, which says {context.slot}"
                assert self.contexts.get(context.pid) is context, f"slot {slot} holds a dropped context"
        for context in self.contexts.values():
            if context.slot is not None:
                assert self.slots[context.slot] is context, f"{context.pid} is not in its slot {context.slot}"
                assert context.snapshot is None, f"{context.pid} is in a slot and in a snapshot"
            elif context.snapshot is None:
                assert context.log.fed == 0, f"{context.pid} has KV nowhere, yet {context.log.fed} pieces are fed"
            else:
                assert context.log.fed_tokens <= context.snapshot.tokens, f"{context.pid} has lost KV"
        held = sum(c.snapshot.data.size for c in self.contexts.values() if c.snapshot)
        assert held == self.ram_bytes, f"snapshots hold {held} bytes, counted are {self.ram_bytes}"
        assert self.ram_bytes <= self._ram_limit, "more snapshots in RAM than allowed"

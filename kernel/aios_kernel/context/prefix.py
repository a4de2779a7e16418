"""Which contexts begin alike: a tree whose edges are prefill pieces, and prefixes kept when their contexts end."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from aios_kernel.context.snapshot import Snapshot

H = TypeVar("H", bound=Hashable)

Piece = tuple[int, ...]


@dataclass(slots=True, eq=False)
class Prefix:
    """What a context began with, kept beyond it for others that begin so."""

    snapshot: Snapshot


@dataclass(slots=True, eq=False)
class _Node(Generic[H]):
    children: dict[Piece, _Node[H]] = field(default_factory=dict)
    holders: dict[H, None] = field(default_factory=dict)  # those that have this piece and all before it, in order


class PrefixTree(Generic[H]):
    """Holders of KV state by the pieces that their contexts begin with.

    Whole pieces only, each as it was fed: a holder of the same pieces then has the very bits that feeding them would
    give. A holder stands on a path from the root; a node without holders is gone.
    """

    def __init__(self) -> None:
        self._root: _Node[H] = _Node()
        self._paths: dict[H, list[tuple[Piece, _Node[H]]]] = {}

    def depth(self, holder: H) -> int:
        """Pieces that `holder` has here."""
        return len(self._paths.get(holder, ()))

    def extend(self, holder: H, piece: Piece) -> None:
        """`holder` has one piece more."""
        path = self._paths.setdefault(holder, [])
        node = path[-1][1] if path else self._root
        child = node.children.get(piece)
        if child is None:
            child = node.children[piece] = _Node()
        child.holders[holder] = None
        path.append((piece, child))

    def shorten(self, holder: H, depth: int) -> None:
        """`holder` keeps at most its first `depth` pieces; 0: none."""
        path = self._paths.get(holder, [])
        while len(path) > depth:
            piece, node = path.pop()
            del node.holders[holder]
            if not node.holders:
                parent = path[-1][1] if path else self._root
                del parent.children[piece]
        if not path:
            self._paths.pop(holder, None)

    def copy(self, holder: H, twin: H) -> None:
        """`twin` has the pieces that `holder` has."""
        for piece, _ in self._paths.get(holder, ()):
            self.extend(twin, piece)

    def deeper(self, holder: H, pieces: Iterable[Piece]) -> tuple[list[Piece], Collection[H]]:
        """The longest run of `pieces` by which somebody goes on where `holder` stands, and who has all of it."""
        path = self._paths.get(holder)
        node = path[-1][1] if path else self._root
        found: list[Piece] = []
        for piece in pieces:
            child = node.children.get(piece)
            if child is None:
                break
            found.append(piece)
            node = child
        return found, node.holders if found else ()

    def twins(self, holder: H) -> Collection[H]:
        """Who has all that `holder` has, itself included."""
        path = self._paths.get(holder)
        return path[-1][1].holders if path else ()

    def check_invariants(self) -> None:
        """Re-count the tree. Raises AssertionError."""
        for holder, path in self._paths.items():
            node = self._root
            assert path, f"{holder} stands nowhere"
            for piece, below in path:
                assert node.children.get(piece) is below, f"{holder} stands on a path that is not there"
                assert holder in below.holders, f"{holder} is missing on its path"
                node = below
        places = sum(len(path) for path in self._paths.values())
        stack, counted = [self._root], 0
        while stack:
            node = stack.pop()
            assert node is self._root or node.holders, "a node without holders"
            counted += len(node.holders)
            stack += node.children.values()
        assert counted == places, f"{counted} holders stand in the tree, {places} know it"


class PrefixCache(Generic[H]):
    """A tree of those who live and of prefixes that are kept, within a budget: the least recently used goes first."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.num_bytes = 0
        self.tree: PrefixTree[H | Prefix] = PrefixTree()
        self._kept: OrderedDict[Prefix, None] = OrderedDict()

    def __iter__(self) -> Iterator[Prefix]:
        """Kept prefixes, the least recently used first."""
        return iter(self._kept)

    def has(self, holder: H) -> bool:
        """Whether all that `holder` has is kept already."""
        return any(isinstance(twin, Prefix) for twin in self.tree.twins(holder))

    def keep(self, holder: H, snapshot: Snapshot) -> None:
        """Keep what `holder` has, of which `snapshot` is the KV."""
        if snapshot.num_bytes > self.limit_bytes:
            return
        prefix = Prefix(snapshot)
        self.tree.copy(holder, prefix)
        self._kept[prefix] = None
        self.num_bytes += snapshot.num_bytes
        while self.num_bytes > self.limit_bytes:
            self.drop(next(iter(self._kept)))

    def touch(self, prefix: Prefix) -> None:
        self._kept.move_to_end(prefix)

    def drop(self, prefix: Prefix) -> None:
        del self._kept[prefix]
        self.num_bytes -= prefix.snapshot.num_bytes
        self.tree.shorten(prefix, 0)

    def check_invariants(self) -> None:
        """Re-count. Raises AssertionError."""
        self.tree.check_invariants()
        held = sum(prefix.snapshot.num_bytes for prefix in self._kept)
        assert held == self.num_bytes <= self.limit_bytes, f"prefixes hold {held} bytes, counted are {self.num_bytes}"
        assert all(self.tree.depth(prefix) for prefix in self._kept), "a kept prefix stands nowhere"

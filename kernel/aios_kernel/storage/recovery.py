"""What a kernel that was killed has left half done in an agent's files, and what it takes to finish it.

A file is moved, or removed, before the rows of that are committed: in between it is not where the rows say.
"""

from __future__ import annotations

from typing import Final

import msgspec

from aios_kernel.storage.index import Index
from aios_kernel.storage.texts import Texts
from aios_kernel.storage.tree import Tree

_MOVING: Final = "moving"  # a fact: a path and the one it gets, while file and rows are on their way


def note_move(index: Index, path: str, to: str) -> None:
    """Durably, before the move."""
    index.set_fact(_MOVING, msgspec.json.encode((path, to)))


def forget_move(index: Index) -> None:
    index.drop_fact(_MOVING)


def rename_rows(index: Index, texts: Texts, path: str, to: str, now: float) -> None:
    """Of a file, or of all in a folder. In the caller's transaction, as `recover`."""
    for file in filter(None, (index.file(path), *index.below(path))):
        target = to + file.path[len(path) :]
        stale = index.file(target)
        if stale is not None:  # gone outside
            index.discard(stale, now)
        index.rename(file, target)
        texts.rename(file.path, target)


def recover(tree: Tree, index: Index, texts: Texts, now: float) -> None:
    """Remove what was being written, take a move to its end, and put into the bin what is gone. Raises OSError."""
    tree.own.sweep()
    there = {"/".join(found.parts) for found in tree.own.walk(())}
    moving = index.fact(_MOVING)
    if moving is not None:
        path, to = msgspec.json.decode(moving, type=tuple[str, str])
        if path not in there and to in there:
            rename_rows(index, texts, path, to, now)
        forget_move(index)
    for file in index.below(""):
        if file.path not in there and not tree.mount_of(tuple(file.path.split("/"))):
            index.discard(file, now)
            texts.drop(file.path)

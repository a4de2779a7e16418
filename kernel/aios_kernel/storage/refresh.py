"""Keeping searches in step with files that other programs change: their work is found by size and time of change."""

from __future__ import annotations

from typing import Final

from aios_kernel.errors import InvalidState, NoSuchFile, NotPermitted
from aios_kernel.protocol import FileKind
from aios_kernel.storage.jail import Found
from aios_kernel.storage.texts import MAX_INDEXED, Texts
from aios_kernel.storage.tree import Tree

MAX_READ: Final = 2_000  # files that are read at a time, so that nobody who waits for this agent's files waits for long


def refresh(tree: Tree, texts: Texts) -> int:
    """Index what is new and forget what is gone, in the caller's transaction.

    Returns how many texts changed; with MAX_READ or more of them there may be others. Blocks; raises OSError.
    """
    known = texts.stamps()
    changed = 0
    for found in tree.walk(()):
        if found.kind is not FileKind.FILE:
            continue
        path = "/".join(found.parts)
        if known.pop(path, None) != found.stamp and changed < MAX_READ:
            changed += _read(tree, texts, path, found)
    for path in known:
        texts.drop(path)
    return changed + len(known)


def _read(tree: Tree, texts: Texts, path: str, found: Found) -> bool:
    try:
        data, found = tree.read(found.parts, MAX_INDEXED + 1, cut=True)
    except (NoSuchFile, NotPermitted, InvalidState):  # the other program has gone on
        return False
    texts.put(path, found.stamp, data)
    return True

"""Landlock: which files the calling thread, and all that comes of it, may reach from now on. Linux's landlock(7).

What the running kernel knows is used, from its first version on (Linux 5.13); what it does not know yet is refused by
the seccomp filter beside it.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from functools import cache
from typing import Final

from aios_kernel.client.confine.libc import LIBC

# System calls, by numbers that are the same on all of Linux's architectures.
_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_CREATE_RULESET_VERSION: Final = 1
_RULE_PATH_BENEATH: Final = 1

# Rights, as in Linux's include/uapi/linux/landlock.h.
_EXECUTE: Final = 1 << 0
_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_MAKE_CHAR: Final = 1 << 6
_MAKE_SOCK: Final = 1 << 9
_MAKE_BLOCK: Final = 1 << 11
_TRUNCATE: Final = 1 << 14
_READ: Final = _EXECUTE | _READ_FILE | _READ_DIR
_OF_A_FILE: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE  # the others are a folder's
_NEVER: Final = _EXECUTE | _MAKE_CHAR | _MAKE_BLOCK | _MAKE_SOCK
_NUM_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15}  # by version; 16 from the fifth on
_TCP: Final = 0b11  # bind, connect: from the fourth version on
_SCOPES: Final = 0b11  # abstract Unix sockets, signals: from the sixth on


@cache
def abi() -> int:
    """The version that this machine has; 0: none."""
    return max(0, int(LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION)))


def restrict(read: Iterable[str], write: Iterable[str]) -> None:
    """Nothing but these paths is reachable any more, and no TCP port, and no process outside for a signal.

    The caller has no_new_privs. Raises OSError.
    """
    version = abi()
    rights = (1 << _NUM_RIGHTS.get(version, 16)) - 1
    attributes = [rights]
    if version >= 4:
        attributes.append(_TCP)
    if version >= 6:
        attributes.append(_SCOPES)
    packed = struct.pack(f"{len(attributes)}Q", *attributes)
    ruleset = _call("landlock_create_ruleset", _CREATE_RULESET, packed, ctypes.c_size_t(len(packed)), 0)
    try:
        for path in read:
            _allow(ruleset, path, _READ & rights)
        for path in write:
            _allow(ruleset, path, rights & ~_NEVER)
        _call("landlock_restrict_self", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return  # nobody reaches it then
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= _OF_A_FILE
        rule = struct.pack("=Qi", rights, fd)  # struct landlock_path_beneath_attr is packed
        _call(f"landlock_add_rule {path}", _ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(fd)


def _call(what: str, number: int, *arguments: object) -> int:
    result = int(LIBC.syscall(number, *arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result

"""Confinement of the calling process: what it may reach and use, from now on and for good.

It needs no privilege and no helper: Landlock (files, TCP, signals), a seccomp filter (system calls that reach others),
resource limits, and no capability. A fork server applies it in the child, in less than a millisecond, where a launcher
would cost a start of its own; so it is the standard library alone, and on both sides of the kernel's client.

Left open, and known: names, sizes and times of files elsewhere can be asked for (stat), their contents and lists not.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from aios_kernel.client.confine import landlock, seccomp
from aios_kernel.client.confine.libc import LIBC

__all__ = ["SYSTEM", "Confinement", "apply", "drop_capabilities", "set_limits", "why_not"]

# What programs need of the system to load and to tell the time; whatever of it exists is readable.
SYSTEM: Final = (
    "/usr", "/lib", "/lib64", "/bin", "/sbin", "/opt", "/nix/store", "/gnu/store",
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime", "/etc/timezone",
    "/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/ca-certificates", "/etc/mime.types", "/etc/os-release",
    "/etc/locale.alias", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/fonts",
    "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom",
    "/proc/cpuinfo", "/proc/meminfo", "/proc/version", "/sys/devices/system/cpu",
)  # fmt: skip

# Numbers of Linux's include/uapi/linux/prctl.h and capability.h.
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITY_VERSION_3: Final = 0x20080522


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a process keeps. Paths are absolute; a folder stands for all below it, one that is missing for nothing.

    Beyond this: no socket but those it was given, no other process, no signal to one, no change of a file's mode, owner
    or times. What it may read it may also run in its own place.
    """

    read: tuple[str, ...]
    write: tuple[str, ...]  # readable too; nothing in there can be run
    memory_bytes: int  # of address space
    file_bytes: int  # the longest file it may write
    open_files: int
    cpu_s: int  # of processor time in its life


def why_not() -> str:
    """Why no process can be confined on this machine; "" where it can."""
    if sys.platform != "linux":
        return "Landlock and seccomp are Linux's"
    if not landlock.abi():
        return "Landlock is missing: it needs Linux 5.13, and to be enabled at boot"
    return seccomp.why_not()


def apply(confinement: Confinement, *, heard: bool = False) -> int | None:
    """Confine the calling process, which has one thread. There is no way back.

    Args:
        heard: another process is to hear of what is refused, and to answer (`confine.notices`).

    Returns:
        The descriptor for that process: the caller sends it there and closes it. None: nobody will hear of refusals;
        with `heard` because somebody else listens to this process already, such as what a container is run by.

    Raises:
        OSError: it is not confined, or not fully: it must end.
    """
    set_limits(dict(_limits(confinement)))
    drop_capabilities()
    landlock.restrict(confinement.read, confinement.write)
    calls = seccomp.alone(os.getpid())
    if heard:
        try:
            return seccomp.install_heard(calls)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
    seccomp.install(calls)
    return None


def _limits(confinement: Confinement) -> Iterator[tuple[int, int]]:
    yield resource.RLIMIT_AS, confinement.memory_bytes
    yield resource.RLIMIT_FSIZE, confinement.file_bytes
    yield resource.RLIMIT_NOFILE, confinement.open_files
    yield resource.RLIMIT_CPU, confinement.cpu_s
    yield resource.RLIMIT_CORE, 0


def set_limits(limits: dict[int, int]) -> None:
    """Lower resource limits, soft and hard; one that is lower already stays. Raises OSError."""
    for kind, value in limits.items():
        hard = resource.getrlimit(kind)[1]
        lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (lowest, lowest))


def drop_capabilities() -> None:
    """Give up what root has beyond others, and any way to get it back. Raises OSError."""
    if LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
    header, none = struct.pack("Ii", _CAPABILITY_VERSION_3, 0), bytes(24)  # effective, permitted, inheritable; twice
    if LIBC.capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), "capset")

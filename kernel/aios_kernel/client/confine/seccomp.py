"""A seccomp filter: which system calls are refused to the calling thread and all that comes of it.

Most calls are harmless to others and stay; refused is what reaches another process, file or socket in ways that
Landlock does not watch (landlock(7), "Filesystem flags" and "Current limitations"), and what few programs need and
attacks on the system begin with. A refused call fails with EPERM, as for lack of permission; one that the table's
author did not know with ENOSYS, as on a system without it, so that programs fall back. Where somebody listens, refused
calls and those by names of files are held until the listener has said what becomes of each (`confine.notices`).
Source: seccomp(2), linux/filter.h, linux/seccomp.h; numbers from asm/unistd_64.h (x86-64) and asm-generic/unistd.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from aios_kernel.client.confine.libc import LIBC

_X86_64: Final = 0
_AARCH64: Final = 1
_MACHINES: Final = {"x86_64": _X86_64, "aarch64": _AARCH64}
_AUDIT_ARCH: Final = (0xC000003E, 0xC00000B7)  # linux/audit.h
_FIRST_UNKNOWN: Final = 463  # newer calls are not in the table; x86-64's x32 numbers are above it too

_SAME: Final = {  # from 424 on a call has one number everywhere
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "pidfd_open": 434, "clone3": 435, "openat2": 437, "pidfd_getfd": 438, "process_madvise": 440,
    "mount_setattr": 442, "quotactl_fd": 443, "memfd_secret": 447, "process_mrelease": 448, "fchmodat2": 452,
}  # fmt: skip
_NUMBERS: Final[dict[str, tuple[int | None, int | None]]] = {  # (x86-64, aarch64); None: not there
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242),
    "fork": (57, None), "vfork": (58, None), "clone": (56, 220),
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "prlimit64": (302, 261), "setpriority": (141, 140), "ioprio_set": (251, 30),
    "sched_setscheduler": (144, 119), "sched_setparam": (142, 118), "sched_setattr": (314, 274),
    "sched_setaffinity": (203, 122), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "open": (2, None), "openat": (257, 56), "truncate": (76, 45),
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "inotify_add_watch": (254, 27), "fanotify_init": (300, 262),
    "memfd_create": (319, 279), "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195),
    "semget": (64, 190), "semctl": (66, 191), "semop": (65, 193), "semtimedop": (220, 192),
    "msgget": (68, 186), "msgctl": (71, 187), "msgsnd": (69, 189), "msgrcv": (70, 188),
    "mq_open": (240, 180), "mq_unlink": (241, 181), "mq_notify": (244, 184),
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143),
    "setresuid": (117, 147), "setresgid": (119, 149), "setgroups": (116, 159), "setfsuid": (122, 151),
    "setfsgid": (123, 152), "capset": (126, 91),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "sethostname": (170, 161), "setdomainname": (171, 162), "acct": (163, 89),
    "quotactl": (179, 60), "iopl": (172, None), "ioperm": (173, None), "vhangup": (153, 58),
    "creat": (85, None), "unlink": (87, None), "unlinkat": (263, 35), "rmdir": (84, None),
    "mkdir": (83, None), "mkdirat": (258, 34), "mknod": (133, None), "mknodat": (259, 33),
    "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276), "link": (86, None), "linkat": (265, 37),
    "symlink": (88, None), "symlinkat": (266, 36), "execve": (59, 221), "execveat": (322, 281),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "syslog": (103, 116),
    "modify_ldt": (154, None), "personality": (135, 92),
    "prctl": (157, 167), "fcntl": (72, 25), "ioctl": (16, 29),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Refuse:
    """A call is refused when the low 32 bits of an argument, masked, are one of `values`; `unless`: are none of them.

    Without an argument it is always refused.
    """

    error: int = errno.EPERM
    argument: int | None = None
    mask: int = 0xFFFF_FFFF
    values: tuple[int, ...] = ()
    unless: bool = False


_ALWAYS: Final = Refuse()
_MISSING: Final = Refuse(errno.ENOSYS)  # its flags are in memory, where no filter sees them: programs fall back
_THREAD: Final = 0x10000  # CLONE_THREAD
# fmt: off
_FILE_CALLS: Final = (
    "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "setxattr", "lsetxattr",
    "fsetxattr", "removexattr", "lremovexattr", "fremovexattr", "utime", "utimes", "futimesat", "utimensat",
)
_OTHERS_CALLS: Final = (
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp", "pidfd_open",
    "pidfd_getfd", "pidfd_send_signal", "setpriority", "ioprio_set", "migrate_pages", "move_pages",
)
_SOCKET_CALLS: Final = ("socket", "connect", "bind", "listen", "accept", "accept4")
_SHARED_CALLS: Final = (  # memory that no limit of a process counts
    "memfd_create", "memfd_secret", "shmget", "shmat", "shmctl", "semget", "semctl", "semop", "semtimedop", "msgget",
    "msgctl", "msgsnd", "msgrcv", "mq_open", "mq_unlink", "mq_notify",
)
_SYSTEM_CALLS: Final = (
    "io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl", "add_key", "request_key", "bpf",
    "perf_event_open", "userfaultfd", "syslog", "modify_ldt", "personality", "name_to_handle_at", "open_by_handle_at",
    "fanotify_init", "inotify_add_watch", "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "open_tree",
    "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "quotactl", "quotactl_fd", "setuid",
    "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "setfsuid", "setfsgid", "capset", "reboot",
    "swapon", "swapoff", "init_module", "finit_module", "delete_module", "kexec_load", "settimeofday", "clock_settime",
    "sethostname", "setdomainname", "acct", "iopl", "ioperm", "vhangup",
)
NAMING_CALLS: Final = (  # those that Landlock decides by the name of a file
    "open", "openat", "creat", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "mknod", "mknodat", "rename",
    "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "execve", "execveat",
)
# fmt: on


def others_files() -> dict[str, Refuse]:
    """Against changes that Landlock does not watch: modes, owners and times of files, other processes' limits."""
    return {
        **dict.fromkeys(_FILE_CALLS, _ALWAYS),
        **dict.fromkeys(("setpriority", "ioprio_set", "migrate_pages", "move_pages"), _ALWAYS),
        "prlimit64": Refuse(argument=0, values=(0,), unless=True),
    }


def alone(pid: int) -> dict[str, Refuse]:
    """For a process that is to stay by itself: no socket and no process that it has not already.

    Another program may take its place, which is bound as it is.
    """
    itself = Refuse(argument=0, values=(pid,), unless=True)
    or_zero = Refuse(argument=0, values=(0, pid), unless=True)
    # O_TRUNC needs no right to write before Landlock's third version.
    truncating = os.O_TRUNC | os.O_ACCMODE
    return {
        **dict.fromkeys(_FILE_CALLS + _OTHERS_CALLS + _SOCKET_CALLS + _SHARED_CALLS + _SYSTEM_CALLS, _ALWAYS),
        **dict.fromkeys(("fork", "vfork", "truncate"), _ALWAYS),
        **dict.fromkeys(("clone3", "openat2"), _MISSING),
        **dict.fromkeys(("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"), itself),
        **dict.fromkeys(("sched_setscheduler", "sched_setparam", "sched_setattr", "sched_setaffinity"), or_zero),
        "prlimit64": or_zero,
        "clone": Refuse(argument=0, mask=_THREAD, values=(0,)),
        "open": Refuse(argument=1, mask=truncating, values=(os.O_TRUNC | os.O_RDONLY,)),
        "openat": Refuse(argument=2, mask=truncating, values=(os.O_TRUNC | os.O_RDONLY,)),
        "prctl": Refuse(argument=0, values=(1, 4)),  # PR_SET_PDEATHSIG, PR_SET_DUMPABLE: its host ends and reads it
        "fcntl": Refuse(argument=1, values=(8, 10, 15)),  # F_SETOWN, F_SETSIG, F_SETOWN_EX: signals to whom it likes
        # TIOCSTI and TIOCLINUX type into a terminal; FIOSETOWN and SIOCSPGRP are F_SETOWN again.
        "ioctl": Refuse(argument=1, values=(0x5412, 0x541C, 0x8901, 0x8902)),
    }


def why_not() -> str:
    """Why no filter can be had on this machine; "" where it can."""
    if platform.machine() not in _MACHINES or sys.byteorder != "little":
        return f"the seccomp filter is written for {' and '.join(_MACHINES)}, not for {platform.machine()}"
    LIBC.prctl(_PR_SET_SECCOMP, _MODE_FILTER, None, 0, 0)
    return "" if ctypes.get_errno() == errno.EFAULT else "seccomp is missing from this Linux"  # EFAULT: no program


# Operations of classic BPF (linux/bpf_common.h), and what a program may return.
_LOAD: Final = 0x20  # A = 32 bits of seccomp_data at K
_AND: Final = 0x54
_IF_EQUAL: Final = 0x15
_IF_AT_LEAST: Final = 0x35
_RETURN: Final = 0x06
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_AT_NUMBER, _AT_ARCH, _AT_ARGUMENTS = 0, 4, 16
_NOTIFY: Final = 0x7FC00000
_SECCOMP: Final = (317, 277)  # the call's number
_SET_MODE_FILTER: Final = 1
_NEW_LISTENER: Final = 1 << 3
_WAIT_KILLABLE: Final = 1 << 5  # a held call ends by SIGKILL alone: it is heard of once
_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2

_Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, K


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    def __init__(self, code: list[_Instruction]) -> None:
        super().__init__(len(code), b"".join(struct.pack("HBBI", *each) for each in code))


def heard(calls: Mapping[str, Refuse]) -> dict[str, Refuse]:
    """The same, for a listener, who hears of calls by names of files too."""
    return {**calls, **dict.fromkeys(NAMING_CALLS, _ALWAYS)}


def names(machine: str) -> dict[int, str]:
    """The calls of the table by their numbers on a machine."""
    column = _MACHINES[machine]
    own = {row[column]: name for name, row in _NUMBERS.items()}
    return {number: name for number, name in own.items() if number is not None} | {n: name for name, n in _SAME.items()}


def program(calls: Mapping[str, Refuse], machine: str, *, listen: bool = False) -> list[_Instruction]:
    """The filter: one block a call, each of which ends it. listen: who listens is asked, instead of EPERM."""
    column = _MACHINES[machine]
    code: list[_Instruction] = [
        (_LOAD, 0, 0, _AT_ARCH),
        (_IF_EQUAL, 1, 0, _AUDIT_ARCH[column]),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
        (_LOAD, 0, 0, _AT_NUMBER),
        (_IF_AT_LEAST, 0, 1, _FIRST_UNKNOWN),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
    ]
    for name, refuse in calls.items():
        number = _SAME[name] if name in _SAME else _NUMBERS[name][column]
        if number is not None:
            heard = listen and refuse.error == errno.EPERM
            block = list(_block(refuse, _NOTIFY if heard else _ERRNO | refuse.error))
            code += [(_IF_EQUAL, 0, len(block), number), *block]
    return [*code, (_RETURN, 0, 0, _ALLOW)]


def _block(refuse: Refuse, refused: int) -> Iterable[_Instruction]:
    allowed = _ALLOW
    if refuse.argument is None:
        return [(_RETURN, 0, 0, refused)]
    on_match, else_ = (allowed, refused) if refuse.unless else (refused, allowed)
    num = len(refuse.values)
    return [
        (_LOAD, 0, 0, _AT_ARGUMENTS + 8 * refuse.argument),
        (_AND, 0, 0, refuse.mask),
        *((_IF_EQUAL, num - place, 0, value & refuse.mask) for place, value in enumerate(refuse.values)),
        (_RETURN, 0, 0, else_),
        (_RETURN, 0, 0, on_match),
    ]


def install(calls: Mapping[str, Refuse]) -> None:
    """Filter the calling thread's system calls from now on; it has no_new_privs. Raises OSError."""
    filter = _Program(program(calls, platform.machine()))
    if LIBC.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(filter), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")


def install_heard(calls: Mapping[str, Refuse]) -> int:
    """Like `install`, for a listener: returns its descriptor, by which `confine.notices` answers.

    Every held call waits for that; once the descriptor is closed they fail with ENOSYS. Whoever is filtered must not
    keep it. Raises OSError; EBUSY: somebody listens to this process already.
    """
    filter = _Program(program(heard(calls), platform.machine(), listen=True))
    number = _SECCOMP[_MACHINES[platform.machine()]]
    for flags in (_NEW_LISTENER | _WAIT_KILLABLE, _NEW_LISTENER):  # the former is newer: Linux 5.19
        fd = int(LIBC.syscall(number, _SET_MODE_FILTER, flags, ctypes.byref(filter)))
        if fd >= 0:
            return fd
    raise OSError(ctypes.get_errno(), "seccomp(SECCOMP_FILTER_FLAG_NEW_LISTENER)")

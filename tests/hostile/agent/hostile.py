"""An agent that attacks. Its task is {"do": NAME, ...}; it writes one JSON object: what each attack came to.

"denied: ERROR" is an attack that failed as it should; anything else is what it got.
"""

# It is these very calls that are tried.
# ruff: noqa: PTH101, PTH102, PTH103, PTH104, PTH108, PTH123, PTH208, PTH211

import asyncio
import contextlib
import ctypes
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from aios_kernel.errors import KernelError
from aios_kernel.protocol import Signal

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = os.uname().machine == "x86_64"


async def main(agent):
    task = json.loads(agent.task)
    told = await GROUPS[task.pop("do")](agent, **task)
    agent.write(json.dumps(told))


def announce(name):
    """A folder that it cannot make says in the audit log which attack's rows follow."""
    with contextlib.suppress(PermissionError):
        os.mkdir(f"/{name}")


def tried(attacks):
    """What each attack came to, by its name."""
    told = {}
    for name, attack in attacks.items():
        announce(name)
        try:
            told[name] = f"GOT {attack()!r}"[:200]
        except (OSError, MemoryError, ValueError) as error:
            told[name] = f"denied: {type(error).__name__} {getattr(error, 'errno', '')}"
    return told


def syscall(x86, arm, *arguments):
    """A system call that Python has no name for. Raises OSError as its own do."""
    result = LIBC.syscall(x86 if X86 else arm, *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


async def files(agent, secret, folder, other, kernel_pid):
    """Get at files that are not its own. secret: a file of the person's; other: another agent's folder."""
    scratch = Path.cwd()
    link = scratch / "link"
    link.symlink_to(secret)
    (scratch / "up").symlink_to("../..")
    mine = Path(__file__)
    return tried({
        "read": lambda: Path(secret).read_text(),
        "read by ..": (scratch / "../../../config/config.toml").read_text,
        "read by a symlink": link.read_text,
        "a name that is no text": lambda: open(os.fsencode(folder) + b"/caf\xe9", "w"),
        "list by a symlink": lambda: os.listdir(scratch / "up"),
        "write by a symlink": lambda: link.write_text("x"),
        "hard link": lambda: os.link(secret, scratch / "hard"),
        "move in": lambda: os.rename(secret, scratch / "stolen"),
        "move out": lambda: os.rename(link, Path(folder) / "out"),
        "list the home": lambda: os.listdir(folder),
        "list the root": lambda: os.listdir("/"),
        "shadow": lambda: Path("/etc/shadow").read_bytes(),
        "append": lambda: open(secret, "a"),
        "truncate": lambda: os.truncate(secret, 0),
        "truncate what is readable": lambda: os.open(mine, os.O_RDONLY | os.O_TRUNC),
        "own program": lambda: mine.write_text("x"),
        "another's program": lambda: (Path(other) / "agent.toml").write_text("x"),
        "interpreter": lambda: open(os.path.realpath(sys.executable), "r+b"),
        "chmod": lambda: os.chmod(secret, 0o777),
        "fchmod": lambda: os.fchmod(os.open(mine, os.O_RDONLY), 0),
        "chown": lambda: os.chown(secret, os.getuid(), os.getgid()),
        "times": lambda: os.utime(secret, (0, 0)),
        "attributes": lambda: os.setxattr(secret, "user.x", b"x"),
        "watch": lambda: syscall(254, 27, syscall(294, 26, 0), folder.encode(), 0xFFF),
        "handle": lambda: syscall(304, 265, -100, b"x", 0),
        "environment of the kernel": lambda: Path(f"/proc/{kernel_pid}/environ").read_bytes(),
        "memory of the kernel": lambda: open(f"/proc/{kernel_pid}/mem", "r+b"),
        "root of the kernel": lambda: os.listdir(f"/proc/{kernel_pid}/root/"),
        "descriptors of the host": lambda: os.listdir(f"/proc/{os.getppid()}/fd"),
        "list of all processes": lambda: os.listdir("/proc"),
        "a device": lambda: os.mknod(scratch / "disk", 0o600 | 0o060000, os.makedev(8, 0)),
        "mount": lambda: syscall(165, 40, b"none", b"/tmp", b"tmpfs", 0, None),
        "another root": lambda: os.chroot(scratch),
    })  # fmt: skip


async def sockets(agent, kernel_socket):
    """Reach the network, or another service of the person's."""

    def connect(family, kind, to):
        with socket.socket(family, kind) as one:
            one.connect(to)
            return to

    return tried({
        "tcp": lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 22)),
        "udp": lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 53)),
        "tcp over 6": lambda: connect(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 22)),
        "raw": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
        "packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3),
        "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
        "the kernel's own": lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, kernel_socket),
        "abstract": lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, "\0x"),
        "listen": lambda: socket.create_server(("127.0.0.1", 0)),
        "connect a pair anew": lambda: socket.socketpair(type=socket.SOCK_DGRAM)[0].connect(kernel_socket),
        "name": lambda: socket.getaddrinfo("example.com", 80),
        "io_uring": lambda: syscall(425, 425, 4, ctypes.create_string_buffer(120)),
        "namespace": lambda: syscall(272, 97, 0x40000000),
    })  # fmt: skip


async def processes(agent, kernel_pid, sibling):
    """Make processes, and reach others'."""
    host = os.getppid()
    buffer = ctypes.create_string_buffer(8)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
    told = tried({
        "fork": os.fork,
        "program": lambda: subprocess.run(["true"], check=True),
        "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "clone3": lambda: syscall(435, 435, ctypes.create_string_buffer(88), 88),
        "vfork": lambda: syscall(58, 220, 0x4111, 0, 0, 0, 0),
        "kill the kernel": lambda: os.kill(kernel_pid, signal.SIGKILL),
        "kill the host": lambda: os.kill(host, signal.SIGKILL),
        "kill a sibling": lambda: os.kill(sibling, signal.SIGKILL),
        "kill its group": lambda: os.killpg(sibling, signal.SIGKILL),
        "kill all": lambda: os.kill(-1, signal.SIGKILL),
        "thread of another": lambda: syscall(200, 130, sibling, 9),
        "queue a signal": lambda: syscall(129, 138, sibling, 9, ctypes.create_string_buffer(128)),
        "by a descriptor": lambda: syscall(424, 424, 3, 9, None, 0),
        "open one": lambda: os.pidfd_open(sibling),
        "signals by a pipe": lambda: fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, sibling),
        "trace": lambda: syscall(101, 117, 16, sibling, 0, 0),
        "read its memory": lambda: syscall(310, 270, sibling, vector, 1, vector, 1, 0),
        "its limits": lambda: resource.prlimit(kernel_pid, resource.RLIMIT_CPU, (1, 1)),
        "own limits": lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)),
        "its nice": lambda: os.setpriority(os.PRIO_PROCESS, sibling, 19),
        "everybody's nice": lambda: os.setpriority(os.PRIO_USER, 0, 19),
        "its cores": lambda: os.sched_setaffinity(sibling, {0}),
        "outlive the host": lambda: LIBC.prctl(1, 0, 0, 0, 0) and syscall(157, 167, 1, 0, 0, 0, 0),
        "keys": lambda: syscall(250, 219, 0, -3, 0),
        "bpf": lambda: syscall(321, 280, 0, buffer, 8),
        "perf": lambda: syscall(298, 241, ctypes.create_string_buffer(128), 0, -1, -1, 0),
        "faults": lambda: syscall(323, 282, 0),
        "terminal": lambda: fcntl.ioctl(0, 0x5412, b"x"),
        "hidden memory": lambda: os.memfd_create("x"),
        "shared memory": lambda: syscall(29, 194, 0, 1 << 20, 0o1600),
        "another user": lambda: os.setuid(12345),
    })  # fmt: skip
    os.kill(os.getpid(), 0)  # itself it may
    return told


async def managers(agent, victim):
    """Get at what belongs to another agent, whose pid is `victim`, by syscalls."""
    other = "victim"
    attacks = {
        "note": lambda: agent.memory.get("1", owner=other),
        "notes by search": lambda: agent.memory.search("secret", owner=other),
        "newest notes": lambda: agent.memory.newest(owner=other),
        "change a note": lambda: agent.memory.update("1", owner=other, content="x"),
        "remove a note": lambda: agent.memory.remove("1", owner=other),
        "interactions": lambda: agent.memory.log(pid=victim),
        "file": lambda: agent.files.read(f"~{other}/secret.txt"),
        "file by ..": lambda: agent.files.read(f"../{other}/secret.txt"),
        "file by .. of its own": lambda: agent.files.read(f"~{other}/../{other}/secret.txt"),
        "file far up": lambda: agent.files.read("../" * 12 + "etc/passwd"),
        "list": lambda: agent.files.entries(f"~{other}"),
        "search in files": lambda: agent.files.search("secret", path=f"~{other}"),
        "write": lambda: agent.files.write(f"~{other}/secret.txt", "x"),
        "delete": lambda: agent.files.delete(f"~{other}/secret.txt"),
        "history": lambda: agent.files.history(f"~{other}/secret.txt"),
        "share its file": lambda: agent.files.share(f"~{other}/secret.txt", "hostile"),
        "mount a folder": lambda: agent.files.mount("/etc", "etc", writable=True),
        "kill": lambda: agent.signal(victim, Signal.KILL),
        "wait": lambda: agent.wait(victim, timeout_s=1),
        "run code": lambda: agent.tool("python", code="print(open('/etc/passwd').read())"),
    }
    told = {}
    for name, attack in attacks.items():
        announce(name)
        try:
            told[name] = f"GOT {await attack()!r}"[:200]
        except KernelError as error:
            told[name] = f"denied: {type(error).__name__} {error.message}"
    await agent.wait(await agent.spawn("hostile", json.dumps({"do": "absent"}), group="operator"))
    return told


async def absent(agent):
    """What is not there, or is already."""
    return tried({
        "file": lambda: open("/etc/nothing-of-this-name"),
        "new file in no folder": lambda: open("/no-such-folder/file", "w"),
        "folder that exists": lambda: os.mkdir("/usr"),
        "remove": lambda: os.unlink("/etc/nothing-of-this-name"),
        "program": lambda: os.execv("/no-such-program", ["x"]),
        "name that is none": lambda: syscall(257, 56, -100, None, 0),
        "name that is too long": lambda: open("/" + "x" * 5_000),
        "pipe by its name": lambda: os.listdir("/dev/stdout"),
    })  # fmt: skip


async def insist(agent, seconds):
    """Be refused, from many threads at once, as often as it gets."""
    nums, end = [], time.monotonic() + seconds

    def knock():
        num = 0
        while time.monotonic() < end:
            with contextlib.suppress(PermissionError):
                socket.socket()
            num += 1
        nums.append(num)

    await asyncio.gather(*(asyncio.to_thread(knock) for _ in range(5)))
    return {"num": sum(nums)}


async def open_deep(agent, seconds):
    """Give the host names that take it long, from many threads at once."""
    deep = "/".join(["d"] * 400)
    os.makedirs(deep)
    for number in range(1_500):
        os.symlink(f"link{number + 1}", f"link{number}")
    end = time.monotonic() + seconds

    def knock():
        while time.monotonic() < end:
            os.close(os.open(deep, os.O_RDONLY))
            with contextlib.suppress(OSError):
                os.open("link0", os.O_RDONLY)

    await asyncio.gather(*(asyncio.to_thread(knock) for _ in range(20)))


async def memory(agent, limit):
    return tried({
        "at once": lambda: len(bytearray(limit + (1 << 20))),
        "shared": lambda: len(mmap.mmap(-1, limit + (1 << 20))),
        "one long file": lambda: Path("long").open("wb").truncate(1 << 50),
    })  # fmt: skip


async def disk(agent, how):
    """Fill it. It ends when it is killed."""
    block = bytes(1 << 20)
    for number in range(1 << 20):
        fd = os.open(f"f{number}", os.O_CREAT | os.O_WRONLY)
        if how == "deleted":
            os.unlink(f"f{number}")
        if how == "empty":
            os.close(fd)
            continue
        if how == "deep":
            os.mkdir("d")
            os.chdir("d")
        for _ in range(4):
            os.write(fd, block)
        if how != "deleted":
            os.close(fd)
        await asyncio.sleep(0)


async def output(agent, fd):
    """Write without end. It ends when it is killed."""
    block = b"x" * 65_536
    while True:
        os.write(fd, block)


async def threads(agent):
    """Until it is killed."""
    threading.stack_size(65_536)
    for _ in range(2_000):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    await asyncio.sleep(60)


def dial():
    """A raw connection to the kernel, by the line that it was given."""
    with socket.socket(fileno=os.dup(3)) as line:
        line.settimeout(30)
        line.send(b"c")
        _, fds, _, _ = socket.recv_fds(line, 1, 1)
    connection = socket.socket(fileno=fds[0])
    connection.settimeout(30)
    return connection


def reply_to(data, *, whole=False):
    """The first line of what the kernel answers; "" when it only closes the connection. whole: nothing is missing."""
    with dial() as connection:
        try:
            connection.sendall(data)
            if not whole:
                connection.shutdown(socket.SHUT_WR)
            return connection.recv(4_096).partition(b"\r\n")[0].decode()
        except (ConnectionError, TimeoutError) as error:
            return type(error).__name__


def post(token, body, path="/syscall"):
    head = (
        f"POST {path} HTTP/1.1\r\nHost: kernel\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return reply_to((head + body).encode(), whole=True)


async def frames(agent):
    """Frames that are none, and tokens that it has not: the first line of each answer."""
    token = agent._kernel._http.headers["Authorization"].removeprefix("Bearer ")
    pid, _, secret = token.partition(".")
    me = json.dumps({"name": "proc.self", "args": {}})
    return {
        "bytes": reply_to(os.urandom(4_096)),
        "no http": reply_to(b"hello\r\n\r\n"),
        "an endless head": reply_to(b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 1_000_000),
        "a length that lies": reply_to(b"POST /syscall HTTP/1.1\r\nContent-Length: -1\r\n\r\n"),
        "half a body": reply_to(b"POST /syscall HTTP/1.1\r\nContent-Length: 100\r\n\r\n{"),
        "no json": post(token, "{"),
        "deep json": post(token, "[" * 100_000),
        "no such syscall": post(token, json.dumps({"name": "sys.reboot", "args": {}})),
        "wrong types": post(token, json.dumps({"name": 3, "args": []})),
        "no token": post("", me),
        "another's pid": post(f"{int(pid) - 1}.{secret}", me),
        "a forged secret": post(f"{pid}.{secret[::-1]}", me),
        "a person's route": post(token, "{}", "/kernel/stop"),
        "itself": post(token, me),
    }


async def flood(agent, how, rounds):
    """A second as fast as it can, a second of rest, and so on: when it flooded, and how many came through."""
    windows, num = [], 0
    for _ in range(rounds):
        begin, end = time.time(), time.monotonic() + 1
        if how == "syscalls":
            num += sum(await asyncio.gather(*(_syscalls(agent, end) for _ in range(200))))
        else:
            num += _dials(end) if how == "dials" else _frames(end)
        windows.append((begin, time.time()))
        await asyncio.sleep(1)
    return {"num": num, "windows": windows}


async def _syscalls(agent, end):
    num = 0
    while time.monotonic() < end:
        await agent.me()
        num += 1
    return num


def _dials(end):
    num = 0
    while time.monotonic() < end:
        dial().close()
        num += 1
    return num


def _frames(end):
    """Many requests in one piece, on connections that do not live long for that."""
    num = 0
    while time.monotonic() < end:
        with dial() as connection:
            try:
                while time.monotonic() < end:
                    connection.sendall(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
                    num += 1
            except (BrokenPipeError, ConnectionResetError):
                continue
    return num


async def sleep(agent):
    await asyncio.Event().wait()


async def witness(agent, seconds):
    """When it made syscalls, and how many ms each took."""
    took, end = [], time.monotonic() + seconds
    while (begin := time.monotonic()) < end:
        at = time.time()
        await agent.me()
        took.append((at, (time.monotonic() - begin) * 1e3))
        await asyncio.sleep(0.01)
    return {"took": took}


GROUPS = {
    each.__name__: each
    for each in (
        files, sockets, processes, managers, absent, insist, open_deep, memory, disk, output, threads, frames, flood,
        sleep, witness,
    )
}  # fmt: skip

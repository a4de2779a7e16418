"""What a forked process does to be an agent: import its program, run it on an event loop, end with the right code.

exit   when
0      main returned (an int that it returned is the exit code)
1      an uncaught exception: its traceback is on standard error
130    interrupted, and main did not catch the cancellation
141    nobody reads standard output
other  a KernelError's own code, or the one an AgentFailed names: one line on standard error
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from aios_agents import prompted
from aios_agents.manifest import Manifest, ManifestError, read
from aios_agents.sdk import Agent, AgentFailed
from aios_agents.stdio import note
from aios_kernel.client.aio import AsyncKernelClient
from aios_kernel.client.confine import Confinement
from aios_kernel.client.line import Line
from aios_kernel.errors import KernelError, row_of
from aios_kernel.protocol import History

LINE_FD: Final = 3  # the first after the standard streams

# Ends as a forked agent does: without the interpreter's own exit handlers.
_ORDER: Final = "AIOS_ORDER"
_BOOT: Final = f"""
import json, os, sys
order = json.loads(os.environ.pop("{_ORDER}"))
sys.path += [folder for folder in order["path"] if folder not in sys.path]
from aios_agents import runner
os._exit(runner.resume(order) & 0xFF)
"""

Program = Callable[[Agent], Awaitable[int | None]] | type[Agent]


@dataclass(frozen=True, slots=True)
class Start:
    """What the kernel wants run. Its way back in is the line, descriptor LINE_FD."""

    pid: int
    agent: str
    task: str = ""
    cwd: str | None = None
    columns: int | None = None
    stdin: bool = False
    history: bool = False  # it begins with a copy of another's context, of which proc.history tells
    confinement: Confinement | None = None  # None: it has all that the person has


def run(manifest: Manifest, start: Start) -> int:
    """Run the agent in this process, whose standard streams are its own. Returns the exit code, never raises.

    An agent with an environment of its own goes on in that one's interpreter, from which this does not return.
    """
    _open_streams()
    python = manifest.python
    if python is not None:
        return _guarded(lambda: _become(python, manifest, start), manifest)
    return _run_here(manifest, start)


def _become(python: Path, manifest: Manifest, start: Start) -> NoReturn:
    """Replace this process by the agent's own interpreter, which finds the SDK behind the agent's own packages."""
    order = msgspec.json.encode({"path": sys.path, "folder": str(manifest.folder), "start": start}).decode()
    try:  # the task is in the order: not for the command line, which others can read
        os.execve(python, [str(python), "-I", "-c", _BOOT], {**os.environ, _ORDER: order})  # noqa: S606
    except OSError as error:
        raise ManifestError(f"{manifest.name}: {python}: {error.strerror}: install the agent again") from error


def resume(order: dict[str, Any]) -> int:
    """What `_become` goes on with. Returns the exit code."""
    _open_streams()
    return _run_here(read(Path(order["folder"])), msgspec.convert(order["start"], Start))


def _run_here(manifest: Manifest, start: Start) -> int:
    code = _guarded(lambda: _run(manifest, start), manifest)
    flushed = _guarded(_flush, manifest)
    return code or flushed


def _run(manifest: Manifest, start: Start) -> int:
    if start.columns is not None:
        os.environ["COLUMNS"] = str(start.columns)
    if start.cwd is not None and start.confinement is None:  # there it could read nothing
        os.chdir(start.cwd)
    program = partial(prompted.main, manifest=manifest) if manifest.entry is None else manifest.load()
    if isinstance(program, type) and not issubclass(program, Agent):
        raise ManifestError(f"{manifest.name}: {program.__name__} is not a subclass of Agent")
    return asyncio.run(_serve(program, manifest, start))


async def _serve(program: Program, manifest: Manifest, start: Start) -> int:
    async with AsyncKernelClient(Line(LINE_FD)) as kernel:
        told = await kernel.syscall("proc.history", {}) if start.history else None
        kind = program if isinstance(program, type) else Agent
        agent = kind(
            kernel,
            pid=start.pid,
            task=start.task,
            has_stdin=start.stdin,
            columns=start.columns,
            defaults=manifest.defaults,
            history=msgspec.convert(told, History | None),
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, agent.interrupt)
        return _exit_code(await (agent.run() if isinstance(program, type) else program(agent)))


def _exit_code(result: object) -> int:
    """What the agent's program returned, as its exit code. Raises AgentFailed for what is none."""
    if result is None or isinstance(result, int):
        return result or 0
    kind = type(result).__name__
    raise AgentFailed(f"it returned {kind}: return nothing or an exit code; agent.write is for the answer")


def _guarded(step: Callable[[], int], manifest: Manifest) -> int:
    """`step`'s exit code, or the one that stands for what it raised."""
    name = manifest.name
    try:
        return step()
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except (asyncio.CancelledError, KeyboardInterrupt):
        return 128 + signal.SIGINT
    except AgentFailed as error:
        return _say(f"{name}: {error}", error.code)
    except ManifestError as error:
        return _say(str(error), 1)
    except KernelError as error:
        return _say(f"{name}: {error}", row_of(error).exit)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else _say(f"{name}: {error}", 1) if error.code else 0
    except BaseException as error:
        return _say(_traceback(error, manifest.folder), 1)


def _traceback(error: BaseException, folder: Path) -> str:
    """From where the agent's own code begins: what called it is nobody's fault. All of it where that is not reached."""
    own = error.__traceback__
    while own is not None and not Path(own.tb_frame.f_code.co_filename).is_relative_to(folder):
        own = own.tb_next
    if own is None and not isinstance(error, SyntaxError):  # which names its place itself
        own = error.__traceback__
    return "".join(traceback.format_exception(type(error), error, own)).rstrip()


def _say(text: str, code: int) -> int:
    with contextlib.suppress(OSError):  # nobody reads standard error: the code still tells
        note(text)
    return code


def _open_streams() -> None:
    """Fresh text streams over descriptors 0 to 2: the host's own may hold its state."""
    sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", errors="replace", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="replace", buffering=1, closefd=False)  # noqa: SIM115


def _flush() -> int:
    sys.stdout.flush()
    return 0

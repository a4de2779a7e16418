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

import msgspec

from aios_agents import prompted
from aios_agents.manifest import Manifest, ManifestError
from aios_agents.sdk import Agent, AgentFailed
from aios_agents.stdio import note
from aios_kernel.client.aio import AsyncKernelClient
from aios_kernel.errors import KernelError, row_of
from aios_kernel.protocol import History


@dataclass(frozen=True, slots=True)
class Start:
    """What the kernel wants run. `socket` and `token` are its way back in."""

    pid: int
    agent: str
    token: str
    socket: str
    task: str = ""
    cwd: str | None = None
    columns: int | None = None
    stdin: bool = False
    history: bool = False  # it begins with a copy of another's context, of which proc.history tells


def run(manifest: Manifest, start: Start) -> int:
    """Run the agent in this process, whose standard streams are its own. Returns the exit code, never raises."""
    _open_streams()
    code = _guarded(lambda: _run(manifest, start), manifest.name)
    flushed = _guarded(_flush, manifest.name)
    return code or flushed


def _run(manifest: Manifest, start: Start) -> int:
    if start.columns is not None:
        os.environ["COLUMNS"] = str(start.columns)
    if start.cwd is not None:
        os.chdir(start.cwd)
    main = partial(prompted.main, manifest=manifest) if manifest.entry is None else manifest.load()
    return asyncio.run(_serve(main, manifest, start))


async def _serve(main: Callable[[Agent], Awaitable[int | None]], manifest: Manifest, start: Start) -> int:
    async with AsyncKernelClient(start.socket, start.token) as kernel:
        told = await kernel.syscall("proc.history", {}) if start.history else None
        agent = Agent(
            kernel,
            pid=start.pid,
            task=start.task,
            has_stdin=start.stdin,
            columns=start.columns,
            max_tokens=manifest.max_tokens,
            history=msgspec.convert(told, History | None),
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, agent.interrupt)
        return await main(agent) or 0


def _guarded(step: Callable[[], int], name: str) -> int:
    """`step`'s exit code, or the one that stands for what it raised."""
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
    except BaseException:
        return _say(traceback.format_exc().rstrip(), 1)


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

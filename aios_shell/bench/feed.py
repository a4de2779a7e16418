"""A kernel that only tells: as many processes as wanted, all of which change with every frame, or none.

The app cannot tell it from a real one while it shows the table. That so many agents change ten times a second is
what no small model can be made to do.
"""

from __future__ import annotations

import contextlib
import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from aios_kernel.client import paths
from aios_kernel.protocol import (
    PROTOCOL_VERSION,
    Frame,
    HostInfo,
    KernelStatus,
    ProcInfo,
    ProcState,
    QueueEntry,
    SlotUse,
    StepInfo,
    StepPhase,
    Tier,
)

SLOTS: Final = 4
STEPS: Final = 4  # of the scheduler, in each frame
WINDOW: Final = 2048
_STATES: Final = (ProcState.RUNNING, ProcState.READY, ProcState.WAITING)


@dataclass(frozen=True, slots=True)
class Script:
    """What is told: so many processes, each in another state with every frame or as they are for ever."""

    num_procs: int
    changing: bool
    began: float = field(default_factory=time.time)

    def frames(self) -> Iterator[Frame]:
        yield self._frame(0)
        number = 1
        while self.changing:
            yield self._frame(number)
            number += 1

    def _frame(self, number: int) -> Frame:
        procs = [self._proc(pid, number) for pid in range(1, self.num_procs + 1)]
        ready = [proc.pid for proc in procs if proc.state is ProcState.READY]
        queue = [
            QueueEntry(pid, "ready", at, f"behind {ready[at - 2] if at > 1 else 1}", (), 1000.0 * at)
            for at, pid in enumerate(ready, 1)
        ]
        steps = [self._step(number * STEPS + each) for each in range(STEPS)]
        return Frame(time.time(), self._status(number), procs, [], queue, steps, 0, _HOST)

    def _proc(self, pid: int, number: int) -> ProcInfo:
        state = _STATES[(pid + number) % len(_STATES)]
        running = state is ProcState.RUNNING
        return ProcInfo(
            pid=pid,
            ppid=0,
            agent=("narrate", "math", "rec", "chat")[pid % 4],
            task=f"task {pid}: a sentence that is about as long as those that people write",
            state=state,
            reason="decoding" if running else "behind 12 and 15",
            nice=0,
            group="user",
            model="model.gguf",
            tokens_in=200,
            tokens_out=number,
            tok_per_s=float((pid * 7 + number) % 50) if running else 0.0,
            ctx_used=(pid * 31 + number) % WINDOW,
            ctx_max=WINDOW,
            slot=pid % SLOTS if running else None,
            tier=Tier.SLOT if running else Tier.RAM,
            kv_bytes=1_000_000,
            wait_ms=100.0 * number,
            turnaround_ms=0.0,
            started_at=self.began,
            ended_at=None,
            exit_code=None,
            exact=True,
            os_pid=None,
        )

    def _step(self, step: int) -> StepInfo:
        phases = (StepPhase.DECODE, StepPhase.PREFILL)
        uses = tuple(
            SlotUse(slot, 1 + (step // 8 + slot) % self.num_procs, phases[(step + slot) % 9 == 0], 1)
            for slot in range(SLOTS)
        )
        return StepInfo(step, time.time(), 25.0, uses, ())

    def _status(self, number: int) -> KernelStatus:
        return KernelStatus(
            pid=1,
            version="",
            protocol=PROTOCOL_VERSION,
            socket="",
            url=None,
            model="model.gguf",
            model_state="ready",
            policy="rr",
            policies=("fifo", "rr"),
            quantum=32,
            exact=True,
            exact_reason="",
            uptime_s=1.0,
            slots=SLOTS,
            slots_used=SLOTS,
            threads=2,
            procs=self.num_procs,
            tok_per_s=100.0 + number % 20,
            prefill_tok_per_s=50.0 + number % 30,
            kv_bytes=1,
            ram_bytes=1_000_000 * number % 10**9,
            ram_budget=10**9,
            disk_bytes=0,
            disk_budget=10**9,
            prefix_bytes=0,
            prefix_hit_rate=0.5,
            steps=number * STEPS,
            engine_s=1.0,
            core_s=1.0,
            eta_error=None,
        )


_HOST: Final = HostInfo(50.0, 2, 10**9, 10**10, 10**8, "", None, None, None)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False  # a reply that is being told ends with `over`

    def __init__(self, path: Path, script: Script) -> None:
        super().__init__(str(path), _Reply)
        self.script = script
        self.over = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The app has hung up: nothing to tell."""


class _Reply(BaseHTTPRequestHandler):
    """Tells frames at the rate that is asked for; of a process's events there are none, and no list has anything."""

    server: _Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/watch":
            self._tell(float(parse_qs(url.query)["hz"][0]))
        elif url.path.endswith("/events"):
            self._head("text/event-stream")
            self.server.over.wait()
        else:
            self._head("application/json")
            self.wfile.write(b"[]")

    def _tell(self, hz: float) -> None:
        self._head("text/event-stream")
        for frame in self.server.script.frames():
            self.wfile.write(b"event: frame\ndata: %b\n\n" % msgspec.json.encode(frame))
            if self.server.over.wait(1 / hz):
                return
        self.server.over.wait()

    def _head(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()

    def address_string(self) -> str:
        return ""

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def telling(script: Script) -> Iterator[None]:
    """Answer where the kernel of AIOS_HOME would, while the block runs."""
    where = paths()
    where.make()
    with _Server(where.socket, script) as server:
        thread = threading.Thread(target=server.serve_forever, name="feed")
        thread.start()
        try:
            yield
        finally:
            server.over.set()
            server.shutdown()
            thread.join()
            where.socket.unlink()
            with contextlib.suppress(OSError):  # not empty: it is in the home
                where.socket.parent.rmdir()

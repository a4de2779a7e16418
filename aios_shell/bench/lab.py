"""Where benchmarks run: a kernel of their own under a temporary AIOS_HOME, probes in it, and the peers beside it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aios_kernel.client import KernelClient, event_of, output_bytes
from aios_kernel.client.launch import connect, stop
from aios_kernel.errors import InternalError
from aios_kernel.protocol import EventKind, RunRequest

Row = dict[str, Any]

STOP_DEADLINE_S = 30
PEER_DEADLINE_S = 300


class Lab:
    """A running kernel that nobody else uses."""

    def __init__(self, client: KernelClient) -> None:
        self.client = client
        self.model = next(model.path for model in client.models() if model.current)

    def start(self, **task: Any) -> int:
        """Start a probe; see the agent `probe` for the task's fields. Its pid."""
        return self.client.run(RunRequest("probe", json.dumps(task)))

    def rows(self, pid: int) -> list[Row]:
        """Wait for a probe; one dict for each of its calls. Raises InternalError when it failed."""
        done = self.client.wait(pid)
        stream = self.client.events(pid, kinds=(EventKind.STDOUT, EventKind.STDERR))
        try:
            events = [event_of(data) for _, data in stream]
        finally:
            stream.close()
        text = {kind: b"".join(output_bytes(e) for e in events if e.kind is kind) for kind in EventKind}
        if done.exit_code != 0:
            said = text[EventKind.STDERR].decode(errors="replace").strip()
            raise InternalError(f"probe {pid} ended with {done.exit_code}: {said}")
        return [json.loads(line) for line in text[EventKind.STDOUT].splitlines()]

    def probe(self, **task: Any) -> list[Row]:
        return self.rows(self.start(**task))

    def probes(self, tasks: list[Row]) -> list[list[Row]]:
        """Several at once."""
        pids = [self.start(**task) for task in tasks]
        return [self.rows(pid) for pid in pids]

    def bare(self, **options: int) -> Row:
        """The same core in a plain loop (aios_kernel.core.bare), in a process of its own."""
        words = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        command = [sys.executable, "-m", "aios_kernel.core.bare", self.model, *words]
        done = subprocess.run(command, capture_output=True, check=True, timeout=PEER_DEADLINE_S)
        row: Row = json.loads(done.stdout)
        return row


@contextlib.contextmanager
def lab(config: str = "") -> Iterator[Lab]:
    """A kernel with this config.toml, gone again after the block."""
    before = os.environ.get("AIOS_HOME")
    with tempfile.TemporaryDirectory(prefix="aios-bench-") as home:
        os.environ["AIOS_HOME"] = home
        try:
            folder = Path(home) / "config"
            folder.mkdir(mode=0o700)
            (folder / "config.toml").write_text(config)
            client = connect(lambda _notice: None)
            try:
                here = Lab(client)
                here.probe(prompt="Hello", max_tokens=2)  # the model is loaded, the first pages are touched
                yield here
            finally:
                stop(STOP_DEADLINE_S)
        finally:
            if before is None:
                del os.environ["AIOS_HOME"]
            else:
                os.environ["AIOS_HOME"] = before


@contextlib.contextmanager
def busy_neighbour() -> Iterator[None]:
    """Another program that keeps one core busy."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()

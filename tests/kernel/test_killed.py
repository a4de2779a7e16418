"""SIGKILL in the middle of writes, to every store that promises to keep something."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("killed.py")
MEMORY = Path("/dev/shm")  # SIGKILL leaves what was handed to the system, so a disk would only be slower
KILLS = 20


@pytest.mark.parametrize(
    ("store", "seed"), [("files", 1), ("notes", 2), ("audit", 3), ("journal", 4), ("snapshots", 5)]
)
def test_what_was_acknowledged_is_there_and_nothing_is_half_there(store: str, seed: int) -> None:
    with tempfile.TemporaryDirectory(prefix="aios-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        command = [sys.executable, str(PROGRAM), store, folder, str(seed), str(KILLS)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr

"""What every test may use: a fresh AIOS_HOME, and the real command line over it."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from system import LIGHT, System


@pytest.fixture(scope="session", autouse=True)
def heard_interrupts() -> None:
    """SIGINT as at a terminal: whoever runs the tests in the background has it ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """A system of this module's own, with light contexts; its kernel is stopped afterwards."""
    # A short folder: a Unix socket's path holds about 100 bytes.
    with tempfile.TemporaryDirectory(prefix="aios-") as folder:
        system = System(Path(folder))
        system.configure(LIGHT)
        try:
            yield system
        finally:
            system.run("kernel", "stop")

"""A real kernel daemon in a temporary AIOS_HOME."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from daemons import PROBE_MANIFEST, PROBE_PROGRAM, Daemon
from system import LIGHT

from aios_kernel.client import launch, paths


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A fresh AIOS_HOME with the probe agent; a kernel left running in it is stopped."""
    # A short folder: a Unix socket's path holds about 100 bytes.
    with tempfile.TemporaryDirectory(prefix="aios-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIOS_HOME", folder)
        where = paths()
        where.make()
        where.config_file.write_text(LIGHT)
        probe = where.agents / "probe"
        probe.mkdir(parents=True)
        (probe / "agent.toml").write_text(PROBE_MANIFEST)
        (probe / "probe.py").write_text(PROBE_PROGRAM)
        try:
            yield Path(folder)
        finally:
            launch.stop()


@pytest.fixture(scope="module")
def daemon(home: Path) -> Daemon:
    return Daemon(launch.connect(_no_notice), paths())


@pytest.fixture
def fresh(home: Path) -> Iterator[Callable[[], Daemon]]:
    """Starts a kernel as a command would, for tests that end kernels."""
    yield lambda: Daemon(launch.connect(_no_notice), paths())
    launch.stop()


def _no_notice(text: str) -> None:
    raise AssertionError(f"unexpected notice: {text}")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"

"""A full disk, for every store: a small file system of its own, in a namespace of its own."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("filled.py")
MOUNT = "mount -t tmpfs -o size=30m tmpfs {0} && head -c 10000000 /dev/zero > {0}/ballast"


def in_namespace(command: str) -> subprocess.CompletedProcess[str]:
    """A shell that may mount what nobody else sees."""
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", command], capture_output=True, text=True, timeout=110, check=False
    )


@pytest.fixture
def disk(tmp_path: Path) -> str:
    """How to mount it. Skips where the system forbids it."""
    mount = MOUNT.format(shlex.quote(str(tmp_path)))
    if shutil.which("unshare") is None or in_namespace(mount).returncode:
        pytest.skip("no file system can be mounted here")
    return mount


@pytest.mark.parametrize("store", ["files", "links", "notes", "audit", "journal", "quota", "snapshots"])
def test_a_full_disk_is_one_typed_error_and_nothing_is_lost(disk: str, tmp_path: Path, store: str) -> None:
    program = shlex.join([sys.executable, str(PROGRAM), store, str(tmp_path)])
    done = in_namespace(f"{disk} && exec {program}")
    assert done.returncode == 0, done.stderr

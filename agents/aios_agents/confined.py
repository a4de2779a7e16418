"""The last thing that a forked process does before it is an agent: give up all that the agent is not to have."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

from aios_agents.manifest import Manifest
from aios_kernel import errors
from aios_kernel.client import confine
from aios_kernel.client.confine import Confinement

_NOT_GIVEN: Final = (Path("/"), Path.home(), Path.home().parent)  # whatever the interpreter may say of itself


def enter(agent: Manifest, confinement: Confinement) -> None:
    """Confine this process: its agent's folder and the interpreter are readable too; its scratch folder is its home.

    Raises:
        OSError: it is not confined, and must end.
    """
    home = confinement.write[0]
    os.environ.update(HOME=home, TMPDIR=home)
    tempfile.tempdir = None
    os.chdir(home)
    confine.apply(replace(confinement, read=(*confinement.read, *_interpreter(), str(agent.folder))))


@cache
def _interpreter() -> tuple[str, ...]:
    """Folders that Python and what is installed beside it are in, ours and the SDK's own."""
    packages = (Path(__file__).parents[1], Path(errors.__file__).parents[1])  # to find a package takes its parent
    found = {*map(Path, (sys.prefix, sys.base_prefix)), *packages}
    return tuple(str(folder) for folder in found if folder not in _NOT_GIVEN)

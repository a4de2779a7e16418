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


def of(agent: Manifest, confinement: Confinement) -> Confinement:
    """The same, with what an agent of ours reads to be one: its own folder, and the interpreter."""
    return replace(confinement, read=(*confinement.read, *_interpreter(), str(agent.folder)))


def enter(confinement: Confinement) -> int | None:
    """Confine this process; its scratch folder is its home. Returns and raises as `confine.apply`."""
    home = confinement.write[0]
    os.environ.update(HOME=home, TMPDIR=home)
    tempfile.tempdir = None
    os.chdir(home)
    return confine.apply(confinement, heard=True)


@cache
def _interpreter() -> tuple[str, ...]:
    """Folders that Python and what is installed beside it are in, ours and the SDK's own."""
    packages = (Path(__file__).parents[1], Path(errors.__file__).parents[1])  # to find a package takes its parent
    found = {*map(Path, (sys.prefix, sys.base_prefix)), *packages}
    return tuple(str(folder) for folder in found if folder not in _NOT_GIVEN)

"""The person's own work on agents: make, install, remove. `aios agents new|install|rm` run this.

    python -m aios_agents.manage --agents DIR new NAME [--class]
    python -m aios_agents.manage --agents DIR install SOURCE [--force]
    python -m aios_agents.manage --agents DIR rm NAME

What was made is on standard output, what is being done on standard error. Exit code 1 with one line when it cannot be.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Final

from aios_agents import manifest, scaffold, sources
from aios_agents.manifest import Manifest, ManifestError
from aios_agents.sources import SourceError
from aios_agents.stdio import note

REQUIREMENTS: Final = ("requirements.txt", "meta_requirements.txt")  # the second is Cerebrum's


class ManageError(Exception):
    """It cannot be done; one line says why."""


def new(agents: Path, name: str, *, as_class: bool) -> Path:
    """Make an agent with a test. Returns its folder."""
    folder = agents / name
    if folder.exists():
        raise ManageError(f"{folder} is there already")
    scaffold.write(folder, name, as_class=as_class)
    _tell_hidden(name)
    return folder


def install(agents: Path, source: str, *, force: bool) -> Manifest:
    """Install an agent from a folder, a zip file or a git address. Half of it is never there.

    force: replace one that has its name.
    """
    agents.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="install-", dir=agents.parent) as scratch:  # one file system: it is moved
        fetched = Path(scratch) / "agent"
        sources.fetch(source, fetched, Path(scratch))
        found = _read(fetched, source)
        folder = agents / found.name
        if os.path.lexists(folder) and not force:
            raise ManageError(f"an agent {found.name} is installed: remove it first, or say --force")
        _make_environment(fetched)
        if os.path.lexists(folder):
            folder.rename(Path(scratch) / "former")
        fetched.rename(folder)
    _tell_hidden(found.name)
    return manifest.read(folder)


def _read(fetched: Path, source: str) -> Manifest:
    """Its manifest; what is wrong with that is told of the source, not of our copy."""
    try:
        return manifest.read(fetched)
    except ManifestError as error:
        raise ManifestError(str(error).replace(f"{fetched}/", f"{source}: ")) from error


def _tell_hidden(name: str) -> None:
    if name in manifest.find(None)[0]:
        note(f"aios: it takes the place of the {name} that comes with aios, until `aios agents rm {name}`")


def remove(agents: Path, name: str) -> None:
    """Remove an agent and its environment."""
    folder = next((folder for folder, found in _installed(agents).items() if found == name), None)
    if folder is None:
        bundled = name in manifest.find(None)[0]
        raise ManageError(
            f"{name} comes with aios: it cannot be removed" if bundled else f"no agent {name} is installed"
        )
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)


def _installed(agents: Path) -> dict[Path, str]:
    """The user's agents: folder to name; of one whose manifest is broken, the folder's."""
    found, broken = manifest.find(agents)
    own = {agent.folder: agent.name for agent in found.values() if not agent.bundled}
    return own | {agents / name: name for name in broken if (agents / name).exists()}


def _make_environment(folder: Path) -> None:
    """An environment of its own, for an agent with requirements."""
    files = [name for name in REQUIREMENTS if (folder / name).is_file()]
    if not files:
        return
    note(f"installing {', '.join(files)} into an environment of its own")
    target = folder / manifest.VENV
    venv.create(target, with_pip=True, symlinks=True)
    options = [option for name in files for option in ("-r", name)]
    command = [str(target / "bin" / "python"), "-I", "-m", "pip", "install", "--no-input", "--quiet"]
    done = subprocess.run([*command, "--disable-pip-version-check", *options], cwd=folder, stdout=2, check=False)
    if done.returncode:
        raise ManageError(f"pip could not install {', '.join(files)}")


def main() -> int:
    """Entry point of `python -m aios_agents.manage`."""
    parser = argparse.ArgumentParser(prog="aios agents", description="Makes, installs and removes agents.")
    parser.add_argument("--agents", type=Path, required=True, help="folder with the user's agents")
    verbs = parser.add_subparsers(dest="verb", required=True)
    making = verbs.add_parser("new")
    making.add_argument("name")
    making.add_argument("--class", dest="as_class", action="store_true")
    installing = verbs.add_parser("install")
    installing.add_argument("source")
    installing.add_argument("--force", action="store_true")
    removing = verbs.add_parser("rm")
    removing.add_argument("name")
    options = parser.parse_args()
    try:
        match options.verb:
            case "new":
                print(new(options.agents, options.name, as_class=options.as_class))
            case "install":
                print(install(options.agents, options.source, force=options.force).name)
            case "rm":
                remove(options.agents, options.name)
    except (ManageError, SourceError, ManifestError) as error:
        note(f"aios: {error}")
        return 1
    except OSError as error:
        note(f"aios: {error.filename}: {error.strerror}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Where agents are installed from: a folder, a zip file, a git repository. What comes is checked before it is kept."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Final

MAX_BYTES: Final = 64 << 20  # of an agent, unpacked
MAX_FILES: Final = 4_096
CLONE_S: Final = 300.0
BLOCK: Final = 1 << 16

_SKIPPED: Final = frozenset([".git", ".venv", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"])
_GIT: Final = re.compile(r"[a-z+]+://|git@|\S+\.git$")


class SourceError(Exception):
    """There is no agent to be had there; the message says why."""


def fetch(source: str, target: Path, scratch: Path) -> None:
    """Make `target`, a folder that is not there yet, the agent's files. Raises SourceError.

    scratch: an empty folder to work in.
    """
    path = Path(source).expanduser()
    if path.is_dir() and not source.endswith(".git"):
        _copy(path, target)
    elif path.is_file():
        _unzip(path, scratch / "unzipped")
        _copy(_only_folder(scratch / "unzipped"), target)
    elif _GIT.match(source):
        _clone(source, scratch / "cloned")
        _copy(scratch / "cloned", target)
    else:
        raise SourceError(f"{source}: no folder, zip file or git address")


def _copy(folder: Path, target: Path) -> None:
    """Plain files and folders only: a link could lead anywhere."""
    budget = _Budget()
    target.mkdir()
    for path in _walk(folder):
        to = target / path.relative_to(folder)
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            to.mkdir()
        elif stat.S_ISREG(mode):
            with path.open("rb") as file:
                budget.copy(file, to)
            to.chmod(0o644 | mode & 0o111)
        else:
            raise SourceError(f"{path.relative_to(folder)}: a link or a special file")


def _walk(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name not in _SKIPPED:
            yield entry
            if entry.is_dir() and not entry.is_symlink():
                yield from _walk(entry)


def _unzip(path: Path, target: Path) -> None:
    budget = _Budget()
    target.mkdir()
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                to = target / _inside(entry)
                if entry.is_dir():
                    to.mkdir(parents=True, exist_ok=True)
                    continue
                to.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as file:
                    budget.copy(file, to)
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
        raise SourceError(f"{path}: {error}") from error  # RuntimeError: it has a password


def _inside(entry: zipfile.ZipInfo) -> PurePosixPath:
    """The entry's path, below the folder. Raises SourceError for any other, and for a link."""
    path = PurePosixPath(entry.filename)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in entry.filename:
        raise SourceError(f"{entry.filename!r}: leads out of the folder")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise SourceError(f"{entry.filename}: a link or a special file")
    return path


def _only_folder(folder: Path) -> Path:
    """Archives mostly have one folder with everything in it."""
    entries = list(folder.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _clone(address: str, target: Path) -> None:
    git = shutil.which("git")
    if git is None:
        raise SourceError(f"{address}: there is no git on this machine")
    # No program of the address's choosing, no questions, no links that the checkout would follow.
    options = ["-c", "protocol.ext.allow=never", "-c", "core.symlinks=false", "-c", "core.hooksPath=/dev/null"]
    command = [git, *options, "clone", "--quiet", "--depth", "1", "--no-recurse-submodules", "--", address, str(target)]
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=CLONE_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"{address}: git did not finish in {CLONE_S:g} s") from error
    if done.returncode:
        raise SourceError(f"{address}: git: {' '.join(done.stderr.decode(errors='replace').split())}")


class _Budget:
    """Counts what is written: sizes that an archive tells are not believed."""

    def __init__(self) -> None:
        self._bytes, self._files = MAX_BYTES, MAX_FILES

    def copy(self, file: IO[bytes], to: Path) -> None:
        """Raises SourceError when it is too much."""
        self._files -= 1
        with to.open("xb") as out:
            while block := file.read(BLOCK):
                self._bytes -= len(block)
                if self._bytes < 0 or self._files < 0:
                    raise SourceError(f"larger than {MAX_BYTES >> 20} MiB or {MAX_FILES} files: too much for an agent")
                out.write(block)

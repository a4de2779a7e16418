"""Where everything lives: one folder under AIOS_HOME, else the platform's own folders (XDG on Linux)."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

# sockaddr_un.sun_path holds 108 bytes on Linux, 104 on macOS, the closing NUL included (unix(7)).
MAX_SOCKET_PATH_BYTES = 103


@dataclass(frozen=True, slots=True)
class Paths:
    """The user's folders. Nothing is created by asking; `make` creates them, mode 0700."""

    config: Path
    data: Path
    state: Path
    socket: Path

    @property
    def config_file(self) -> Path:
        return self.config / "config.toml"

    @property
    def agents(self) -> Path:
        return self.data / "agents"

    @property
    def models(self) -> Path:
        return self.data / "models"

    @property
    def snapshots(self) -> Path:
        return self.data / "snapshots"

    @property
    def journal(self) -> Path:
        return self.state / "journal.duckdb"

    @property
    def keys(self) -> Path:
        """Bearer keys of foreign clients."""
        return self.state / "keys.json"

    @property
    def person_key(self) -> Path:
        """What tells the person from their agents, who cannot read it. Another one with each start of the kernel."""
        return person_key(self.socket)

    @property
    def policies(self) -> Path:
        """The person's own access policies, *.cedar."""
        return self.config / "policies"

    @property
    def audit(self) -> Path:
        """What was decided and done, in files of which each row vouches for the one before it."""
        return self.state / "audit"

    @property
    def memory(self) -> Path:
        """Notes of agents."""
        return self.data / "memory.sqlite3"

    @property
    def memory_swap(self) -> Path:
        """Interactions of running processes that do not fit in memory; worth nothing without their kernel."""
        return self.state / "memory-swap.sqlite3"

    @property
    def log(self) -> Path:
        return self.state / "kernel.log"

    @property
    def lock(self) -> Path:
        """Locked by the running kernel for as long as it lives."""
        return self.state / "kernel.lock"

    @property
    def run_file(self) -> Path:
        """The running kernel's pid; removed by a clean stop, so a leftover tells of a crash."""
        return self.state / "kernel.pid"

    @property
    def swap(self) -> Path:
        """Contexts of running processes that do not fit in memory; worth nothing without their kernel."""
        return self.state / "swap"

    @property
    def scratch(self) -> Path:
        """Folders of running agents and tools, gone with them."""
        return self.data / "scratch"

    @property
    def history(self) -> Path:
        return self.state / "history"

    def make(self) -> None:
        """Create the folders, mode 0700. Raises OSError."""
        for folder in (self.config, self.data, self.state, self.socket.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def paths() -> Paths:
    """The folders that AIOS_HOME names now, else the platform's."""
    home = os.environ.get("AIOS_HOME")
    if home:
        root = Path(home).expanduser().absolute()
        return Paths(root / "config", root / "data", root / "state", _socket_in(root))
    from platformdirs import PlatformDirs  # only without AIOS_HOME: it costs milliseconds

    dirs = PlatformDirs("aios", appauthor=False)
    state = Path(dirs.user_state_dir)
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Paths(
        Path(dirs.user_config_dir),
        Path(dirs.user_data_dir),
        state,
        _socket_in(Path(runtime) / "aios" if runtime else state),
    )


def person_key(socket: Path) -> Path:
    """Beside the socket, so that whoever is given that finds it too."""
    return socket.with_suffix(".key")


def _socket_in(folder: Path) -> Path:
    """The socket's path in `folder`, or a stable short one of this user's where that is too long for the system."""
    key = sha256(os.fsencode(folder)).hexdigest()[:12]
    short = f"aios-{os.getuid()}-{key}"
    places = (folder, Path(tempfile.gettempdir()) / short, Path("/tmp") / short)  # noqa: S108 - clients check whose it is
    paths = [place / "kernel.sock" for place in places]
    return next((path for path in paths if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES), paths[-1])

"""Names of files: checked once, here, before anything is opened."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from aios_kernel.errors import BadRequest, NotPermitted

RESERVED: Final = ".aios-"  # begins the names of files that are being written
MAX_PATH: Final = 1_024  # characters
MAX_NAME_BYTES: Final = 255  # of one component (NAME_MAX of Linux and macOS)
MAX_DEPTH: Final = 32

Parts = tuple[str, ...]  # components; () is the root itself

_OWNER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LINK: Final = "share:"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a file is: `notes/a.txt` is the caller's, `~writer/notes/a.txt` another agent's, `share:TOKEN` a link."""

    owner: str
    parts: Parts
    link: str = ""  # the token; then owner and parts say nothing

    @property
    def path(self) -> str:
        return "/".join(self.parts)

    @classmethod
    def parse(cls, text: str, caller: str) -> Self:
        """Raises BadRequest, NotPermitted as `clean` does."""
        if text.startswith(_LINK):
            return cls("", (), text.removeprefix(_LINK))
        if text.startswith("~"):
            owner, _, rest = text[1:].partition("/")
            return cls(check_owner(owner), clean(rest))
        return cls(caller, clean(text))


def clean(path: str) -> Parts:
    """The components of a path below a root. A leading slash means that root, as after a chroot.

    Raises:
        NotPermitted: it leads out of the root.
        BadRequest: it is too long, or has characters that no honest name has.
    """
    if len(path) > MAX_PATH:
        raise BadRequest(f"a path of {len(path)} characters: at most {MAX_PATH} are allowed", key="path")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if len(parts) > MAX_DEPTH:
        raise BadRequest(f"{path!r} is {len(parts)} folders deep: at most {MAX_DEPTH} are allowed", key="path")
    for part in parts:
        if part == "..":
            raise NotPermitted(f"{path!r} leads out of the agent's own files", path=path)
        if not part.isprintable() or part.startswith(RESERVED):  # a lone surrogate is not printable either
            raise BadRequest(f"{part!r} cannot be the name of a file", key="path")
        if len(part.encode()) > MAX_NAME_BYTES:
            raise BadRequest(f"a name of {len(part.encode())} bytes: at most {MAX_NAME_BYTES} are allowed", key="path")
    return parts


def check_owner(name: str) -> str:
    """Raises BadRequest for what is no agent's name: it becomes that of a folder."""
    if not _OWNER.fullmatch(name):
        raise BadRequest(f"{name!r} is not the name of an agent", key="owner")
    return name

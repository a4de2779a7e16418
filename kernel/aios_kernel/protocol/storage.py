"""Files of agents: what is in a folder, versions, the bin, shares, mounts, what a search finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FileKind(StrEnum):
    FILE = "file"
    FOLDER = "folder"
    OTHER = "other"  # a symbolic link, a pipe, a device: never opened


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One row of `aios fs ls --json`. path: below the owner's root."""

    owner: str
    path: str
    kind: FileKind
    size: int  # bytes
    modified_at: float
    version: int  # the newest; 0: none is kept, it has not been written through the kernel
    mount: str = ""  # "ro" or "rw" where it lies in a mounted folder


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One version of a file. `aios fs history --json`."""

    version: int  # from 1; each change makes the next
    size: int
    sha256: str
    at: float
    pid: int  # of the process that made it; 0: a person
    what: str  # "write", "append", "rollback to 3", "changed outside"


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file as it is, or a version of it. Exactly one of `text` and `base64` is set: text where it is UTF-8."""

    owner: str
    path: str
    version: int  # 0: none is kept, or it has been changed outside since
    size: int
    sha256: str
    text: str | None = None
    base64: str | None = None


@dataclass(frozen=True, slots=True)
class FileHit:
    """What a search found."""

    owner: str
    path: str
    line: int  # from 1: where the words or the passage stand
    text: str  # of that place, one line
    by: tuple[str, ...]  # "words", "meaning"
    score: float  # of the merged ranks; more is better


@dataclass(frozen=True, slots=True)
class SearchReply:
    hits: list[FileHit]
    by_meaning: bool  # False: there is no embedding model
    pending: int  # files that the search by meaning does not know yet


@dataclass(frozen=True, slots=True)
class BinInfo:
    """One deleted file. `aios fs bin --json`."""

    id: int
    owner: str
    path: str
    size: int
    versions: int
    deleted_at: float
    until: float  # then it is gone for good


@dataclass(frozen=True, slots=True)
class ShareInfo:
    """A file or folder that another agent may read, or a link: a copy of a file that whoever has the link may read."""

    id: str  # of a link all but its first characters are secret: they open it
    owner: str
    path: str
    to: str  # an agent; "": a link
    created_at: float
    until: float
    file: str = ""  # of a link: the copy, on this machine


@dataclass(frozen=True, slots=True)
class MountInfo:
    """A folder of the person's, seen by an agent among its files."""

    owner: str
    path: str
    folder: str
    writable: bool


@dataclass(frozen=True, slots=True)
class OwnerInfo:
    """What an agent keeps. `aios fs ls --json` without a name."""

    owner: str
    files: int
    bytes: int  # of all versions, the bin's too, each content once
    max_files: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class MoveRequest:
    path: str
    to: str
    replace: bool = False


@dataclass(frozen=True, slots=True)
class RollbackRequest:
    path: str
    version: int = -1


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """Bring a file back from the bin: the one with this id, else the newest of this path."""

    id: int | None = None
    path: str = ""
    to: str = ""  # another path; "": where it was


@dataclass(frozen=True, slots=True)
class ShareRequest:
    path: str
    to: str = ""
    expires_s: float = 86_400.0


@dataclass(frozen=True, slots=True)
class MountRequest:
    folder: str
    path: str
    writable: bool = False

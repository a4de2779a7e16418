"""A few rows that outlive the kernel, in one JSON file: shares and mounts. In memory they are looked up at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from aios_kernel.durable import disk_error, drop_unfinished, replace_file
from aios_kernel.errors import InternalError

T = TypeVar("T")


class Kept(Generic[T]):
    """A list of dataclasses, short enough not to block for long. A change is durable before it is in memory."""

    def __init__(self, path: Path, kind: type[T]) -> None:
        """Raises InternalError when the file is no such list."""
        self._path = path
        self._rows: tuple[T, ...] = ()
        try:
            drop_unfinished(path)
            self._rows = tuple(msgspec.json.decode(path.read_bytes(), type=list[kind]))  # type: ignore[valid-type]
        except FileNotFoundError:
            pass
        except (OSError, msgspec.MsgspecError) as error:
            raise InternalError(f"{path}: {error}", path=str(path)) from error

    def __iter__(self) -> Iterator[T]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def set(self, rows: tuple[T, ...]) -> None:
        """Raises LimitHit (the disk is full), InternalError; then nothing has changed."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._path, (msgspec.json.format(msgspec.json.encode(rows), indent=2),))
        except OSError as error:
            raise disk_error(self._path, error) from error
        self._rows = rows

"""A few rows that outlive the kernel, in one JSON file: shares and mounts. In memory they are looked up at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from aios_kernel.errors import InternalError

T = TypeVar("T")


class Kept(Generic[T]):
    """A list of dataclasses, short enough not to block for long. A change is durable before it is in memory."""

    def __init__(self, path: Path, kind: type[T]) -> None:
        """Raises InternalError when the file is no such list."""
        self._path = path
        self._rows: tuple[T, ...] = ()
        try:
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
        """Raises InternalError; then nothing has changed."""
        fresh = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(rows), indent=2))
                file.flush()
                os.fsync(fd)
            fresh.replace(self._path)
        except OSError as error:
            raise InternalError(f"{self._path} cannot be written: {error}", path=str(self._path)) from error
        self._rows = rows

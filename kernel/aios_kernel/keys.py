"""Keys of foreign clients: one bearer key a privilege group, in one file of the state folder, mode 0600."""

from __future__ import annotations

import hmac
import os
import re
import secrets
from pathlib import Path
from typing import Final

import msgspec

from aios_kernel.errors import BadRequest, InternalError

PREFIX: Final = "sk-aios-"  # some clients look for "sk-", and whoever finds one should know whose it is
KEY_BYTES: Final = 32
_GROUP: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


class Keys:
    """The file is read anew for each question, some 20 µs, so that a key is gone as soon as it is not in there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, group: str, *, new: bool = False) -> str:
        """The group's key, made when it has none; with `new` its former key opens nothing any more.

        Raises:
            BadRequest: this is no name of a group.
            InternalError: the file cannot be read or written.
        """
        if not _GROUP.fullmatch(group):
            raise BadRequest(f"group {group!r}: letters, digits and _ . - are allowed, at most 64", key="group")
        keys = self._read()
        if new or group not in keys:
            keys[group] = PREFIX + secrets.token_urlsafe(KEY_BYTES)
            self._write(keys)
        return keys[group]

    def group_of(self, key: str) -> str | None:
        """The group whose key this is; every key is compared in full, so the time taken tells nothing."""
        given = key.encode()
        found = [group for group, known in self._read().items() if hmac.compare_digest(given, known.encode())]
        return found[0] if found else None

    def _read(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            raise InternalError(f"{self._path} cannot be read: {error}; without it new keys are made") from error

    def _write(self, keys: dict[str, str]) -> None:
        fresh = self._path.with_suffix(".new")
        try:
            fresh.unlink(missing_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(keys)))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            raise InternalError(f"{self._path} cannot be written: {error}") from error

"""What people have granted, and refused, for good: one policy each in a file of the policies' folder."""

from __future__ import annotations

import os
from pathlib import Path

from aios_kernel.access.policy import GRANTED, Policies, Policy, granted_text, read_policies
from aios_kernel.errors import BadConfig, InternalError, InvalidState
from aios_kernel.protocol import GrantRequest


class Grants:
    """Changes the file and loads all policies anew. Blocks; one change at a time. A person may edit the file too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / GRANTED

    def add(self, request: GrantRequest, *, permit: bool) -> tuple[Policies, str]:
        """Add a policy, unless there is the same already. Returns the policies now in force, and its id.

        Raises:
            BadConfig: this or another file is wrong; InternalError: the file cannot be written.
        """
        text, rows = self._read()
        taken = {row.id for row in Policies.load(self._folder).rows}
        base = f"{request.agent}-{request.action.replace(':', '-')}"
        id = next(id for id in (base, *(f"{base}-{n}" for n in range(2, len(taken) + 3))) if id not in taken)
        added = granted_text(id, request, permit=permit)
        for row in rows:
            if _without_id(row.text) == _without_id(added.strip()):
                return Policies.load(self._folder), row.id
        return self._replace(text, text + added), id

    def remove(self, id: str) -> Policies:
        """Raises InvalidState when none that was granted has this id, BadConfig, InternalError."""
        text, rows = self._read()
        for row in rows:
            if row.id == id:
                return self._replace(text, text[: row.start] + text[row.end :].lstrip("\n"))
        raise InvalidState(f"no granted policy is called {id!r}: `aios access ls` lists them", id=id)

    def _read(self) -> tuple[str, list[Policy]]:
        if not self._path.exists():
            return "", []
        errors: list[dict[str, object]] = []
        rows = list(read_policies(self._path, errors))
        if errors:
            raise BadConfig("{file}:{line}: {message}".format(**errors[0]), errors=errors)
        return self._path.read_text(encoding="utf-8"), rows

    def _replace(self, before: str, text: str) -> Policies:
        """Write the file, all of it or none; what does not hold together with the other files is taken back."""
        self._write(text)
        try:
            return Policies.load(self._folder)
        except BadConfig:
            self._write(before)
            raise

    def _write(self, text: str) -> None:
        fresh = self._path.with_suffix(".new")
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            fresh.unlink(missing_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            raise InternalError(f"{self._path} cannot be written: {error}") from error


def _without_id(text: str) -> str:
    return text.partition("\n")[2]

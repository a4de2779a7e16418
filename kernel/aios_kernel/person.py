"""The person: told from agents and strangers on the kernel's socket by a key that agents cannot read."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastapi import Request

from aios_kernel.errors import InternalError, NotAuthenticated, NotPermitted
from aios_kernel.serving import bearer

if TYPE_CHECKING:
    from aios_kernel.daemon import Kernel

KEY_BYTES: Final = 32
_READING: Final = frozenset({"GET", "HEAD"})


class PersonKey:
    """One kernel's key of the person, in a file of mode 0600. The next kernel makes another."""

    def __init__(self, path: Path) -> None:
        """Raises InternalError when the file cannot be written."""
        self._key = "person-" + secrets.token_urlsafe(KEY_BYTES)
        fresh = path.with_suffix(".new")
        try:
            fresh.unlink(missing_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
                file.write(self._key)
            fresh.replace(path)
        except OSError as error:
            raise InternalError(f"{path} cannot be written: {error}", path=str(path)) from error

    def matches(self, key: str) -> bool:
        """Takes as long for any key of the length."""
        return hmac.compare_digest(key.encode(), self._key.encode())


def person_only(kernel: Kernel) -> Callable[[Request], Awaitable[None]]:
    """A dependency for routes that are the person's. What they change is in the audit log before it is done.

    It raises NotAuthenticated without the person's key, NotPermitted with another that is one.
    """

    async def check(request: Request) -> None:
        asked = f"{request.method} {request.url.path}"
        try:
            _check_key(kernel, bearer(request))
        except (NotAuthenticated, NotPermitted) as error:
            kernel.access.refuse(asked, error.message)
            raise
        if request.method not in _READING:
            await kernel.access.person(asked)

    return check


def _check_key(kernel: Kernel, key: str) -> None:
    if kernel.person.matches(key):
        return
    with contextlib.suppress(NotAuthenticated):
        kernel.supervisor.by_token(key)
        raise NotPermitted("an agent's token opens POST /syscall only")
    if kernel.keys.group_of(key) is not None:
        raise NotPermitted("a foreign client's key opens the kernel's TCP port only")
    raise NotAuthenticated("this key is not the person's: it is in a file beside the socket, kernel.key")

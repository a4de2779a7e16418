"""Capability tokens: a pid and 256 random bits that only its process is told. They die with it."""

from __future__ import annotations

import hmac
import secrets
from typing import Final

from aios_kernel.protocol import Pid

TOKEN_BYTES: Final = 32


def make(pid: Pid) -> str:
    return f"{pid}.{secrets.token_urlsafe(TOKEN_BYTES)}"


def pid_of(token: str) -> Pid:
    """The process that a token is for, if it is one; 0, which is no process, for any other text."""
    digits = token.partition(".")[0]
    return Pid(int(digits)) if digits.isascii() and digits.isdecimal() and len(digits) <= 18 else Pid(0)


def same(token: str, given: str) -> bool:
    """Takes as long for any `given` of the length."""
    return hmac.compare_digest(token.encode(), given.encode())

"""The C library of this process, opened once: opening costs more than a call."""

from __future__ import annotations

import ctypes
from typing import Final

LIBC: Final = ctypes.CDLL(None, use_errno=True)

"""Which environment variables go to agents and tools: those that tell how to run, none that could be a secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_NAMES: Final = {
    "COLORTERM", "HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LOGNAME", "NO_COLOR", "PATH", "SHELL", "SSL_CERT_DIR",
    "SSL_CERT_FILE", "TERM", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV",
}  # fmt: skip
_FAMILIES: Final = ("LC_", "PYTHON")


def harmless(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if key in _NAMES or key.startswith(_FAMILIES)}

"""The shell of tests/shell, to run the command in."""

from __future__ import annotations

from shell.conftest import shell

__all__ = ["shell"]

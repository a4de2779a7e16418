"""TOML files that people write. Every error names the file, the line and what is accepted."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aios_kernel.errors import BadConfig


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A parsed file that still knows its lines."""

    path: Path
    text: str
    table: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> TomlFile:
        """Raises BadConfig; FileNotFoundError where there is none."""
        try:
            text = path.read_text(encoding="utf-8")
            return cls(path, text, tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"line (\d+)", str(error))
            where = f"{path}:{found[1]}" if found else str(path)
            raise BadConfig(f"{where}: {error}", file=str(path)) from error
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise BadConfig(f"{path}:{line}: this is not UTF-8", file=str(path), line=line) from error
        except FileNotFoundError:
            raise
        except OSError as error:
            raise BadConfig(f"{path}: {error.strerror}", file=str(path)) from error

    def error(self, section: str, key: str, message: str) -> BadConfig:
        """For `key` in [section]; a section of "" is the top of the file, a key of "" the section itself."""
        line = self.line_of(section, key)
        where = f"{self.path}:{line}" if line else str(self.path)
        return BadConfig(f"{where}: {message}", file=str(self.path), line=line, section=section, key=key)

    def line_of(self, section: str, key: str) -> int | None:
        """Line number, from 1; None when not found.

        tomllib keeps no positions. The forms of plain configuration files are known: a key below its header, a dotted
        key, an inline table.
        """
        bare = r"[\"']?{}[\"']?".format
        header = re.compile(rf"\s*\[\s*{bare(re.escape(section))}\s*\]")
        own = re.compile(rf"\s*{bare(re.escape(key))}\s*=")
        dotted = re.compile(
            rf"\s*{bare(re.escape(section))}\s*(\.\s*{bare(re.escape(key))}\s*=|=.*\b{re.escape(key)}\b)"
        )
        current = not section
        for number, line in enumerate(self.text.splitlines(), 1):
            if re.match(r"\s*\[", line):
                current = header.match(line) is not None
            if (not key and (current or re.match(rf"\s*{bare(re.escape(section))}\s*[.=]", line))) or (
                key and ((current and own.match(line)) or (section and dotted.match(line)))
            ):
                return number
        return None


def unknown(what: str, name: str, accepted: Iterable[str]) -> str:
    """What to say of a name that is none of `accepted`."""
    names = list(accepted)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"unknown {what} {name!r}{hint} (accepted: {', '.join(names)})"

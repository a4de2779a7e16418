"""[mcp.NAME] of config.toml: MCP servers, read from it and written into it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from aios_kernel.errors import BadConfig, BadRequest, InternalError
from aios_kernel.protocol import ServerRequest

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")

_TEXTS: Final = "a list of texts"
_TABLE: Final = 'a table of texts, { NAME = "value" }'
_KINDS: Final = {"command": _TEXTS, "url": "a text in quotes", "cwd": "a text in quotes", "env": _TABLE}
_KINDS_OF: Final = {**_KINDS, "headers": _TABLE, "timeout_s": "a whole number", "concurrency": "a whole number"}


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """One server: a program that speaks on its standard streams, or a URL that answers streamable HTTP."""

    name: str
    command: tuple[str, ...] = ()  # program and arguments; it runs as you do, not confined
    url: str = ""  # instead of a command
    env: dict[str, str] = field(default_factory=dict)  # for the program, beside HOME, PATH and their like
    cwd: str = ""  # for the program; "": your home
    headers: dict[str, str] = field(default_factory=dict)  # for the URL, an Authorization for instance
    timeout_s: int = 60  # of one call
    concurrency: int = 8  # calls of one tool at once

    def __post_init__(self) -> None:
        """Raises BadConfig that names the key."""
        if not NAME.fullmatch(self.name):
            raise BadConfig(f"{self.name!r} cannot be the name of an MCP server: letters, digits, - and _", key="")
        if bool(self.command) == bool(self.url):
            raise BadConfig("one of command and url is needed, and not both", key="")
        if self.url and (urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname):
            raise BadConfig(f"url = {self.url!r}: must begin with http:// or https://", key="url")
        if any("\0" in text for text in (*self.command, self.cwd, *self.env, *self.env.values())):
            raise BadConfig("a NUL character", key="command")
        for key, value, high in (("timeout_s", self.timeout_s, 86_400), ("concurrency", self.concurrency, 1_024)):
            if not 1 <= value <= high:
                raise BadConfig(f"{key} = {value}: must be 1 to {high}", key=key)

    @classmethod
    def parse(cls, name: str, body: dict[str, Any]) -> Self:
        """Of a table of config.toml. Raises BadConfig that names the key."""
        accepted = [each.name for each in fields(cls) if each.name != "name"]
        for key, value in body.items():
            if key not in accepted:
                raise BadConfig(f"unknown key {key!r} (accepted: {', '.join(accepted)})", key=key)
            if not _is(value, _KINDS_OF[key]):
                raise BadConfig(f"{key} = {value!r}: must be {_KINDS_OF[key]}", key=key)
        values: dict[str, Any] = {key: tuple(value) if key == "command" else value for key, value in body.items()}
        return cls(name, **values)

    @classmethod
    def of(cls, request: ServerRequest) -> Self:
        """Raises BadConfig."""
        return cls(request.name, tuple(request.command), request.url, dict(request.env))

    @property
    def where(self) -> str:
        """For a person; a URL without what may be a password."""
        if self.command:
            return " ".join(self.command)
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def add(path: Path, server: ServerConfig) -> None:
    """Write a server into config.toml. Raises BadRequest when there is one of the name, InternalError."""
    text = _read(path)
    if server.name in _servers(text):
        raise BadRequest(f"there is an MCP server {server.name} already: `aios tools rm {server.name}` first")
    lines = [f"[mcp.{server.name}]"]
    if server.command:
        lines.append(f"command = [{', '.join(map(_quoted, server.command))}]")
    else:
        lines.append(f"url = {_quoted(server.url)}")
    if server.env:
        lines.append("env = { " + ", ".join(f"{_quoted(k)} = {_quoted(v)}" for k, v in server.env.items()) + " }")
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    _write(path, text + gap + "\n".join(lines) + "\n", {*_servers(text), server.name})


def remove(path: Path, name: str) -> None:
    """Take a server's section out of config.toml. Raises BadRequest where that cannot be done safely, InternalError."""
    text = _read(path)
    servers = _servers(text)
    if name not in servers:
        raise BadRequest(f"{path} has no [mcp.{name}]")
    kept, inside = [], False
    for line in text.splitlines(keepends=True):
        if re.match(r"\s*\[", line):
            inside = (
                re.match(rf"\s*\[\s*[\"']?mcp[\"']?\s*\.\s*[\"']?{re.escape(name)}[\"']?\s*[.\]]", line) is not None
            )
        if not inside:
            kept.append(line)
    _write(path, "".join(kept).rstrip("\n") + "\n" if kept else "", {*servers} - {name})


def _write(path: Path, text: str, names: set[str]) -> None:
    """Replace config.toml, unless the edit did more or less than it should: it is a person's own file.

    names: the servers that it is to have.
    """
    try:
        after = tomllib.loads(text)
        before = tomllib.loads(_read(path))
    except tomllib.TOMLDecodeError as error:
        raise BadRequest(f"{path} is written in a way that only you can edit") from error
    if set(after.get("mcp", {})) != names or {**after, "mcp": 0} != {**before, "mcp": 0}:
        raise BadRequest(f"{path} is written in a way that only you can edit")
    fresh = path.with_suffix(".new")
    try:
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path.resolve())
    except OSError as error:
        raise InternalError(f"{path} cannot be written: {error.strerror}") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise InternalError(f"{path} cannot be read: {error}") from error


def _servers(text: str) -> dict[str, Any]:
    """Raises BadRequest for what is no TOML."""
    try:
        servers = tomllib.loads(text).get("mcp", {})
    except tomllib.TOMLDecodeError as error:
        raise BadRequest(f"config.toml: {error}") from error
    return servers if isinstance(servers, dict) else {}


def _quoted(text: str) -> str:
    """A TOML string: JSON's escapes are TOML's, but for DEL and what is beyond U+FFFF."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _is(value: Any, kind: str) -> bool:
    if kind == _TEXTS:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if kind == _TABLE:
        return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
    return type(value) is (int if kind == "a whole number" else str)

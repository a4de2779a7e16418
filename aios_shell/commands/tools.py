"""tools ls, show, call, add, rm, serve."""

from __future__ import annotations

import json as json_module
import os
import shutil
from typing import Any

from aios_kernel.client.tools import ToolClient
from aios_kernel.errors import BadRequest, KernelError, row_of
from aios_kernel.protocol import Category, ServerRequest, ToolInfo, ToolSessionRequest
from aios_shell import render
from aios_shell.io import Io
from aios_shell.text import one_line, sanitize


def ls(io: Io, json: bool) -> None:
    found = _tools(io).list()
    if json:
        render.json(io, found)
        return
    rows = [
        (tool.name, tool.category, tool.source, "asks" if tool.asks else "", tool.description) for tool in found.tools
    ]
    render.table(io, ("NAME", "CATEGORY", "SOURCE", "", "DESCRIPTION"), rows, spare=("CATEGORY", "SOURCE"))
    for server in found.servers:
        if server.state != "ready":
            io.note(f"MCP server {server.name} is {server.state}{': ' if server.error else ''}{server.error}")
    for name, why in found.unavailable.items():
        io.note(f"{name} {why}")


def show(io: Io, name: str, json: bool) -> None:
    tool = _tools(io).tool(name)
    if json:
        render.json(io, tool)
        return
    pairs = [
        ("name", tool.name),
        ("description", tool.description),
        ("category", tool.category),
        ("source", tool.source),
        ("timeout", f"{tool.timeout_s:g} s"),
        ("at once", f"{tool.concurrency}, {tool.running} running, {tool.waiting} waiting"),
        ("result", f"at most {render.size(tool.max_output_bytes)}"),
        ("runs again", "where a connection was lost" if tool.idempotent else "never"),
        ("asks", _asks(tool)),
    ]
    render.facts(io, pairs)
    for parameter, schema in tool.parameters.get("properties", {}).items():
        needed = " (needed)" if parameter in tool.parameters.get("required", ()) else ""
        io.line(f"  {one_line(parameter)}{needed}: {one_line(json_module.dumps(schema, ensure_ascii=False))}")


def call(io: Io, name: str, arguments: list[str], agent: str, group: str, json: bool) -> None:
    """In a process of its own, which `ps` and `audit` show."""
    client = _tools(io)
    given = _arguments(client, name, arguments)
    with client.session(ToolSessionRequest(agent, group, f"call {name}")) as session, io.cancel.closing(session.end):
        result = session.call(name, given)
    if json:
        render.json(io, result)
        return
    text = result if isinstance(result, str) else json_module.dumps(result, ensure_ascii=False, indent=2)
    io.line(sanitize(text) if io.tty(io.stdout) else text)


def add(io: Io, name: str, command: list[str], url: str | None, env: list[str]) -> None:
    if bool(command) == bool(url):
        raise BadRequest(f"give its program, `aios tools add {name} -- PROGRAM`, or its address with --url")
    variables = dict(each.partition("=")[::2] for each in env)
    words = [_program(io, command[0]), *command[1:]] if command else []
    info = _tools(io).add(ServerRequest(name, words, url or "", variables))
    io.note(f"{info.name} has {info.tools} tools; `aios tools ls` lists them")


def rm(io: Io, names: list[str]) -> int:
    """Each; one that is not there does not keep the others from it."""
    client, status = _tools(io), 0
    for name in names:
        try:
            client.remove(name)
        except KernelError as error:
            io.note(error.message)
            status = row_of(error).exit
    return status


def serve(io: Io, tools: list[str], agent: str, group: str) -> None:
    """Until standard input ends, or the process in whose name it calls is ended."""
    from aios_shell.mcp_server import run  # late: it costs a second

    client = io.session.connect(io.note)
    for name in tools:
        ToolClient(client).tool(name)  # raises NoSuchTool
    with ToolClient(client).session(ToolSessionRequest(agent, group, "MCP server")) as session:
        run(client.socket_path, session, frozenset(tools), io)


def _tools(io: Io) -> ToolClient:
    return ToolClient(io.session.connect(io.note))


def _program(io: Io, word: str) -> str:
    """A program as it is found from here: the kernel may have been started elsewhere. Links stay as they are."""
    if "/" in word:
        return os.path.normpath(io.session.path(word))
    return shutil.which(word, path=io.session.env.get("PATH")) or word


def _asks(tool: ToolInfo) -> str:
    if tool.asks:
        return "a person, unless a policy permits it"
    return "a person where the same on a file would" if tool.category is Category.FILES else "nobody"


def _arguments(client: ToolClient, name: str, words: list[str]) -> dict[str, Any]:
    """One JSON object, or NAME=VALUE words: text where the tool takes text, else JSON.

    Raises BadRequest, NoSuchTool.
    """
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        try:
            given = json_module.loads(words[0])
        except ValueError as error:
            raise BadRequest(f"the arguments are not JSON: {error}") from error
        return dict(given)
    known = client.tool(name).parameters.get("properties", {}) if words else {}
    arguments = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise BadRequest(f"'{word}' is not NAME=VALUE (see `aios tools show {name}`)")
        arguments[key] = _value(value, known.get(key, {}))
    return arguments


def _value(text: str, schema: dict[str, Any]) -> Any:
    if schema.get("type") == "string":
        return text
    try:
        return json_module.loads(text)
    except ValueError:
        return text

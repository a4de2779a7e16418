"""What cog writes into the pages: tables made from the code, so that they cannot fall behind it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import fields
from inspect import signature
from pathlib import Path
from unittest.mock import Mock

from aios_kernel import config, errors
from aios_kernel.access.need import ACTIONS
from aios_kernel.core import EngineConfig
from aios_kernel.errors import WIRE
from aios_kernel.process import ALLOWED
from aios_kernel.protocol import ProcState
from aios_kernel.scheduler.policies import POLICIES
from aios_kernel.tools import builtin_tools
from aios_kernel.tools.code import code_tools
from aios_kernel.tools.data import data_tools
from aios_kernel.tools.fetch import fetch_tool
from aios_kernel.tools.files import file_tools
from aios_kernel.tools.mcp.config import ServerConfig
from aios_kernel.tools.workers import Workers
from aios_shell.bench import report
from aios_shell.help import reference

__all__ = [
    "actions",
    "benchmarks",
    "configuration",
    "default_policies",
    "error_table",
    "frame",
    "keys",
    "policies",
    "reference",
    "routes",
    "states",
    "syscalls",
    "themes",
    "tool_servers",
    "tools",
]


def table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


def error_table() -> str:
    tree = dict(re.findall(r"(\w+) {2,}(\w.*)", errors.__doc__ or ""))
    rows = [(row.errno, kind.__name__, row.http, row.exit, tree[kind.__name__]) for kind, row in WIRE.items()]
    return table(("errno", "error", "HTTP", "exit code", "when"), rows)


def syscalls() -> str:
    from aios_kernel.syscalls import all_rows

    rows = []
    for name, row in all_rows(*[None] * len(signature(all_rows).parameters)).items():  # type: ignore[arg-type]
        arguments = ", ".join(f"`{field.name}`" for field in fields(row.args))
        rows.append((f"`{name}`", arguments or "none", row.state.value if row.state else "answers at once"))
    return table(("syscall", "arguments", "the caller meanwhile"), rows)


def actions() -> str:
    rows = [(f"`{kind}`", ", ".join(f"`{kind}:{verb}`" for verb in verbs)) for kind, verbs in ACTIONS.items()]
    return table(("of", "actions"), rows)


def default_policies() -> str:
    return "```\n" + (Path(errors.__file__).parent / "access" / "default.cedar").read_text() + "```\n"


def routes() -> str:
    from aios_kernel.server import create_app

    paths = create_app(Mock(version="0")).openapi()["paths"]  # only its routes are looked at
    rows = [
        (f"`{method.upper()} {path}`", operation.get("description", operation["summary"]).split("\n")[0])
        for path, methods in paths.items()
        for method, operation in methods.items()
    ]
    return table(("route", ""), rows)


def frame() -> str:
    source = (Path(errors.__file__).parent / "protocol" / "watch.py").read_text().partition("class Frame")[2]
    return table(
        ("field", ""), ((f"`{name}`", does) for name, does in re.findall(r"^    (\w+): .*?  # (.*)$", source, re.M))
    )


def states() -> str:
    source = (Path(errors.__file__).parent / "protocol" / "processes.py").read_text()
    meaning = dict(re.findall(r'^    [A-Z]+ = "(\w+)"  # (.*)$', source, re.M))
    rows = [(s.value, meaning[s.value], ", ".join(n.value for n in ProcState if n in ALLOWED[s])) for s in ProcState]
    return table(("state", "means", "may become"), rows)


_OTHER_KEYS = {
    "listen": "HOST:PORT to answer [OpenAI-compatible clients](openai.md) on; `--listen` overrides it",
    "model": "reference of the model, as `aios model ls` shows it",
    "overflow": "what to do with a prompt that outgrows the window: " + ", ".join(config.Overflow),
    "policy": "one of " + ", ".join(POLICIES) + ", see below",
}


_NO_DEFAULT = {"model": "embedded", "listen": "not listening", "overflow": f"`{config.Config().overflow.value!r}`"}


def configuration() -> str:
    engine = (Path(errors.__file__).parent / "core" / "__init__.py").read_text()
    meaning = dict(re.findall(r"^    (\w+): \w+ = .*?  # (.*)$", engine, re.M))
    defaults = EngineConfig()
    rows = []
    for section, keys in config._KEYS.items():
        for key, (_, target) in keys.items():
            default = getattr(defaults, target, None)
            shown = f"`{default!r}`" if default is not None else _NO_DEFAULT[target]
            rows.append((f"`[{section}]`", f"`{key}`", shown, _OTHER_KEYS.get(target) or meaning[target]))
    for section, kind in config.SECTIONS.items():
        source = Path(sys.modules[kind.__module__].__file__ or "").read_text()
        meaning = dict(re.findall(r"^    (\w+): \w+ = .*?  # (.*)$", source, re.M))
        rows += [(f"`[{section}]`", f"`{f.name}`", f"`{f.default!r}`", meaning[f.name]) for f in fields(kind)]
    return table(("section", "key", "default", ""), rows)


def tools() -> str:
    workers = Workers(Mock(), Path(), config.Config().tools.timeout_s, 0)  # only what they are called is looked at
    made = (builtin_tools(Mock()), file_tools(), data_tools(workers), code_tools(workers), [fetch_tool(workers)])
    found = [tool for each in made for tool in each]
    rows = [(f"`{tool.name}`", tool.category, tool.spec.description, "yes" if tool.asks else "") for tool in found]
    return table(("tool", "category", "", "asks"), rows)


def tool_servers() -> str:
    source = Path(sys.modules[ServerConfig.__module__].__file__ or "").read_text()
    meaning = re.findall(r"^    (\w+): .*?  # (.*)$", source, re.M)
    return table(("key", ""), [(f"`{key}`", does) for key, does in meaning])


def benchmarks() -> str:
    """The figures are those of `aios bench --json > docs/benchmarks.json --plot docs/images`, on a quiet machine."""
    return report.markdown(Path(__file__).with_name("benchmarks.json"), "images")


def policies() -> str:
    rows = []
    for name in POLICIES:
        doc = (__import__(POLICIES[name].__module__, fromlist=["x"]).__doc__ or "").strip().split("\n\n")[0]
        rows.append((f"`{name}`", doc.split(": ", 1)[-1].replace("\n", " ")))
    return table(("policy", ""), rows)


def keys() -> str:
    import aios_shell.tui.app
    from aios_shell.tui import keys as tui_keys

    assert aios_shell.tui.app  # the keys are those of the classes that it loads
    found = tui_keys.keys()
    pages = []
    for where in dict.fromkeys(key.where for key in found):
        rows = [(" ".join(map(_code, key.keys)), key.does, f"`{key.id}`") for key in found if key.where == where]
        pages.append(f"### {where}\n\n" + table(("key", "does", "id"), rows))
    return "\n".join(pages)


def _code(text: str) -> str:
    return f"`{text}`"


def themes() -> str:
    from aios_kernel.client.toml import TomlFile
    from aios_shell.tui.themes import bundled_files

    return table(
        ("theme", ""), ((f"`{path.stem}`", TomlFile.read(path).table["description"]) for path in bundled_files())
    )

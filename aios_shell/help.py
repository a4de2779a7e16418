"""Help text and the reference page, from the registry."""

from __future__ import annotations

import textwrap

from aios_shell.registry import find, verbs, visible
from aios_shell.spec import CommandSpec, Param

WIDTH = 80  # wraps the same on every terminal, so that golden texts and readers agree


def overview() -> str:
    """`aios help`: the commands by category, and the command language in a few lines."""
    indent = max(len(spec.name) for spec in visible()) + 4
    parts = ["usage: aios [-c LINE | -f FILE | COMMAND ... | AGENT TASK ...]\n"]
    for category in dict.fromkeys(spec.category for spec in visible()):
        parts.append(f"\n{category}\n")
        parts.append(_columns([(spec.name, spec.summary) for spec in visible() if spec.category == category], indent))
    parts.append(LANGUAGE)
    return "".join(parts)


LANGUAGE = """
Command lines
  a | b   a && b   a || b   a ; b   a &   < in   > out   >> out   2> err   2>&1
  'quotes'  "quotes $VAR"  $VAR  $?  ~  *.txt  # comment
  ? QUESTION   asks the chat agent; the rest of the line is taken as it stands
  A word is a command of aios, then an agent, then a program of this machine.

`aios help COMMAND` tells more about one.
"""


def command_help(spec: CommandSpec) -> str:
    """`aios help COMMAND`, and what --help prints."""
    parts = [f"usage: {usage(spec)}\n\n{textwrap.fill(spec.summary, WIDTH)}\n"]
    for title, params in (("Arguments", spec.arguments), ("Options", spec.options)):
        if params:
            rows = [(_label(param), _description(param)) for param in params]
            parts.append(f"\n{title}\n{_columns(rows)}")
    if spec.examples:
        parts.append("\nExamples\n" + "".join(f"  {example}\n" for example in spec.examples))
    return "".join(parts)


def noun_help(noun: str) -> str:
    """`aios help NOUN`, and what --help prints after a noun alone."""
    alone = find([noun])[0]
    assert alone is not None
    rows = _columns([(spec.name, spec.summary) for spec in verbs(noun)])
    hint = f"`aios {noun}` alone is `aios {alone.name}`; `aios help {alone.name}` tells more."
    return f"usage: aios {noun} [COMMAND]\n\n{rows}\n{hint}\n"


def usage(spec: CommandSpec) -> str:
    words = ["aios", spec.name]
    if spec.options:
        words.append("[OPTION...]")
    for param in spec.arguments:
        label = param.label + ("..." if param.many else "")
        words.append(label if param.required else f"[{label}]")
    return " ".join(words)


def reference() -> str:
    """The reference page, in Markdown."""
    parts: list[str] = []
    for category in dict.fromkeys(spec.category for spec in visible()):
        parts.append(f"## {category}\n\n")
        parts += [_entry(spec) for spec in visible() if spec.category == category]
    return "".join(parts).rstrip() + "\n"


def _entry(spec: CommandSpec) -> str:
    lines = [f"### aios {spec.name}\n", f"{spec.summary}\n", f"```\n{usage(spec)}\n```\n"]
    if spec.params:
        rows = [f"| `{_label(param).replace('|', chr(92) + '|')}` | {_description(param)} |" for param in spec.params]
        lines.append("\n".join(["| | |", "| --- | --- |", *rows]) + "\n")
    if spec.examples:
        lines.append("```\n" + "\n".join(spec.examples) + "\n```\n")
    return "\n".join(lines) + "\n"


def _label(param: Param) -> str:
    if not param.flags:
        return param.label
    names = ", ".join(sorted(param.flags, key=len))
    return names if param.kind is bool else f"{names} {param.label}"


def _description(param: Param) -> str:
    if param.flags and param.default not in (None, False, ""):
        return f"{param.help} Default: {param.default}."
    return param.help


def _columns(rows: list[tuple[str, str]], indent: int = 0) -> str:
    """Two columns, the right one wrapped. indent: where it begins; 0: as far left as it can."""
    indent = indent or max(len(left) for left, _ in rows) + 4
    text = ""
    for left, right in rows:
        first, *rest = textwrap.wrap(right, WIDTH - indent) or [""]
        text += f"  {left}".ljust(indent) + first + "\n"
        text += "".join(" " * indent + line + "\n" for line in rest)
    return text

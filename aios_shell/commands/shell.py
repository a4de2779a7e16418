"""help, cd, export, exit, locate, top, repl, completion."""

from __future__ import annotations

from aios_kernel.client import paths
from aios_kernel.errors import BadRequest
from aios_shell import help as help_text
from aios_shell import registry, render
from aios_shell.io import Io
from aios_shell.language.lookup import nearest


def help(io: Io, command: list[str]) -> int:
    if not command:
        io.write(help_text.overview())
        return 0
    name = " ".join(command)
    spec = next((spec for spec in registry.COMMANDS if spec.name == name), None)
    if spec is not None:
        io.write(help_text.command_help(spec))
    elif registry.verbs(name):
        io.write(help_text.noun_help(name))
    else:
        names = [spec.name for spec in registry.visible()]
        raise BadRequest(f"no command is called '{name}'{nearest(name, names)}")
    return 0


def cd(io: Io, folder: str | None) -> int:
    session = io.session
    target = session.path(folder or session.env.get("HOME", "/")).resolve()
    next(target.iterdir(), None)  # raises the OSError that entering it would
    session.cwd = str(target)
    session.env["PWD"] = session.cwd
    return 0


def export(io: Io, assignments: list[str]) -> int:
    session = io.session
    if not assignments:
        io.write("".join(f"{name}={value}\n" for name, value in sorted(session.env.items())))
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not name.isidentifier():
            raise BadRequest(f"'{name}' is not a variable's name")
        if equals:
            session.env[name] = value
    return 0


def leave(io: Io, status: int | None) -> int:
    session = io.session
    session.exit_status = session.status if status is None else status
    return session.exit_status


def locate(io: Io, json: bool) -> None:
    here = paths()
    names = ("config_file", "agents", "models", "snapshots", "journal", "log", "lock", "run_file", "history", "socket")
    found = {name: str(getattr(here, name)) for name in names}
    if json:
        render.json(io, found)
    else:
        render.facts(io, list(found.items()))


def top(io: Io) -> int:
    if not (io.tty(io.stdin) and io.tty(io.stdout) and io.tty(io.stderr)):
        raise BadRequest("top needs a terminal; `aios ps` and `aios queue` write to a pipe")
    from aios_shell.tui.app import AiosApp
    from aios_shell.tui.ending import ended_by_signals

    app = AiosApp(io.session)
    with ended_by_signals(app):
        return app.run() or 0


def repl(io: Io) -> int:
    from aios_shell.repl import Repl

    return Repl(io.session).run()


def completion(io: Io, shell: str) -> None:
    from aios_shell.complete import SCRIPTS

    if shell not in SCRIPTS:
        raise BadRequest(f"no completion for '{shell}'; there is {', '.join(SCRIPTS)}")
    io.write(SCRIPTS[shell])


def candidates(io: Io, index: int, words: list[str]) -> None:
    from aios_shell.complete import World, complete

    found = complete(words, index, World(io.session))
    io.write("".join(f"{candidate.value}\t{candidate.help}\n" for candidate in found))

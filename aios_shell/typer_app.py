"""The registry as a Typer app: built for the one command that runs, so that starting costs no more than it must."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand

from aios_kernel.errors import BadRequest, KernelError, row_of
from aios_shell import registry
from aios_shell.io import Io
from aios_shell.spec import CommandSpec, Param

CLOSED_PIPE: Final = 141  # as a shell reports death by SIGPIPE
_DASH_NUMBER: Final = re.compile(r"-\d+")
_DASH_SIGNAL: Final = re.compile(r"-(\d+|[A-Z][A-Z0-9]+)")


class UsageProblem(BadRequest):
    """The words do not fit the command: one line that says how, exit code 2."""


def app(specs: tuple[CommandSpec, ...] = registry.COMMANDS) -> typer.Typer:
    """A Typer app with these commands, nouns as groups."""
    root = _group()
    groups: dict[str, typer.Typer] = {}
    for spec in specs:
        *noun, verb = spec.name.split()
        parent = root
        if noun:
            if noun[0] not in groups:
                groups[noun[0]] = _group()
                root.add_typer(groups[noun[0]], name=noun[0])
            parent = groups[noun[0]]
        settings = {"ignore_unknown_options": spec.own_words}
        parent.command(
            verb, help=spec.summary, hidden=spec.hidden, cls=_Command, context_settings=settings, add_help_option=False
        )(_function(spec))
    return root


def invoke(words: list[str], io: Io) -> int:
    """Run a built-in command line, its first word a built-in's. Returns the exit status.

    Raises UsageProblem, and whatever KernelError or OSError the command ends with.
    """
    spec, rest = registry.find(words)
    if spec is None:
        return _noun(words, io)
    args = [*spec.name.split(), *_undash(spec, rest)]
    try:
        command = typer.main.get_command(app((spec,)))
        # Not `main`: it turns a broken pipe and Ctrl-C into exits of its own.
        with command.make_context("aios", args, obj=io) as context:
            return int(command.invoke(context) or 0)
    except typer.Exit as done:
        return done.exit_code
    except typer.TyperException as error:
        raise UsageProblem(f"{_lower(error.format_message())} (see `aios help {spec.name}`)") from error


def execute(words: list[str], io: Io) -> int:
    """`invoke` with every failure told on standard error and turned into its exit status."""
    try:
        return invoke(words, io)
    except BrokenPipeError:
        return CLOSED_PIPE
    except KernelError as error:
        io.note(error.message)
        return row_of(error).exit
    except OSError as error:
        io.note(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return 1
    except UnicodeEncodeError:
        io.note("only UTF-8 text can be given to the kernel")
        return row_of(BadRequest("")).exit


def _group() -> typer.Typer:
    group = typer.Typer(
        add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, add_help_option=False
    )
    group.callback()(lambda: None)  # makes it a group, however few commands it holds
    return group


def _noun(words: list[str], io: Io) -> int:
    from aios_shell.help import noun_help

    noun, verb = words[:2]
    if verb in registry.HELP_WORDS:
        io.write(noun_help(noun))
        return 0
    names = [spec.name.split()[1] for spec in registry.verbs(noun)]
    close = difflib.get_close_matches(verb, names, 1)
    hint = f"did you mean `{noun} {close[0]}`?" if close else f"it has {', '.join(names)}"
    raise UsageProblem(f"{noun} has no command '{verb}'; {hint}")


def _undash(spec: CommandSpec, words: list[str]) -> list[str]:
    """`kill -9 3` and `nice -5 3` in the form that the parser takes."""
    if spec.dashed is None or not words:
        return words
    if spec.dashed == "":
        return ["--", *words] if _DASH_NUMBER.fullmatch(words[0]) else words
    match = _DASH_SIGNAL.fullmatch(words[0])
    return [spec.dashed, match.group(1), *words[1:]] if match else words


def _lower(message: str) -> str:
    return (message[:1].lower() + message[1:]).rstrip(".")


def _function(spec: CommandSpec) -> Callable[..., int]:
    """The function that Typer reads the parameters from. The handler's module is imported when it is called."""

    def call(context: typer.Context, help: bool, **values: Any) -> int:  # noqa: ARG001 -- show_help had it
        module, name = spec.handler.split(":")
        handler = getattr(import_module(f"aios_shell.commands.{module}"), name)
        return int(handler(context.obj, **values) or 0)

    def show_help(context: typer.Context, value: bool) -> None:
        if value:
            from aios_shell.help import command_help

            context.obj.write(command_help(spec))
            raise typer.Exit

    names = ("--help",) if spec.own_words else ("--help", "-h")
    help_option = typer.Option(*names, is_eager=True, callback=show_help)
    parameters = [_parameter("context", typer.Context, inspect.Parameter.empty)]
    parameters += [_parameter(param.name, _annotation(param), _default(param)) for param in spec.params]
    parameters.append(_parameter("help", Annotated[bool, help_option], False))
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _default(param: Param) -> Any:
    if param.required:
        return inspect.Parameter.empty
    return [] if param.many else param.default


def _annotation(param: Param) -> Any:
    kind: Any = list[str] if param.many else param.kind
    parser = None if param.kind is bool else partial(_convert, param)
    if not param.flags:
        return Annotated[kind, typer.Argument(metavar=param.label, help=param.help, parser=parser)]
    return Annotated[kind, typer.Option(*param.flags, metavar=param.metavar or None, help=param.help, parser=parser)]


def _convert(param: Param, text: Any) -> Any:
    """One value of `param`. Raises ValueError, in words for a person."""
    value: Any
    if param.required and not text:
        raise ValueError("it is empty")
    try:
        value = param.kind(text)
    except ValueError:
        raise ValueError(f"'{text}' is not a number") from None
    low, high = param.minimum, param.maximum
    if not ((low is None or value >= low) and (high is None or value <= high)):  # in this form NaN fails too
        raise ValueError(
            f"{value} is not {f'between {low:g} and {high:g}' if high is not None else f'at least {low:g}'}"
        )
    return value


class _Direct:
    """Applies a parameter's own parser. Typer would go through pydantic, whose import costs 200 ms."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        many = param.multiple or param.nargs == -1
        if value is None:
            return () if many else None
        parse = param.type_descriptor.parameter_info.parser
        try:
            return [parse(item) for item in value] if many else parse(value)
        except ValueError as error:
            raise typer.BadParameter(str(error), ctx=ctx, param=param) from None


class _Command(TyperCommand):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for param in self.params:
            setattr(param, "get_runtime_param", _Direct)  # noqa: B010 -- on the instance: Typer makes the parameters

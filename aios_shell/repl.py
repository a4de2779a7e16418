"""The line-editing shell: history, completion, colours, lines that go on, notices of background jobs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, ThreadedCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import History
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import Lexer
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.styles import Style

from aios_kernel.client import paths
from aios_kernel.errors import KernelError
from aios_shell import history
from aios_shell.complete import World, at_cursor
from aios_shell.io import Io
from aios_shell.language.highlight import highlight
from aios_shell.language.parse import Incomplete, SyntaxProblem, parse, quote
from aios_shell.language.pipeline import run_line
from aios_shell.session import Job, Session

_STYLE: Final = Style.from_dict(
    {
        "prompt": "ansicyan bold",
        "status": "ansired",
        "command": "ansigreen bold",
        "agent": "ansimagenta bold",
        "string": "ansiyellow",
        "variable": "ansicyan",
        "operator": "ansiblue bold",
        "comment": "ansibrightblack",
    }
)


class Repl:
    """Reads lines until Ctrl-D or `exit`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._ended: queue.SimpleQueue[tuple[Job, int]] = queue.SimpleQueue()
        self._watched: set[Job] = set()
        here = paths()
        here.make()
        self._prompt: PromptSession[str] = PromptSession(
            history=_History(here.history),
            completer=ThreadedCompleter(_Completer(World(session))),
            complete_while_typing=False,
            lexer=_Lexer(session),
            style=_STYLE,
            color_depth=ColorDepth.DEPTH_1_BIT if session.env.get("NO_COLOR") else None,
            key_bindings=_keys(),
            multiline=True,
            prompt_continuation=lambda width, _line, _wrap: "… ".rjust(width),
        )

    def run(self) -> int:
        """The exit status: what `exit` was given, else the last line's."""
        session, io = self._session, Io(self._session)
        session.interactive = True
        while session.exit_status is None:
            self._tell_ended(io)
            try:
                text = self._prompt.prompt(self._message)
            except KeyboardInterrupt:
                continue
            except EOFError:
                break
            self._line(text, io)
        session.interactive = False
        return session.status if session.exit_status is None else session.exit_status

    def _line(self, text: str, io: Io) -> None:
        try:
            run_line(parse(text), io)
            if self._session.foreground.interrupted:
                io.write("\n")  # after the terminal's ^C
        except SyntaxProblem as problem:
            io.narrate(problem.show())
            self._session.status = 2
        except KeyboardInterrupt:
            io.write("\n")
            self._session.status = 130
        for job in self._session.jobs:
            if job not in self._watched:
                self._watched.add(job)
                threading.Thread(target=self._watch, args=(job,), name=f"watch {job.label}", daemon=True).start()

    def _message(self) -> StyleAndTextTuples:
        status = self._session.status
        return [("class:status", f"[{status}] " if status else ""), ("class:prompt", "aios> ")]

    def _watch(self, job: Job) -> None:
        try:
            self._ended.put((job, job.wait()))
        except KernelError:
            self._ended.put((job, 3))

    def _tell_ended(self, io: Io) -> None:
        while not self._ended.empty():
            job, status = self._ended.get()
            self._watched.discard(job)
            if job in self._session.jobs:
                self._session.jobs.remove(job)
            io.note(f"[{job.label}] {job.text} {'done' if status == 0 else f'ended with {status}'}")


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        """Run the line, unless a quote or an operator is open."""
        buffer = event.current_buffer
        if buffer.complete_state and buffer.complete_state.current_completion:
            buffer.complete_state = None
            return
        try:
            parse(buffer.text)
        except Incomplete:
            buffer.insert_text("\n")
            return
        except SyntaxProblem:
            pass  # shown when it is run, and kept in the history
        buffer.validate_and_handle()

    return keys


class _Completer(Completer):
    def __init__(self, world: World) -> None:
        self._world = world

    def get_completions(
        self,
        document: Document,
        complete_event: CompleteEvent,  # noqa: ARG002 -- its interface
    ) -> Iterable[Completion]:
        for candidate, replaced in at_cursor(document.text_before_cursor, self._world):
            text = candidate.value if candidate.value.startswith("~") else quote([candidate.value])
            yield Completion(text, -replaced, display=candidate.value, display_meta=candidate.help)


class _Lexer(Lexer):
    """Colours by kind; known first words stand out."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        lines = highlight(document.text, self._session.agents)
        return lambda number: [(f"class:{kind}" if kind else "", text) for kind, text in lines[number]]


class _History(History):
    """The file that every way of typing command lines shares."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def load_history_strings(self) -> Iterable[str]:
        return reversed(history.load(self._path))

    def store_string(self, string: str) -> None:
        history.append(self._path, string)

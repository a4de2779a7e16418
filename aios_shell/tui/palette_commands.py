"""What the command palette offers, as "category: verb": the shell's commands, processes, agents, themes, policies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol, cast

from textual.app import App
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from aios_kernel.protocol import ProcInfo, ProcState
from aios_shell import registry
from aios_shell.complete import Candidate, World
from aios_shell.language.parse import quote
from aios_shell.session import Session
from aios_shell.text import one_line
from aios_shell.tui.live import Live
from aios_shell.tui.messages import Act, Run
from aios_shell.tui.widgets.command_line import CommandLine

ASK_S: Final = 1.0  # how long the palette waits for the kernel's names

_VERBS: Final = (
    ("attach", "read it and talk to it"),
    ("suspend", "its context leaves the model"),
    ("resume", "let it go on"),
    ("kill", "end it"),
    ("renice", "change its priority"),
    ("fork", "another one from a copy of its context"),
    ("save", "keep its context under a name"),
)
_ANSWERS: Final = (("approve", "let it do what it asks for"), ("deny", "refuse what it asks for"))
_HIDDEN: Final = frozenset({"repl"})  # of no use here


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the palette. The text is safe for a terminal."""

    text: str
    help: str
    act: Callable[[], object] = field(compare=False)


class Host(Protocol):
    """What the palette needs of the app."""

    live: Live
    session: Session


class ShellCommands(Provider):
    """Everything that the shell can do, found by a few letters."""

    _agents: list[Candidate]
    _policies: list[Candidate]

    async def startup(self) -> None:
        """Ask the kernel once, when the palette opens. A kernel that is slow or gone leaves its names out."""
        self._agents, self._policies = [], []
        world = World(self._host.session)
        try:
            async with asyncio.timeout(ASK_S):
                self._agents, self._policies = await asyncio.gather(
                    asyncio.to_thread(world.agents), asyncio.to_thread(world.policies)
                )
        except TimeoutError:
            return

    async def search(self, query: str) -> Hits:
        fuzzy = self.matcher(query).fuzzy_search
        for entry in self._entries():
            score, offsets = fuzzy.match(query, entry.text)
            if score > 0:
                shown = Content(entry.text)
                for offset in offsets:
                    shown = shown.stylize(self.match_style or "", offset, offset + 1)
                yield Hit(score, shown, entry.act, text=entry.text, help=_content(entry.help))

    async def discover(self) -> Hits:
        for entry in self._entries():
            yield DiscoveryHit(Content(entry.text), entry.act, text=entry.text, help=_content(entry.help))

    @property
    def _host(self) -> Host:
        return cast("Host", self.app)

    @property
    def _line(self) -> CommandLine:
        return self.screen.query_one(CommandLine)

    def _entries(self) -> Iterator[Entry]:
        """Who asks comes first."""
        procs = sorted(self._host.live.procs.values(), key=lambda proc: (proc.state is not ProcState.ASKING, proc.pid))
        for proc in procs:
            if proc.exit_code is None:
                yield from self._of_process(proc)
        yield from self._of_registry()
        for agent in self._agents:
            name = one_line(agent.value)
            yield Entry(f"agent: {name}", one_line(agent.help), partial(self._begin, quote([agent.value])))
        for policy in self._policies:
            name = one_line(policy.value)
            yield Entry(f"policy: {name}", "schedule by it", partial(self._run, f"sched {quote([policy.value])}"))
        app = cast("App[Any]", self.app)
        for theme in sorted(app.available_themes):
            yield Entry(f"theme: {one_line(theme)}", "", partial(setattr, app, "theme", theme))

    def _of_process(self, proc: ProcInfo) -> Iterator[Entry]:
        what = one_line(f"{proc.pid} {proc.agent} ({proc.state}) {proc.task}")[:60]
        for verb, tells in (*_ANSWERS * (proc.state is ProcState.ASKING), *_VERBS):
            yield Entry(f"process: {verb} {what}", tells, partial(self._post, Act(verb, (proc.pid,))))

    def _of_registry(self) -> Iterator[Entry]:
        """A command that needs words is put on the command line; another runs."""
        for spec in registry.visible():
            if spec.name not in _HIDDEN:
                needs = any(param.required for param in spec.arguments)
                act = partial(self._begin if needs else self._run, spec.name)
                yield Entry(f"{spec.category.lower()}: {spec.name}", spec.summary, act)

    def _begin(self, text: str) -> None:
        self._line.begin(f"{text} ")

    def _run(self, text: str) -> None:
        self._post(Run(text))

    def _post(self, message: Act | Run) -> None:
        self._line.post_message(message)


def _content(help: str) -> str:
    """The palette reads a help that is a string as markup; this is what it leaves alone."""
    return cast("str", Content(help))

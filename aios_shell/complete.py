"""Completion, once, for the repl and for the user's own shell: words and a cursor to candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from aios_kernel.client import KernelClient
from aios_kernel.client.access import AccessClient
from aios_kernel.client.storage import StorageClient
from aios_kernel.client.tools import ToolClient
from aios_kernel.errors import KernelError
from aios_kernel.protocol import FileKind, PolicyClass, ProcState, Signal
from aios_shell import registry
from aios_shell.bench import BENCHMARKS
from aios_shell.session import Session
from aios_shell.spec import CommandSpec, Param
from aios_shell.text import one_line

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Candidate:
    value: str
    help: str = ""


class World:
    """What completion may look at: files, and a kernel that runs already. It starts none and reports no errors."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def _ask(self, question: Callable[[KernelClient], list[T]]) -> list[T]:
        try:
            return question(KernelClient())
        except KernelError:
            return []

    def pids(self) -> list[Candidate]:
        procs = self._ask(KernelClient.procs)
        return [
            Candidate(str(proc.pid), one_line(f"{proc.agent} {proc.state.value} {proc.task}")[:60]) for proc in procs
        ]

    def agents(self) -> list[Candidate]:
        return [Candidate(agent.name, agent.description) for agent in self._ask(KernelClient.agents)]

    def models(self) -> list[Candidate]:
        return [Candidate(model.ref, model.origin) for model in self._ask(KernelClient.models)]

    def snapshots(self) -> list[Candidate]:
        saved = [snap for snap in self._ask(KernelClient.snapshots) if snap.saved]
        return [Candidate(snap.id, one_line(f"{snap.agent} {snap.tokens} tokens")) for snap in saved]

    def policies(self) -> list[Candidate]:
        return [Candidate(name) for name in self._ask(lambda client: list(client.sched().policies))]

    def access(self, question: Callable[[AccessClient], list[T]]) -> list[T]:
        return self._ask(lambda client: question(AccessClient(client)))

    def stored(self, word: str) -> list[Candidate]:
        """Files of agents, AGENT/PATH, that `word` begins; folders with a slash at the end."""
        agent, slash, path = word.partition("/")
        if not slash:
            return [Candidate(f"{each.owner}/") for each in self._ask(lambda client: StorageClient(client).owners())]
        folder = path.rpartition("/")[0]
        entries = self._ask(lambda client: StorageClient(client).entries(agent, folder))
        return [Candidate(f"{agent}/{one.path}" + "/" * (one.kind is FileKind.FOLDER)) for one in entries]

    def tools(self) -> list[Candidate]:
        found = self._ask(lambda client: ToolClient(client).list(start=False).tools)
        return [Candidate(tool.name, one_line(tool.description)[:60]) for tool in found]

    def servers(self) -> list[Candidate]:
        found = self._ask(lambda client: ToolClient(client).list(start=False).servers)
        return [Candidate(server.name, one_line(server.where)[:60]) for server in found]

    def files(self, word: str, *, folders_only: bool = False) -> list[Candidate]:
        """Entries that `word` begins, folders with a slash at the end; hidden ones only when asked for by a dot."""
        folder, slash, start = word.rpartition("/")
        home = self.session.env.get("HOME", "~")
        shown = home + folder[1:] if folder == "~" or folder.startswith("~/") else folder
        base = self.session.path((shown or "/") if slash else ".")
        try:
            entries = sorted(base.iterdir())
        except OSError:
            return []
        return [
            Candidate(f"{folder}{slash}{entry.name}" + ("/" if entry.is_dir() else ""))
            for entry in entries
            if (entry.is_dir() or not folders_only) and (start.startswith(".") or not entry.name.startswith("."))
        ]


def complete(words: Sequence[str], cursor: int, world: World) -> list[Candidate]:
    """Candidates for words[cursor] (one past the end: a new word) of one command, its name first."""
    word = words[cursor] if cursor < len(words) else ""
    before = list(words[:cursor])
    found = _candidates(before, word, world)
    return [candidate for candidate in found if candidate.value.startswith(word)]


def _candidates(before: list[str], word: str, world: World) -> list[Candidate]:
    if not before:
        if "/" in word:
            return world.files(word)
        return [*_commands(), *world.agents()]
    if registry.is_builtin(before[0]):
        spec, rest = registry.find(before)
        verbs = registry.verbs(before[0])
        if verbs and len(before) == 1 and not word.startswith("-"):
            return [Candidate(verb.name.split()[1], verb.summary) for verb in verbs]
        return _of_command(spec, rest, word, world) if spec else []
    if word.startswith("-"):
        return _options(registry.find(["run"])[0]) if any(c.value == before[0] for c in world.agents()) else []
    return world.files(word)


def _commands() -> list[Candidate]:
    summaries = {spec.name: spec.summary for spec in registry.visible()}
    return [
        Candidate(name, summaries.get(name, ", ".join(verb.name.split()[1] for verb in registry.verbs(name))))
        for name in registry.first_words()
    ]


def _of_command(spec: CommandSpec, rest: list[str], word: str, world: World) -> list[Candidate]:
    options = {flag: param for param in spec.options for flag in param.flags}
    last = options.get(rest[-1]) if rest else None
    if last is not None and last.kind is not bool:
        return _values(last, word, world)
    if word.startswith("-"):
        return _options(spec)
    index, taken = 0, iter(rest)
    for earlier in taken:
        if earlier in options:
            if options[earlier].kind is not bool:
                next(taken, None)
        elif not (earlier.startswith("-") and spec.dashed):
            index += 1
    arguments = spec.arguments
    if not arguments or (index >= len(arguments) and not arguments[-1].many):
        return []
    found = _values(arguments[min(index, len(arguments) - 1)], word, world)
    return [candidate for candidate in found if candidate.value not in rest]


def _options(spec: CommandSpec | None) -> list[Candidate]:
    assert spec is not None
    return [*(Candidate(param.flags[0], param.help) for param in spec.options), Candidate("--help", "Show this help.")]


def _values(param: Param, word: str, world: World) -> list[Candidate]:
    sources: dict[str, Callable[[], list[Candidate]]] = {
        "pid": world.pids,
        "snapshot": world.snapshots,
        "context": lambda: [*world.snapshots(), *world.pids()],
        "agent": world.agents,
        "model": world.models,
        "policy": world.policies,
        "action": lambda: [Candidate(name) for name in world.access(AccessClient.actions)],
        "grant": lambda: [Candidate(row.id) for row in world.access(AccessClient.policies) if row.granted],
        "group": lambda: [Candidate(name) for name in ("guest", "user", "operator")],
        "tool": world.tools,
        "server": world.servers,
        "state": lambda: [Candidate(state.value) for state in ProcState],
        "class": lambda: [Candidate(policy_class.value) for policy_class in PolicyClass],
        "signal": lambda: [Candidate(signal.value) for signal in Signal],
        "command": _commands,
        "benchmark": lambda: [Candidate(row.name, row.summary) for row in BENCHMARKS.values()],
        "shell": lambda: [Candidate(shell) for shell in SCRIPTS],
        "file": lambda: world.files(word),
        "dir": lambda: world.files(word, folders_only=True),
        "stored": lambda: world.stored(word),
        "": list,
    }
    return sources[param.complete]()


def split(text: str) -> tuple[list[str], str]:
    """The finished words of the command that the cursor is in, and the word it touches; tolerant of anything.

    Quotes are undone; a new command begins after | & ; and a redirection's target counts as a word of its own.
    """
    words, word, _ = _split(text)
    return words, word


def _split(text: str) -> tuple[list[str], str, int]:
    """`split`, and where the touched word begins, quotes and all."""
    words: list[str] = []
    word, quoted, touched, escape, start = "", "", False, False, 0
    for position, char in enumerate(text):
        if not touched and not escape:
            start = position
        if escape:
            word, escape, touched = word + char, False, True
        elif char == "\\" and quoted != "'":
            escape = True
        elif quoted:
            word, quoted = (word, "") if char == quoted else (word + char, quoted)
        elif char in "'\"":
            quoted, touched = char, True
        elif char.isspace() or char in "|&;<>":
            if touched:
                words.append(word)
            word, touched = "", False
            words = _after(char, words)
        else:
            word, touched = word + char, True
    return words, word, start if touched or escape else len(text)


def _after(char: str, words: list[str]) -> list[str]:
    if char in "|&;":
        return []
    return ["cat"] if char in "<>" else words  # a file comes next, whatever the command


def at_cursor(text: str, world: World) -> Iterator[tuple[Candidate, int]]:
    """Candidates for the end of `text`, each with how many characters of it they replace."""
    words, word, start = _split(text)
    for candidate in complete([*words, word], len(words), world):
        yield candidate, len(text) - start


_BASH: Final = """\
_aios() {
    local candidate
    COMPREPLY=()
    while IFS= read -r candidate; do
        [[ $candidate == "~"* ]] || printf -v candidate %q "$candidate"
        COMPREPLY+=("$candidate")
    done < <(aios __complete -- $((COMP_CWORD - 1)) "${COMP_WORDS[@]:1}" 2>/dev/null | cut -f1)
    if [[ ${COMPREPLY[0]} == */ ]]; then compopt -o nospace; fi
}
complete -o default -F _aios aios
"""

_ZSH: Final = """\
#compdef aios
_aios() {
    local -a found
    found=("${(@f)$(aios __complete -- $((CURRENT - 2)) "${(@)words[2,-1]}" 2>/dev/null |
        sed 's/:/\\\\:/g; s/\\t/:/')}")
    _describe aios found
}
compdef _aios aios
"""

_FISH: Final = """\
function __aios_complete
    set -l words (commandline -opc) (commandline -ct)
    aios __complete -- (math (count $words) - 2) $words[2..-1] 2>/dev/null
end
complete -c aios -f -a '(__aios_complete)'
"""

SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

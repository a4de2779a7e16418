"""Every command, once: the table that the command line, help, completion and the reference page are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Param:
    """One argument (no flags) or option of a command.

    `complete` says what its values are, for completion: pid, agent, model, policy, state, signal, command, file, dir.
    """

    name: str  # the handler's keyword
    help: str
    kind: type[str] | type[int] | type[float] | type[bool] = str
    flags: tuple[str, ...] = ()
    default: Any = None
    required: bool = False
    many: bool = False
    complete: str = ""
    metavar: str = ""
    minimum: float | None = None
    maximum: float | None = None

    @property
    def label(self) -> str:
        return self.metavar or self.name.upper()


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One command. `handler` is "module:function" under aios_shell.commands, imported when the command runs.

    `dashed` names the option that a leading dash word stands for: `kill -9` is `kill --signal 9`; "" as in
    `nice -5 3` makes it an argument.
    `own_words`: a dash word that is none of the options belongs to the text: `run math -3 + 4`.
    """

    name: str  # "ps", "snap ls"
    summary: str
    category: str
    handler: str
    params: tuple[Param, ...] = ()
    examples: tuple[str, ...] = ()
    dashed: str | None = None
    own_words: bool = False
    hidden: bool = False

    @property
    def arguments(self) -> tuple[Param, ...]:
        return tuple(param for param in self.params if not param.flags)

    @property
    def options(self) -> tuple[Param, ...]:
        return tuple(param for param in self.params if param.flags)


def _flag(name: str, help: str, *short: str) -> Param:
    return Param(name, help, bool, (f"--{name}", *short), default=False)


_JSON: Final = _flag("json", "Print JSON.")
_PID: Final = Param("pid", "Process id.", int, required=True, complete="pid", minimum=1)
_PIDS: Final = Param("pids", "Process ids.", int, required=True, many=True, complete="pid", metavar="PID", minimum=1)

PROCESSES, WATCHING, SCHEDULING, KERNEL, SHELL = "Processes", "Watching", "Scheduling", "Kernel", "Shell"

COMMANDS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec(
        "run",
        "Start an agent and stream its answer.",
        PROCESSES,
        "run:run",
        (
            Param("agent", "Name of the agent.", required=True, complete="agent"),
            Param("task", "What it should do.", many=True, metavar="TASK"),
            Param("nice", "Priority: -20 (favoured) to 19.", int, ("--nice",), 0, metavar="N", minimum=-20, maximum=19),
            Param("group", "Privilege group.", str, ("--group",), "user", metavar="G"),
            Param("model", "Model to use, by reference.", str, ("--model",), complete="model", metavar="M"),
            Param("policy_class", "Class for the scheduling policy.", str, ("--policy-class",), metavar="C"),
            Param("max_tokens", "End it after N tokens.", int, ("--max-tokens",), metavar="N", minimum=1),
            Param("deadline", "End it after S seconds, exit code 124.", float, ("--deadline",), metavar="S", minimum=0),
            _flag("bg", "Do not wait: print the pid and go on."),
            Param("json", 'With --bg: print {"pid": N}.', bool, ("--json",), default=False),
        ),
        ('aios run math "What is 12*7?"', "cat notes.txt | aios run summarize", 'aios run --bg narrate "a fox"'),
        own_words=True,
    ),
    CommandSpec(
        "ps",
        "List processes.",
        PROCESSES,
        "proc:ps",
        (
            _flag("all", "Ended ones too.", "-a"),
            _flag("tree", "Children under their parents.", "-t"),
            _JSON,
        ),
        ("aios ps", "aios ps --all --json"),
    ),
    CommandSpec(
        "kill",
        "Send processes a signal: TERM, or the one named.",
        PROCESSES,
        "proc:kill",
        (
            _PIDS,
            Param(
                "signal", "TERM, INT, KILL, STOP, CONT or a number.", str, ("--signal", "-s"), "TERM", complete="signal"
            ),
        ),
        ("aios kill 12", "aios kill -9 12 13", "aios kill -INT 12"),
        dashed="--signal",
    ),
    CommandSpec("suspend", "Stop processes; their contexts leave the model.", PROCESSES, "proc:suspend", (_PIDS,)),
    CommandSpec("resume", "Let suspended processes go on.", PROCESSES, "proc:resume", (_PIDS,)),
    CommandSpec(
        "nice",
        "Change the priority of processes: -20 (favoured) to 19.",
        PROCESSES,
        "proc:nice",
        (Param("nice", "Priority.", int, required=True, metavar="N", minimum=-20, maximum=19), _PIDS),
        ("aios nice -5 12", "aios nice 10 12 13"),
        dashed="",
    ),
    CommandSpec(
        "wait",
        "Wait for processes; without PID, for this shell's background jobs.",
        PROCESSES,
        "proc:wait",
        (
            Param("pids", "Process ids.", int, many=True, complete="pid", metavar="PID", minimum=1),
            Param(
                "state", "Until they are in this state, or have ended.", str, ("--state",), "exited", complete="state"
            ),
            Param("timeout", "Give up after S seconds, exit code 124.", float, ("--timeout",), metavar="S", minimum=0),
        ),
        ("aios wait 12", "aios wait 12 --state suspended --timeout 10"),
    ),
    CommandSpec(
        "logs",
        "Print what happened in a process.",
        WATCHING,
        "log:logs",
        (
            _PID,
            _flag("follow", "Go on until it ends.", "-f"),
            _flag("output", "What it wrote to standard output, and nothing else.", "-o"),
            _JSON,
        ),
        ("aios logs 12 -f", "aios logs 12 --output"),
    ),
    CommandSpec("attach", "Follow a process's output and feed it what is typed.", WATCHING, "run:attach", (_PID,)),
    CommandSpec(
        "send",
        "Put a message into a process's mailbox.",
        WATCHING,
        "log:send",
        (_PID, Param("text", "The message.", required=True, many=True, metavar="TEXT")),
        ('aios send 12 "try the second one"',),
        own_words=True,
    ),
    CommandSpec("queue", "Who runs, who waits, behind whom.", SCHEDULING, "sched:queue", (_JSON,)),
    CommandSpec(
        "sched",
        "Show or switch the scheduling policy.",
        SCHEDULING,
        "sched:sched",
        (
            Param("policy", "Policy to switch to.", complete="policy"),
            Param("quantum", "Tokens a process may produce before it yields.", int, ("--quantum", "-q"), minimum=1),
            _JSON,
        ),
        ("aios sched", "aios sched fifo"),
    ),
    CommandSpec("snap ls", "List saved contexts.", SCHEDULING, "sched:snap_ls", (_JSON,)),
    CommandSpec("agents ls", "List agents.", KERNEL, "agents:ls", (_JSON,)),
    CommandSpec(
        "agents show",
        "Show one agent.",
        KERNEL,
        "agents:show",
        (Param("name", "Name of the agent.", required=True, complete="agent"), _JSON),
    ),
    CommandSpec("model ls", "List the models on this machine.", KERNEL, "model:ls", (_JSON,)),
    CommandSpec(
        "model use",
        "Switch to another model.",
        KERNEL,
        "model:use",
        (Param("ref", "Reference from `model ls`, or a path.", required=True, complete="model"),),
    ),
    CommandSpec(
        "model pull",
        "Download a GGUF file from Hugging Face.",
        KERNEL,
        "model:pull",
        (
            Param("repo", "Repository, OWNER/NAME.", required=True, metavar="OWNER/NAME"),
            Param("file", "File in it; a Q4_K_M one when left out."),
        ),
        ("aios model pull bartowski/SmolLM2-360M-Instruct-GGUF",),
    ),
    CommandSpec(
        "kernel start",
        "Start the kernel.",
        KERNEL,
        "kernel:start",
        (_flag("foreground", "Stay in the foreground, for a service manager."),),
    ),
    CommandSpec("kernel stop", "Stop the kernel and its agents.", KERNEL, "kernel:stop"),
    CommandSpec("kernel restart", "Stop the kernel and start it again.", KERNEL, "kernel:restart"),
    CommandSpec("kernel status", "Show the kernel's facts and figures.", KERNEL, "kernel:status", (_JSON,)),
    CommandSpec("doctor", "Check that everything needed is there.", KERNEL, "doctor:doctor", (_JSON,)),
    CommandSpec(
        "bench",
        "Measure, each figure beside a peer's.",
        KERNEL,
        "bench:bench",
        (
            Param("names", "Benchmarks; all when left out.", many=True, metavar="NAME"),
            Param("runs", "Runs whose median counts.", int, ("--runs",), 5, metavar="N", minimum=1),
            _JSON,
        ),
    ),
    CommandSpec("locate", "Print where everything lives.", KERNEL, "shell:locate", (_JSON,)),
    CommandSpec("repl", "Type command lines.", SHELL, "shell:repl"),
    CommandSpec(
        "help",
        "Show the commands, or one of them.",
        SHELL,
        "shell:help",
        (Param("command", "Command.", many=True, complete="command", metavar="COMMAND"),),
    ),
    CommandSpec(
        "cd", "Change the folder.", SHELL, "shell:cd", (Param("folder", "Folder; home when left out.", complete="dir"),)
    ),
    CommandSpec(
        "export",
        "Set variables, or list them.",
        SHELL,
        "shell:export",
        (Param("assignments", "NAME=VALUE.", many=True, metavar="NAME=VALUE"),),
    ),
    CommandSpec(
        "exit",
        "Leave the shell.",
        SHELL,
        "shell:leave",
        (Param("status", "Exit status; that of the last line when left out.", int, minimum=0, maximum=255),),
    ),
    CommandSpec(
        "completion",
        "Print the completion script for a shell.",
        SHELL,
        "shell:completion",
        (Param("shell", "bash, zsh or fish.", required=True, complete="shell"),),
        ('eval "$(aios completion bash)"',),
    ),
    CommandSpec(
        "__complete",
        "Candidates for the word at INDEX, for completion scripts.",
        SHELL,
        "shell:candidates",
        (
            Param("index", "Which word the cursor is in.", int, required=True),
            Param("words", "The line's words, without the program's name.", many=True),
        ),
        hidden=True,
    ),
)

_BY_NAME: Final = {spec.name: spec for spec in COMMANDS}

# What a noun alone does.
_DEFAULT_VERB: Final = {"snap": "ls", "agents": "ls", "model": "ls", "kernel": "status"}


def visible() -> list[CommandSpec]:
    return [spec for spec in COMMANDS if not spec.hidden]


def first_words() -> list[str]:
    """What may stand first on a line as a built-in: commands and nouns, in the table's order."""
    return list(dict.fromkeys(spec.name.split()[0] for spec in visible()))


def is_builtin(word: str) -> bool:
    return word in _BY_NAME or word in _DEFAULT_VERB


def verbs(noun: str) -> list[CommandSpec]:
    """The commands of a noun, `snap` giving `snap ls`; none for a plain command."""
    return [spec for spec in COMMANDS if spec.name.startswith(f"{noun} ")]


def find(words: list[str]) -> tuple[CommandSpec | None, list[str]]:
    """The command that `words` begin with and the words left for it; None when a noun has no such verb."""
    noun = words[0]
    if noun in _BY_NAME:
        return _BY_NAME[noun], words[1:]
    if len(words) == 1 or words[1].startswith("-"):
        return _BY_NAME[f"{noun} {_DEFAULT_VERB[noun]}"], words[1:]
    return _BY_NAME.get(f"{noun} {words[1]}"), words[2:]

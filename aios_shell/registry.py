"""Every command, once: the table that the command line, help, completion and the reference page are made of."""

from __future__ import annotations

from typing import Final

from aios_shell.params import JSON, PID, PIDS, RUN_OPTIONS, flag
from aios_shell.rows import access, agents, contexts, memory, storage, tools
from aios_shell.spec import CommandSpec, Param

_LISTEN: Final = Param(
    "listen",
    "Answer OpenAI-compatible clients there, base URL http://HOST:PORT/v1; port 0 is any free one.",
    str,
    ("--listen",),
    metavar="HOST:PORT",
)

PROCESSES, WATCHING, SCHEDULING = "Processes", "Watching", "Scheduling"
KERNEL, SHELL = "Kernel", "Shell"

COMMANDS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec(
        "run",
        "Start an agent and stream its answer.",
        PROCESSES,
        "run:run",
        (
            Param("agent", "Name of the agent.", required=True, complete="agent"),
            Param("task", "What it should do.", many=True, metavar="TASK"),
            *RUN_OPTIONS,
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
            flag("all", "Ended ones too.", "-a"),
            flag("tree", "Children under their parents.", "-t"),
            JSON,
        ),
        ("aios ps", "aios ps --all --json"),
    ),
    CommandSpec(
        "kill",
        "Send processes a signal: TERM, or the one named.",
        PROCESSES,
        "proc:kill",
        (
            PIDS,
            Param(
                "signal", "TERM, INT, KILL, STOP, CONT or a number.", str, ("--signal", "-s"), "TERM", complete="signal"
            ),
        ),
        ("aios kill 12", "aios kill -9 12 13", "aios kill -INT 12"),
        dashed="--signal",
    ),
    CommandSpec("suspend", "Stop processes; their contexts leave the model.", PROCESSES, "proc:suspend", (PIDS,)),
    CommandSpec("resume", "Let suspended processes go on.", PROCESSES, "proc:resume", (PIDS,)),
    CommandSpec(
        "nice",
        "Change the priority of processes: -20 (favoured) to 19.",
        PROCESSES,
        "proc:nice",
        (Param("nice", "Priority.", int, required=True, metavar="N", minimum=-20, maximum=19), PIDS),
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
            PID,
            flag("follow", "Go on until it ends.", "-f"),
            flag("output", "What it wrote to standard output, and nothing else.", "-o"),
            JSON,
        ),
        ("aios logs 12 -f", "aios logs 12 --output"),
    ),
    CommandSpec("attach", "Follow a process's output and feed it what is typed.", WATCHING, "run:attach", (PID,)),
    CommandSpec(
        "send",
        "Put a message into a process's mailbox.",
        WATCHING,
        "log:send",
        (PID, Param("text", "The message.", required=True, many=True, metavar="TEXT")),
        ('aios send 12 "try the second one"',),
        own_words=True,
    ),
    CommandSpec("top", "Watch and command everything, full screen; what `aios` alone does.", WATCHING, "shell:top"),
    CommandSpec("queue", "Who runs, who waits, behind whom.", SCHEDULING, "sched:queue", (JSON,)),
    CommandSpec(
        "sched",
        "Show or switch the scheduling policy.",
        SCHEDULING,
        "sched:sched",
        (
            Param("policy", "Policy to switch to.", complete="policy"),
            Param("quantum", "Tokens a process may produce before it yields.", int, ("--quantum", "-q"), minimum=1),
            JSON,
        ),
        ("aios sched", "aios sched fifo"),
    ),
    *contexts.ROWS,
    *memory.ROWS,
    *tools.ROWS,
    *storage.ROWS,
    *access.ROWS,
    *agents.ROWS,
    CommandSpec("model ls", "List the models on this machine.", KERNEL, "model:ls", (JSON,)),
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
        (_LISTEN, flag("foreground", "Stay in the foreground, for a service manager.")),
        ("aios kernel start --listen 127.0.0.1:8377",),
    ),
    CommandSpec("kernel stop", "Stop the kernel and its agents.", KERNEL, "kernel:stop"),
    CommandSpec(
        "kernel restart",
        "Stop the kernel and start it again; it listens where it did.",
        KERNEL,
        "kernel:restart",
        (_LISTEN,),
    ),
    CommandSpec(
        "kernel key",
        "Print the key that OpenAI-compatible clients need.",
        KERNEL,
        "kernel:key",
        (
            Param(
                "group", "Privilege group of their processes.", str, ("--group",), "user", complete="group", metavar="G"
            ),
            flag("new", "Make another; the former key opens nothing any more."),
            JSON,
        ),
        ("export OPENAI_API_KEY=$(aios kernel key)", "aios kernel key --group guest --json"),
    ),
    CommandSpec("kernel status", "Show the kernel's facts and figures.", KERNEL, "kernel:status", (JSON,)),
    CommandSpec("doctor", "Check that everything needed is there.", KERNEL, "doctor:doctor", (JSON,)),
    CommandSpec(
        "bench",
        "Measure, each figure beside a peer's.",
        KERNEL,
        "bench:bench",
        (
            Param(
                "names",
                "Benchmarks; all when left out; `ls` lists them.",
                many=True,
                complete="benchmark",
                metavar="NAME",
            ),
            Param("runs", "Runs whose median counts; each has a default.", int, ("--runs",), metavar="N", minimum=1),
            Param(
                "peer",
                "An OpenAI-compatible server to replay the same requests on; may be given for each number of slots.",
                flags=("--peer",),
                many=True,
                metavar="URL",
            ),
            flag("quick", "Seconds instead of minutes, to see that it works; no goal is judged."),
            Param("plot", "Write an SVG chart of each into DIR.", str, ("--plot",), complete="dir", metavar="DIR"),
            JSON,
        ),
        ("aios bench ls", "aios bench mixed --peer http://127.0.0.1:8080", "aios bench --json > figures.json"),
    ),
    CommandSpec("locate", "Print where everything lives.", KERNEL, "shell:locate", (JSON,)),
    CommandSpec("repl", "Type command lines.", SHELL, "shell:repl"),
    CommandSpec(
        "serve",
        "Show the app in a browser on this machine.",
        SHELL,
        "serve:serve",
        (
            Param(
                "port", "Port; any free one when left out.", int, ("--port",), 0, metavar="N", minimum=0, maximum=65535
            ),
        ),
        ("aios serve", "aios serve --port 8080"),
    ),
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
_DEFAULT_VERB: Final = {
    "access": "ls",
    "agents": "ls",
    "audit": "ls",
    "fs": "ls",
    "kernel": "status",
    "mem": "ls",
    "model": "ls",
    "snap": "ls",
    "tools": "ls",
}

# After a noun these ask about all of its commands, not about the one that it does alone.
HELP_WORDS: Final = ("help", "--help", "-h")


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
    """The command that `words` begin with and the words left for it; None when a noun has no such verb, or is asked
    for its help."""
    noun = words[0]
    if noun in _BY_NAME:
        return _BY_NAME[noun], words[1:]
    if len(words) > 1 and words[1] in HELP_WORDS:
        return None, words[2:]
    if len(words) == 1 or words[1].startswith("-") or words[1].isdigit():
        return _BY_NAME[f"{noun} {_DEFAULT_VERB[noun]}"], words[1:]
    return _BY_NAME.get(f"{noun} {words[1]}"), words[2:]

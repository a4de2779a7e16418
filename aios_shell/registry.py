"""Every command, once: the table that the command line, help, completion and the reference page are made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from aios_shell.spec import CommandSpec, Param


def _flag(name: str, help: str, *short: str) -> Param:
    return Param(name, help, bool, (f"--{name}", *short), default=False)


_JSON: Final = _flag("json", "Print JSON.")
_PID: Final = Param("pid", "Process id.", int, required=True, complete="pid", minimum=1)
_PIDS: Final = Param("pids", "Process ids.", int, required=True, many=True, complete="pid", metavar="PID", minimum=1)

_RUN_OPTIONS: Final = (
    Param("nice", "Priority: -20 (favoured) to 19.", int, ("--nice",), 0, metavar="N", minimum=-20, maximum=19),
    Param("group", "Privilege group.", str, ("--group",), "user", metavar="G"),
    Param("model", "Model to use, by reference.", str, ("--model",), complete="model", metavar="M"),
    Param(
        "policy_class",
        "interactive goes first, idle gives way. Default: normal.",
        str,
        ("--policy-class",),
        complete="class",
        metavar="C",
    ),
    Param("max_tokens", "End it after N tokens.", int, ("--max-tokens",), metavar="N", minimum=1),
    Param("deadline", "End it after S seconds, exit code 124.", float, ("--deadline",), metavar="S", minimum=0),
    _flag("bg", "Do not wait: print the pid and go on."),
    Param("json", 'With --bg: print {"pid": N}.', bool, ("--json",), default=False),
)
_AGENT: Final = Param(
    "agent", "Agent that goes on with it.", str, ("--agent",), "chat", complete="agent", metavar="NAME"
)
_NEXT: Final = Param("task", "What to say next; without it an unfinished reply is finished.", many=True, metavar="TASK")
_SNAPSHOT: Final = Param("id", "Name of a saved context.", required=True, complete="snapshot")
_CONTEXT: Final = Param("id", "Name of a saved context, or a process id.", required=True, complete="context")
_FORCE: Final = _flag("force", "Replace one that is there already.", "-f")

_LISTEN: Final = Param(
    "listen",
    "Answer OpenAI-compatible clients there, base URL http://HOST:PORT/v1; port 0 is any free one.",
    str,
    ("--listen",),
    metavar="HOST:PORT",
)

PROCESSES, WATCHING, CONTEXTS, SCHEDULING = "Processes", "Watching", "Contexts", "Scheduling"
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
            *_RUN_OPTIONS,
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
    CommandSpec("top", "Watch and command everything, full screen; what `aios` alone does.", WATCHING, "shell:top"),
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
    CommandSpec("snap ls", "List contexts: those saved, and those swapped out.", CONTEXTS, "snap:ls", (_JSON,)),
    CommandSpec(
        "snap save",
        "Keep a process's context as it is now; the process goes on.",
        CONTEXTS,
        "snap:save",
        (_PID, Param("name", "Name; made of agent and pid when left out.", str, ("--name",), metavar="NAME"), _FORCE),
        ("aios snap save 12 --name story",),
    ),
    CommandSpec(
        "snap show",
        "Print the conversation in a context, and the sizes.",
        CONTEXTS,
        "snap:show",
        (_CONTEXT, _JSON),
        ("aios snap show story", "aios snap show 12"),
    ),
    CommandSpec(
        "snap diff",
        "Compare two contexts by token; exit code 1 when they differ.",
        CONTEXTS,
        "diff:diff",
        (replace(_CONTEXT, name="a"), replace(_CONTEXT, name="b"), _JSON),
        ("aios snap diff story 12",),
    ),
    CommandSpec(
        "snap restore",
        "Start a process from a saved context.",
        CONTEXTS,
        "snap:restore",
        (_SNAPSHOT, _NEXT, _AGENT, *_RUN_OPTIONS),
        ("aios snap restore story", 'aios snap restore story "Now the same for children."'),
        own_words=True,
    ),
    CommandSpec(
        "snap fork",
        "Start a process from a copy of a living one's context.",
        CONTEXTS,
        "snap:fork",
        (_PID, _NEXT, _AGENT, *_RUN_OPTIONS),
        ('aios snap fork 12 "And if it rains?"',),
        own_words=True,
    ),
    CommandSpec(
        "snap rm",
        "Remove saved contexts.",
        CONTEXTS,
        "snap:rm",
        (replace(_SNAPSHOT, name="ids", many=True, metavar="ID"),),
    ),
    CommandSpec(
        "snap export",
        "Write a context to one file, for another machine with the same model.",
        CONTEXTS,
        "snap:export",
        (_CONTEXT, Param("file", "File; - is standard output.", required=True, complete="file"), _FORCE),
        ("aios snap export story story.aios", "aios snap export 12 - | ssh box aios snap import -"),
    ),
    CommandSpec(
        "snap import",
        "Keep a context from a file that was exported.",
        CONTEXTS,
        "snap:import_",
        (
            Param("file", "File; - is standard input.", required=True, complete="file"),
            Param("name", "Name; the one it had when left out.", str, ("--name",), metavar="NAME"),
            _FORCE,
        ),
        ("aios snap import story.aios",),
    ),
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
        (_LISTEN, _flag("foreground", "Stay in the foreground, for a service manager.")),
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
            Param("group", "Privilege group of their processes.", str, ("--group",), "user", metavar="G"),
            _flag("new", "Make another; the former key opens nothing any more."),
            _JSON,
        ),
        ("export OPENAI_API_KEY=$(aios kernel key)", "aios kernel key --group guests --json"),
    ),
    CommandSpec("kernel status", "Show the kernel's facts and figures.", KERNEL, "kernel:status", (_JSON,)),
    CommandSpec("doctor", "Check that everything needed is there.", KERNEL, "doctor:doctor", (_JSON,)),
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
            _flag("quick", "Seconds instead of minutes, to see that it works; no goal is judged."),
            Param("plot", "Write an SVG chart of each into DIR.", str, ("--plot",), complete="dir", metavar="DIR"),
            _JSON,
        ),
        ("aios bench ls", "aios bench mixed --peer http://127.0.0.1:8080", "aios bench --json > figures.json"),
    ),
    CommandSpec("locate", "Print where everything lives.", KERNEL, "shell:locate", (_JSON,)),
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

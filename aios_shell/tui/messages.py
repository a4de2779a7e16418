"""What widgets ask of the app. They decide nothing: the app talks to the kernel."""

from __future__ import annotations

from textual.message import Message


class Act(Message):
    """A verb for processes.

    Args:
        verb: suspend, resume, kill, int, renice, fork, attach, approve, deny, save, logs or focus.
        pids: captured when the key was pressed; the rows may move before it is done.
        value: of renice (the nice value; None: ask for it) and save (the name; None: one is made).
    """

    def __init__(self, verb: str, pids: tuple[int, ...], value: str | int | None = None) -> None:
        super().__init__()
        self.verb = verb
        self.pids = pids
        self.value = value


class Run(Message):
    """A command line of the shell's grammar."""

    def __init__(self, line: str) -> None:
        super().__init__()
        self.line = line


class Say(Message):
    """A line for a process: its standard input if it reads that, else its mailbox."""

    def __init__(self, pid: int, text: str) -> None:
        super().__init__()
        self.pid = pid
        self.text = text


class Notice(Message):
    """One line for the person, shown for seconds."""

    def __init__(self, text: str, *, error: bool = False) -> None:
        super().__init__()
        self.text = text
        self.error = error

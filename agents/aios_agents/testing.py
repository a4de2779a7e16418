"""Test an agent without a model: a kernel of the test's own, real but for the model, which says what the test wants.

    from aios_agents.testing import Lab, call

    def test_it_reckons() -> None:
        with Lab(Path("agents/sums")) as lab:
            run = lab.run("sums", "six times seven", replies=[call("calculator", expression="6 * 7"), "It is 42."])
        assert (run.exit_code, run.stdout) == (0, "It is 42.\\n")
        assert run.asked[1].last == "42"

What a model once said can be kept: `record` runs an agent on the real one and writes the answers to a JSON file, and
`replay` gives them as the replies of a test.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from aios_agents import manifest
from aios_kernel.client import KernelClient, event_of
from aios_kernel.client.access import AccessClient
from aios_kernel.errors import InvalidState
from aios_kernel.protocol import EventKind, ProcState, RunRequest

START_S: Final = 60.0
STOP_S: Final = 30.0
RUN_S: Final = 60.0

_SCRIPT: Final = "model.script.json"  # of the kind that the kernel takes for a model
_ASKED: Final = "model.script.asked"
_WINDOW: Final = 1 << 16  # tokens: the window is not what is tested
_TURN: Final = re.compile(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the scripted model says once.

    say: the text. when: texts that the prompt must have, in this order, the last one in its last message. cut: the
    reply ends as if max_tokens had cut it off.
    """

    say: str
    when: tuple[str, ...] = ()
    cut: bool = False


def call(name: str, /, **arguments: Any) -> Reply:
    """A reply that calls a tool."""
    body = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return Reply(f"<tool_call>\n{body}\n</tool_call>")


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt as the model saw it, and what it said. reply: None when the script had no answer."""

    prompt: str = field(repr=False)  # `messages` are shorter to read
    reply: str | None

    @property
    def messages(self) -> list[tuple[str, str]]:
        """(role, text) pairs."""
        return [(role, text) for role, text in _TURN.findall(self.prompt)]

    @property
    def last(self) -> str:
        """Text of the last message; of a tool's result without the frame around it."""
        return self.messages[-1][1].removeprefix("<tool_response>\n").removesuffix("\n</tool_response>")


@dataclass(frozen=True, slots=True)
class Run:
    """How an agent ended, what it wrote, and what it asked of the kernel."""

    exit_code: int
    stdout: str
    stderr: str
    syscalls: list[str]  # "llm.chat ok", "tool.call ETOOL": in the order in which they ended
    questions: list[str]  # what it needed a person's word for
    asked: list[Asked]


class Lab:
    """A kernel in a folder that goes when it does. Use it as a context manager."""

    def __init__(self, *agents: Path, config: str = "", real_model: bool = False) -> None:
        """
        Args:
            agents: folders of agents to install beside the bundled ones; they are used where they are.
            config: more of config.toml.
            real_model: run the machine's default model: replies are its own.
        """
        self._agents = agents
        self._config = config
        self._real = real_model
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Lab:
        # Short: a socket's path holds about 100 bytes.
        self.home = Path(tempfile.mkdtemp(prefix="aios-"))
        try:
            self._prepare()
            self._process = self._start()
        except BaseException:
            self.close()
            raise
        self.client = KernelClient(str(self.home / "kernel.sock"))
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the kernel, and remove the folder."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self.home, ignore_errors=True)

    def stop(self) -> None:
        """End the kernel and its agents; the folder stays until the end of the block."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        finally:
            process.kill()

    def run(
        self,
        agent: str,
        task: str = "",
        *,
        replies: Sequence[Reply | str] = (),
        stdin: str | None = None,
        messages: Sequence[str] = (),
        allow: bool = False,
        timeout_s: float = RUN_S,
        **request: Any,
    ) -> Run:
        """Run an agent to its end.

        Args:
            replies: what the model says, in the order in which it is asked unless a Reply says when; text is a Reply.
            stdin: all of its standard input. messages: put into its mailbox.
            allow: what the person answers whenever it has to ask.
            request: other fields of protocol.RunRequest.

        Raises: DeadlineHit, and what starting it raises.
        """
        self._script(replies)
        pid = self.client.run(RunRequest(agent, task, stdin=stdin is not None, **request))
        if stdin is not None:
            self.client.feed(pid, stdin.encode(), eof=True)
        for text in messages:
            self.client.send(pid, text)
        questions: list[str] = []
        while (info := self.client.wait(pid, state=ProcState.ASKING, timeout_s=timeout_s)).exit_code is None:
            with contextlib.suppress(InvalidState):  # it has been answered a moment ago
                questions.append(AccessClient(self.client).answer(pid, allow).what)
        return self._told(pid, info.exit_code, questions)

    def _told(self, pid: int, exit_code: int, questions: list[str]) -> Run:
        written: dict[EventKind, bytes] = {EventKind.STDOUT: b"", EventKind.STDERR: b""}
        syscalls = []
        for name, data in self.client.events(pid):
            if name == "event":
                event = event_of(data)
                if event.kind in written:
                    written[event.kind] += base64.b64decode(event.data)
                elif event.kind is EventKind.SYSCALL:
                    syscalls.append(event.data)
        stdout, stderr = (text.decode(errors="replace") for text in written.values())
        return Run(exit_code, stdout, stderr, syscalls, questions, self._asked())

    def _script(self, replies: Sequence[Reply | str]) -> None:
        """Written beside and moved, so that the kernel sees all of a new file, or the old one."""
        entries = [asdict(Reply(reply) if isinstance(reply, str) else reply) for reply in replies]
        (self.home / _ASKED).unlink(missing_ok=True)
        new = self.home / "new.json"
        new.write_text(json.dumps({"replies": entries}), encoding="utf-8")
        new.replace(self.home / _SCRIPT)

    def _asked(self) -> list[Asked]:
        path = self.home / _ASKED
        if not path.exists():
            return []
        return [msgspec.json.decode(line, type=Asked) for line in path.read_bytes().splitlines()]

    # --- the kernel

    def _prepare(self) -> None:
        folder = self.home / "data" / "agents"
        folder.mkdir(parents=True)
        for agent in self._agents:
            (folder / manifest.read(agent).name).symlink_to(agent.absolute())
        self._script(())
        (self.home / "config").mkdir()
        model = "" if self._real else f'[model]\nref = "{self.home / _SCRIPT}"\nwindow = {_WINDOW}\n'
        (self.home / "config" / "config.toml").write_text(f"{model}{self._config}\n", encoding="utf-8")

    def _start(self) -> subprocess.Popen[bytes]:
        """Raises RuntimeError with the kernel's last words when it does not start."""
        ready, report = os.pipe()
        log = self.home / "kernel.log"
        command = [sys.executable, "-P", "-m", "aios_kernel", "--foreground", "--ready-fd", str(report)]
        try:
            with log.open("wb") as file:
                process = subprocess.Popen(
                    command,
                    env={**os.environ, "AIOS_HOME": str(self.home)},
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    pass_fds=[report],
                )
            os.close(report)
            report = -1
            said = os.read(ready, 4096) if select.select([ready], [], [], START_S)[0] else b""
        finally:
            os.close(ready)
            if report >= 0:
                os.close(report)
        if said.strip() != b"ready":
            process.kill()
            process.wait()
            raise RuntimeError(f"the kernel did not start: {said.decode()}{log.read_text(errors='replace')[-2000:]}")
        return process


def record(folder: Path, task: str, file: Path, **options: Any) -> Run:
    """Run the agent of `folder` once on the machine's model, and write what that said to `file`.

    options: as for Lab.run.
    """
    import duckdb  # late: only recording reads the journal

    name = manifest.read(folder).name
    with Lab(folder, real_model=True) as lab:
        run = lab.run(name, task, **options)
        lab.stop()
        with duckdb.connect(str(lab.home / "state" / "journal.duckdb"), read_only=True) as journal:
            rows = journal.execute(
                "SELECT args, result FROM syscalls WHERE name = 'llm.chat' AND result IS NOT NULL ORDER BY started_at"
            ).fetchall()
    replies = [asdict(_recorded(json.loads(args), json.loads(result))) for args, result in rows]
    file.write_text(json.dumps(replies, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return run


def replay(file: Path) -> list[Reply]:
    """The replies that `record` wrote. Each answers the messages that it answered then, in the same order."""
    return msgspec.json.decode(file.read_bytes(), type=list[Reply])


def _recorded(asked: dict[str, Any], reply: dict[str, Any]) -> Reply:
    if "cut" in asked or "cut" in reply:
        raise ValueError("a conversation was too long for the journal to keep it whole: record a shorter one")
    messages = asked["messages"][:-1] if asked.get("continue_final_message") else asked["messages"]
    calls = [call(each["name"], **each["arguments"]).say for each in reply["tool_calls"]]
    said = "\n".join(part for part in (reply["text"], *calls) if part)
    when = tuple(message["content"] for message in messages if message.get("content"))
    return Reply(said, when, cut=reply["finish_reason"] == "length")

"""The agent SDK: everything an agent does goes through its `Agent`, and every method of it is a kernel syscall.

    from aios_agents import Agent

    async def main(agent: Agent) -> None:
        await agent.answer(f"Explain {agent.task} to a child.")

or, where a function outgrows itself, a class:

    class Explain(Agent):
        async def run(self) -> None:
            await self.answer(f"Explain {self.task} to a child.")

Every method that talks to the kernel raises the KernelError it was answered with; uncaught, it ends the agent with one
line on standard error and that error's exit code.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, Unpack, cast

import msgspec

from aios_agents import stdio
from aios_agents.conversation import Conversation, assistant_message
from aios_agents.files import Files
from aios_agents.generation import ChatOptions, Generation, Message, Messages, as_messages, sentence_end
from aios_agents.memory import Memory
from aios_agents.tool import Tool
from aios_agents.toolbox import Toolbox
from aios_kernel.client.aio import AsyncKernelClient
from aios_kernel.protocol import ChatReply, Embeddings, History, Mail, Pid, ProcInfo, Signal, ToolSpec

T = TypeVar("T")


class AgentFailed(Exception):
    """Ends the agent: one line on standard error, exit code `code`."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class ChildExit:
    """How a child ended: its exit code, and all it wrote to standard output."""

    exit_code: int
    output: str


@dataclass(frozen=True, slots=True)
class Heard:
    """Something said to the agent: a line of standard input (sender None) or a message (0: a person, else a pid)."""

    text: str
    sender: int | None


class Agent:
    """One running agent: its task, its input and output, the model, tools, other processes.

    A subclass is an agent too: its `run` is the program, and its class attributes are its settings.
    """

    def __init__(
        self,
        kernel: AsyncKernelClient,
        *,
        pid: int,
        task: str = "",
        has_stdin: bool = False,
        columns: int | None = None,
        defaults: ChatOptions | None = None,
        history: History | None = None,
    ) -> None:
        """defaults: options of each call of the model that does not give its own."""
        self.pid = Pid(pid)
        self.task = task
        self.has_stdin = has_stdin  # somebody feeds standard input; else it is empty
        self.columns = columns  # width of the client's terminal; None: not a terminal
        self.history = history  # what a restored or forked process goes on from; None: it begins with nothing
        self.stdin = stdio.Stdin()
        self.files = Files(kernel)
        self.memory = Memory(kernel)
        self._kernel = kernel
        self._defaults = defaults or ChatOptions()
        self._specs: dict[str, ToolSpec] = {}
        self._turn: asyncio.Task[Any] | None = None
        self._main = asyncio.current_task()

    async def run(self) -> int | None:
        """A subclass's program. Returns the exit code; None is 0."""
        raise NotImplementedError(f"{type(self).__name__} has no method `run`")

    # --- input and output

    def write(self, text: str) -> None:
        """Write to standard output, at once. Raises BrokenPipeError (exit 141) when nobody reads it."""
        stdio.write(text)

    def note(self, text: str) -> None:
        """Say something to the person that is not part of the answer: one line on standard error."""
        stdio.note(text)

    async def input(self) -> str:
        """The task and, after a blank line, all of standard input; either may be missing."""
        given = (await self.stdin.read()).strip() if self.has_stdin else ""
        return "\n\n".join(part for part in (self.task.strip(), given) if part)

    async def listen(self) -> AsyncIterator[Heard]:
        """Lines of standard input and messages as they come, until standard input ends.

        Without a standard input it goes on until the agent is ended. One message at most is taken out of the
        mailbox ahead of its turn, and a mailbox read is never cancelled while more is expected, so none is lost.
        """
        sources: dict[str, asyncio.Task[Heard | None]] = {}
        try:
            while True:
                if self.has_stdin and "stdin" not in sources:
                    sources["stdin"] = asyncio.create_task(self._hear_line())
                if "mail" not in sources:
                    sources["mail"] = asyncio.create_task(self._hear_mail())
                await asyncio.wait(sources.values(), return_when=asyncio.FIRST_COMPLETED)
                for name in [name for name, task in sources.items() if task.done()]:
                    heard = sources.pop(name).result()
                    if heard is None:
                        return
                    yield heard
        finally:
            for task in sources.values():
                task.cancel()

    async def _hear_line(self) -> Heard | None:
        line = await self.stdin.readline()
        return Heard(line.rstrip("\r\n"), None) if line else None

    async def _hear_mail(self) -> Heard:
        while (mail := await self.recv()) is None:
            pass
        return Heard(mail.text, mail.sender)

    # --- interruption

    def interrupt(self) -> None:
        """What Ctrl-C does: cancel the interruptible work if some is running, else the agent (exit 130)."""
        work = self._turn or self._main
        if work is not None:
            work.cancel()

    async def interruptible(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Await `work`; an interrupt ends it alone, and then the result is None. The agent lives on."""
        self._turn = turn = asyncio.ensure_future(work)
        try:
            await asyncio.wait([turn])
        finally:
            self._turn = None
            turn.cancel()  # only does something when this task itself was cancelled
        return None if turn.cancelled() else turn.result()

    # --- the model

    async def chat(
        self, messages: Messages, *, tools: Sequence[ToolSpec] = (), **options: Unpack[ChatOptions]
    ) -> ChatReply:
        """Ask the model and wait for its whole reply; with `tools` it may be calls (`run_tools` runs them)."""
        result = await self._kernel.syscall("llm.chat", self._chat_args(messages, tools, options))
        return msgspec.convert(result, ChatReply)

    def stream(self, messages: Messages, **options: Unpack[ChatOptions]) -> Generation:
        """Ask the model and iterate its reply as it is produced."""
        return Generation(self._kernel.stream("llm.chat", self._chat_args(messages, (), options)))

    async def answer(
        self, messages: Messages, *, whole_after: int | None = None, **options: Unpack[ChatOptions]
    ) -> ChatReply:
        """Ask the model and stream its reply to standard output, ending with a newline.

        With `whole_after`, text beyond so many characters is written a sentence at a time, and a last sentence that
        max_tokens cut off is left out.
        """
        generation = self.stream(messages, **options)
        text, written = "", 0
        goes_on = options.get("continue_final_message", False)
        try:
            async for piece in generation:
                text = text + piece if goes_on else (text + piece).lstrip()
                end = len(text)
                if whole_after is not None and end > whole_after:
                    end = max(written, whole_after, sentence_end(text))
                self.write(text[written:end])
                written = end
            if written < len(text) and generation.reply.finish_reason != "length":
                self.write(text[written:])
        finally:
            if text and not text[:written].endswith("\n"):
                self.write("\n")
        return generation.reply

    async def go_on(self) -> ChatReply:
        """Have the model finish the reply that `history` ends with, and stream what follows to standard output."""
        assert self.history is not None, "there is nothing to go on from"
        messages = self.history.messages
        options = {**self.history.options, "continue_final_message": messages[-1]["role"] == "assistant"}
        return await self.answer(messages, **cast(ChatOptions, options))

    async def ask_json(self, messages: Messages, schema: dict[str, Any], **options: Unpack[ChatOptions]) -> Any:
        """Ask the model for a value that fits the JSON Schema. Raises AgentFailed when max_tokens cut it off."""
        options["json_schema"] = schema
        reply = await self.chat(messages, **options)
        try:
            return json.loads(reply.text)
        except ValueError as error:
            raise AgentFailed(f"the model's reply is not JSON ({reply.finish_reason}): {reply.text[:80]!r}") from error

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector of length 1 for each text. Raises NoSuchModel where the kernel has no embedding model."""
        found = await self._kernel.syscall("llm.embed", {"texts": list(texts)})
        return msgspec.convert(found, Embeddings).vectors

    def conversation(self, system: str = "", **options: Unpack[ChatOptions]) -> Conversation:
        """A conversation that remembers its turns; `options` hold for each of them.

        Where there is a `history` it begins with that, system prompt and sampling included.
        """
        return Conversation(self, system, options)

    def _chat_args(self, messages: Messages, tools: Sequence[ToolSpec], options: ChatOptions) -> dict[str, Any]:
        return {"messages": as_messages(messages), "tools": list(tools), **self._defaults, **options}

    # --- tools

    async def tool(self, name: str, **arguments: Any) -> Any:
        """Run a kernel tool. Raises NoSuchTool, ToolFailed."""
        return await self._kernel.syscall("tool.call", {"name": name, "arguments": arguments})

    async def tool_specs(self, names: Sequence[str] | None = None) -> dict[str, ToolSpec]:
        """The kernel's tools by name; these at least, or all, which may take the start of MCP servers."""
        if names is None or not self._specs.keys() >= set(names):
            listed = msgspec.convert(await self._kernel.syscall("tool.list", {"names": names}), list[ToolSpec])
            self._specs |= {spec.name: spec for spec in listed}
        return self._specs

    async def toolbox(self, tools: Sequence[Tool | str]) -> Toolbox:
        """Functions of this agent, and kernel tools by name, for the model. Raises NoSuchTool for a name it lacks."""
        names = [tool for tool in tools if isinstance(tool, str)]
        specs = await self.tool_specs(names) if names else {}
        if not specs.keys() >= set(names):
            specs = await self.tool_specs()  # so that the error can tell what there is
        return Toolbox(tools, specs, self.tool)

    async def run_tools(
        self,
        messages: list[Message],
        tools: Sequence[Tool | str],
        *,
        rounds: int = 4,
        **options: Unpack[ChatOptions],
    ) -> ChatReply:
        """Let the model call tools until it answers with text, which is the reply.

        Args:
            messages: the conversation; calls, results and the final text are appended to it.
            tools: `@tool` functions of this agent, and names of kernel tools.
            rounds: after so many rounds of calls the model has to answer without tools.

        All calls of one reply run at the same time (the model wrote them without seeing each other's results). A tool
        that fails gives its error to the model as the result. Raises NoSuchTool for a name the kernel lacks.
        """
        box = await self.toolbox(tools)
        for _ in range(rounds):
            reply = await self.chat(messages, tools=box.specs, **options)
            messages.append(assistant_message(reply))
            if not reply.tool_calls:
                return reply
            messages += await asyncio.gather(*map(box.answer, reply.tool_calls))
            options.pop("tool_choice", None)  # a forced first call must not be forced again
        options["tool_choice"] = "none"
        reply = await self.chat(messages, tools=box.specs, **options)
        messages.append(assistant_message(reply))
        return reply

    # --- other processes

    async def spawn(self, agent: str, task: str = "", **options: Any) -> Pid:
        """Start a child; `options` are the other fields of protocol.RunRequest. Raises NoSuchAgent, LimitHit."""
        started = await self._kernel.syscall("proc.spawn", {"agent": agent, "task": task, **options})
        return Pid(started["pid"])

    async def fork(self, task: str = "", agent: str = "", **options: Any) -> Pid:
        """Start a child that has a copy of this process's context as its `history`; by default of the same agent.

        Raises NoSuchSnapshot when this process has said nothing to the model yet, NoSuchAgent, LimitHit.
        """
        started = await self._kernel.syscall("proc.fork", {"agent": agent, "task": task, **options})
        return Pid(started["pid"])

    async def wait(self, pid: int, *, timeout_s: float | None = None) -> ChildExit:
        """Wait until a child has ended. Raises DeadlineHit after `timeout_s`, NotPermitted for another's child."""
        result = await self._kernel.syscall("proc.wait", {"pid": pid}, deadline_s=timeout_s)
        return msgspec.convert(result, ChildExit)

    async def send(self, pid: int, text: str) -> None:
        """Put a message into a process's mailbox."""
        await self._kernel.syscall("proc.send", {"pid": pid, "text": text})

    async def recv(self, *, timeout_s: float | None = None) -> Mail | None:
        """Take the oldest message from the own mailbox, waiting for one; None after `timeout_s`."""
        mail = await self._kernel.syscall("proc.recv", {"timeout_s": timeout_s})
        return None if mail is None else msgspec.convert(mail, Mail)

    async def signal(self, pid: int, signal: Signal) -> None:
        """Signal a descendant. Raises NoSuchProcess, NotPermitted."""
        await self._kernel.syscall("proc.signal", {"pid": pid, "signal": signal.value})

    # --- rights

    async def request_access(self, action: str, resource: str = "", *, owner: str | None = None, why: str = "") -> None:
        """Ask for a right before it is needed; a person may be asked, and is told why.

        action: "file:delete". owner: whose resource it is; None: this agent's. Raises NotPermitted.
        """
        args = {"action": action, "resource": resource, "owner": owner, "why": why}
        await self._kernel.syscall("access.request", args)

    async def me(self) -> ProcInfo:
        """This process's own row of the process table."""
        return msgspec.convert(await self._kernel.syscall("proc.self", {}), ProcInfo)

"""How an agent's end becomes an exit code, in real forked processes."""

from __future__ import annotations

import os
import signal

import pytest

from .conftest import HostProcess


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ("print('bye')", 0, "bye\n"),
        ("return 3", 3, ""),
        ("import sys; sys.exit(4)", 4, ""),
        ("import sys; sys.exit('why')", 1, "t: why\n"),
        ("from aios_agents import AgentFailed; raise AgentFailed('no luck', code=5)", 5, "t: no luck\n"),
        ("await agent.chat('hello')", 3, "t: the kernel went away\n"),
        ("from aios_kernel.errors import NotPermitted; raise NotPermitted('not yours')", 126, "t: not yours\n"),
        ("return 'done'", 1, "t: it returned str: return nothing or an exit code; agent.write is for the answer\n"),
        ("raise BrokenPipeError", 141, ""),
        ("import asyncio; asyncio.current_task().cancel(); await asyncio.sleep(9)", 130, ""),
    ],
)
def test_exit_codes(host: HostProcess, body: str, code: int, text: str) -> None:
    host.write("t", f"async def main(agent):\n    {body}\n")
    assert host.run("t") == (code, text)


def test_an_uncaught_exception_leaves_its_traceback(host: HostProcess) -> None:
    host.write("t", "async def main(agent):\n    return 1 / 0\n")
    status, text = host.run("t")
    lines = text.splitlines()
    assert (status, lines[0]) == (1, "Traceback (most recent call last):")
    assert "agent.py" in lines[1]  # the agent's own code comes first
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_code_that_cannot_be_loaded_is_told_without_ours(host: HostProcess) -> None:
    host.write("t", "def main(agent)\n")
    status, text = host.run("t")
    assert (status, text.split()[0], text.splitlines()[-1]) == (1, "File", "SyntaxError: expected ':'")
    (host.folder / "t" / "agent.py").unlink()
    assert host.run("t") == (1, f"{host.folder}/t/agent.toml: entry: there is no module agent\n")


def test_a_folder_that_is_not_there(host: HostProcess) -> None:
    host.write("t", "async def main(agent): ...\n")
    status, text = host.run("t", cwd="/nonexistent")
    assert (status, "No such file" in text) == (1, True)


INTERRUPTED = """
import asyncio

async def main(agent):
    agent.write('up\\n')
    try:
        await asyncio.Event().wait()
    finally:
        agent.write('cleaned\\n')
"""

TWO_TURNS = """
import asyncio

async def turn(agent):
    agent.write('up\\n')
    await asyncio.Event().wait()

async def main(agent):
    for _ in range(2):
        agent.write(f'{await agent.interruptible(turn(agent))}\\n')
"""


def test_an_interrupt_cancels_main(host: HostProcess) -> None:
    host.write("t", INTERRUPTED)
    os_pid, out = host.spawn("t")
    assert os.read(out, 3) == b"up\n"
    os.killpg(os_pid, signal.SIGINT)
    assert host.receive()["status"] == 130
    assert os.read(out, 100) == b"cleaned\n"
    os.close(out)


def test_an_interrupt_ends_interruptible_work_alone(host: HostProcess) -> None:
    host.write("t", TWO_TURNS)
    os_pid, out = host.spawn("t")
    with os.fdopen(out, encoding="utf-8") as lines:
        for _ in range(2):
            assert lines.readline() == "up\n"
            os.killpg(os_pid, signal.SIGINT)
            assert lines.readline() == "None\n"
    assert host.receive()["status"] == 0


def test_nobody_reads_the_output(host: HostProcess) -> None:
    code = "async def main(agent):\n    await agent.stdin.read()\n    while True:\n        agent.write('x' * 4096)\n"
    host.write("t", code)
    _, out = host.spawn("t")
    os.close(out)
    assert host.receive()["status"] == 141


def test_standard_input_as_text_and_lines(host: HostProcess) -> None:
    host.write("t", "async def main(agent): agent.write(repr(await agent.stdin.read()))\n")
    assert host.run("t", stdin=b"a\n\xff\n") == (0, repr("a\n�\n"))
    host.write("t", "async def main(agent): agent.write(repr([line async for line in agent.stdin]))\n")
    assert host.run("t", stdin=b"one\r\ntwo") == (0, "['one', 'two']")
    host.write("t", "async def main(agent): agent.write(repr(await agent.input()))\n")
    assert host.run("t", task="do it", stdin=b"with this\n") == (0, repr("do it\n\nwith this"))
    assert host.run("t", task="do it") == (0, repr("do it"))


def test_a_prompt_without_anything_to_do(host: HostProcess) -> None:
    host.write("poet", "", system="Rhyme.")
    text = (host.folder / "poet" / "agent.toml").read_text().replace('entry = "agent:main"\n', "")
    (host.folder / "poet" / "agent.toml").write_text(text)
    assert host.run("poet") == (2, "poet: nothing to do: give poet a task or something on standard input\n")

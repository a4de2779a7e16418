"""What becomes of a line before the app runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from system import System
from tui_rig import Rig, wait_until

from aios_kernel.client import KernelClient, launch
from aios_kernel.protocol import AgentInfo
from aios_shell.language.expand import Scope, expand_all
from aios_shell.language.parse import Command, parse
from aios_shell.session import Session
from aios_shell.tui.starting import prepare


@pytest.fixture
def session(tmp_path: Path) -> Session:
    session = Session(lambda _: KernelClient(str(tmp_path / "none")), cwd=str(tmp_path))
    for name in ("math", "chat"):
        session.agents[name] = AgentInfo(name, "", "bundled", (), "user", reads_stdin=False)
    return session


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("math 1+1", ["run", "--bg", "math", "1+1"]),
        ("run --nice 5 math '1 + 1'", ["run", "--bg", "--nice", "5", "math", "1 + 1"]),
        ('? what\'s "up"', ["run", "--bg", "chat", "--", 'what\'s "up"']),
        ("snap restore story", ["snap", "restore", "--bg", "story"]),
        ("snap fork 12 'and then?'", ["snap", "fork", "--bg", "12", "and then?"]),
    ],
)
def test_an_agent_alone_goes_to_the_background_and_is_looked_at(session: Session, line: str, words: list[str]) -> None:
    prepared = prepare(parse(line), session, print)
    stage = prepared.line.items[0].first.stages[0]
    assert isinstance(stage, Command)
    assert expand_all(stage.words, Scope({}, session.cwd)) == words
    assert prepared.starts


@pytest.mark.parametrize(
    "line",
    ["cat x | math", "math 1+1 > out", "math 1+1 &", "run --bg math 1", "math 1 && ps", "ps", "ls -l", "$AGENT 1", ""],
)
def test_other_lines_stay_as_they_are(session: Session, line: str) -> None:
    prepared = prepare(parse(line), session, print)
    assert prepared.line == parse(line)
    assert not prepared.starts


def test_attach_looks_at_a_process(session: Session) -> None:
    assert prepare(parse("attach 12"), session, print).attach == 12
    assert prepare(parse("attach"), session, print).attach is None


@pytest.mark.model
def test_agents_for_real(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """One alone is started and looked at; one in a pipe writes here, and Ctrl-C is its signal."""
    monkeypatch.setenv("AIOS_HOME", str(system.home))
    rig = Rig(system.home, launch.connect)
    try:
        status, text = rig.run("math 'What is 12*7?'")
        assert (status, text) == (0, f"{rig.heard.pids[0]}\n")
        assert "84" in rig.run(f"wait {text.strip()}; logs {text.strip()} --output")[1]
        line = rig.start("narrate 'a long winter' | cat")
        wait_until(lambda: any(line.reader.take()[:2]))
        rig.runner.interrupt()
        wait_until(lambda: line.status is not None)
        assert line.status == 130
    finally:
        rig.runner.close()

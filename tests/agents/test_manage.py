"""Agents made, installed and removed; and one with requirements run in its own environment."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from aios_agents import manage, manifest
from aios_agents.manage import ManageError
from aios_agents.manifest import ManifestError
from aios_agents.testing import Lab

PROGRAM = """
import sys, greeting
from aios_agents import Agent

async def main(agent: Agent) -> None:
    reply = await agent.chat("Whom?")
    agent.write(f"{greeting.hello(reply.text)} {sys.prefix}\\n")
"""


def wheel(folder: Path) -> None:
    """The smallest package that pip installs, without asking anybody."""
    meta = {
        "greeting.py": "def hello(name):\n    return f'Hello, {name}.'\n",
        "greeting-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n",
        "greeting-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for name, text in meta.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(text)}\n"
    with zipfile.ZipFile(folder / "greeting-1.0-py3-none-any.whl", "w") as file:
        for name, text in meta.items():
            file.writestr(name, text)
        file.writestr("greeting-1.0.dist-info/RECORD", record + "greeting-1.0.dist-info/RECORD,,\n")


def agent(folder: Path, name: str = "scout", code: str = "async def main(agent): ...\n") -> Path:
    folder.mkdir(parents=True)
    (folder / "agent.toml").write_text(f'name = "{name}"\ndescription = "A test."\nentry = "agent:main"\n')
    (folder / "agent.py").write_text(code)
    return folder


@pytest.mark.parametrize("as_class", [False, True])
def test_a_new_agent_passes_its_own_test(tmp_path: Path, as_class: bool) -> None:
    folder = manage.new(tmp_path, "my-scout", as_class=as_class)
    assert manifest.read(folder).entry == ("agent:MyScout" if as_class else "agent:main")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", folder],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    manage.new(tmp_path, "scout", as_class=False)
    with pytest.raises(ManageError, match="is there already"):
        manage.new(tmp_path, "scout", as_class=False)
    with pytest.raises(ManifestError, match="lower-case"):
        manage.new(tmp_path, "../scout", as_class=False)


def test_an_agent_is_installed_under_its_own_name_and_replaced_only_by_force(tmp_path: Path) -> None:
    agents, source = tmp_path / "data" / "agents", agent(tmp_path / "src")
    assert manage.install(agents, str(source), force=False).folder == agents / "scout"
    (source / "agent.py").write_text("async def main(agent): return 3\n")
    with pytest.raises(ManageError, match="--force"):
        manage.install(agents, str(source), force=False)
    manage.install(agents, str(source), force=True)
    assert "return 3" in (agents / "scout" / "agent.py").read_text()
    assert [path.name for path in agents.parent.iterdir()] == ["agents"]  # nothing is left of the work


def test_what_is_no_agent_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    with pytest.raises(ManifestError, match=r"src: agent\.toml: there is none"):
        manage.install(tmp_path / "data" / "agents", str(tmp_path / "src"), force=False)
    assert list((tmp_path / "data" / "agents").iterdir()) == []


def test_only_the_persons_own_agents_are_removed(tmp_path: Path) -> None:
    agents, source = tmp_path / "data" / "agents", agent(tmp_path / "src")
    manage.install(agents, str(source), force=False)
    (agents / "linked").symlink_to(agent(tmp_path / "linked", "linked"))
    manage.remove(agents, "scout")
    manage.remove(agents, "linked")
    assert (list(agents.iterdir()), (tmp_path / "linked" / "agent.py").exists()) == ([], True)
    for name, why in (("math", "comes with aios"), ("nobody", "no agent nobody"), ("..", "no agent ..")):
        with pytest.raises(ManageError, match=why):
            manage.remove(agents, name)


def test_an_agent_with_requirements_runs_in_an_environment_of_its_own(tmp_path: Path) -> None:
    agents, source = tmp_path / "data" / "agents", agent(tmp_path / "src", code=PROGRAM)
    wheel(source)
    (source / "requirements.txt").write_text("--no-index\n./greeting-1.0-py3-none-any.whl\n")
    found = manage.install(agents, str(source), force=False)
    with Lab(found.folder) as lab:
        run = lab.run("scout", replies=["Ada"])
    assert (run.exit_code, run.stderr) == (0, "")
    hello, prefix = run.stdout.rsplit(" ", 1)
    assert (hello, Path(prefix.strip()).name) == ("Hello, Ada.", manifest.VENV)


def test_requirements_that_cannot_be_had_leave_nothing_behind(tmp_path: Path) -> None:
    agents, source = tmp_path / "data" / "agents", agent(tmp_path / "src")
    (source / "requirements.txt").write_text("--no-index\nnot-to-be-found-anywhere\n")
    with pytest.raises(ManageError, match="pip could not install"):
        manage.install(agents, str(source), force=False)
    assert list(agents.iterdir()) == []


def test_a_cerebrum_folder_is_an_agent(tmp_path: Path) -> None:
    folder = tmp_path / "src"
    folder.mkdir()
    config = {
        "name": "example/Math_Agent",
        "description": ["You are good at", " mathematics."],
        "tools": ["local/wikipedia"],
        "meta": {"author": "example", "version": "0.0.1", "license": "CC0"},
        "build": {"entry": "agent.py", "module": "MathAgent"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "agent.py").write_text(
        "class MathAgent:\n"
        "    def __init__(self, agent_name):\n        self.agent_name = agent_name\n"
        "    def run(self, task_input):\n"
        "        return {'agent_name': self.agent_name, 'result': f'{self.agent_name}: {task_input}', 'rounds': 1}\n"
    )
    found = manage.install(tmp_path / "data" / "agents", str(folder), force=False)
    assert (found.name, found.description) == ("math_agent", "You are good at mathematics.")
    with Lab(found.folder) as lab:
        run = lab.run("math_agent", "1 + 1")
        assert (run.exit_code, run.stdout) == (0, "example/Math_Agent: 1 + 1\n")
        former = (
            "class MathAgent:\n"
            "    def __init__(self, agent_name, task_input, config):\n"
            "        self.said = [task_input, config['name']]\n"
            "    def run(self):\n        return ' '.join(self.said)\n"
        )
        (found.folder / "agent.py").write_text(former)
        assert lab.run("math_agent", "hello").stdout == "hello example/Math_Agent\n"
    (found.folder / "config.json").write_text('{"name": "x", "build": {"entry": "agent.py"}}')
    with pytest.raises(ManifestError, match=r"config\.json: build: must have entry"):
        manifest.read(found.folder)

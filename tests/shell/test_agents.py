"""aios agents new, install, rm: the agents' room does it, the command line shows how it went."""

from __future__ import annotations

import zipfile
from pathlib import Path

from system import System


def test_an_agent_that_is_broken_is_not_just_missing(system: System) -> None:
    folder = Path(system.ok("agents", "new", "torn").strip())
    (folder / "agent.toml").write_text("name = ")
    for words in (["run", "torn", "x"], ["torn", "x"], ["agents", "show", "torn"]):
        done = system.run(*words)
        assert done.returncode == 127
        assert f"; what is wrong with {folder} is told in {system.home}/state/kernel.log" in done.stderr
    system.ok("agents", "rm", "torn")


def test_a_name_that_comes_with_aios_is_told(system: System) -> None:
    assert "takes the place of the math" in system.run("agents", "new", "math").stderr
    system.ok("agents", "rm", "math")


def test_an_agent_is_made_installed_elsewhere_and_removed(system: System, tmp_path: Path) -> None:
    made = Path(system.ok("agents", "new", "scout", "--class").strip())
    assert made == system.home / "data" / "agents" / "scout"
    with zipfile.ZipFile(tmp_path / "scout.zip", "w") as file:
        for path in made.iterdir():
            file.write(path, path.name)
    again = system.run("agents", "install", str(tmp_path / "scout.zip"))
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == "aios: an agent scout is installed: remove it first, or say --force\n"
    assert system.ok("agents", "rm", "scout") == ""
    assert "scout" not in [agent["name"] for agent in system.json("agents", "ls")]
    assert system.ok("-c", f"cd {tmp_path} && agents install scout.zip") == "scout\n"
    assert system.json("agents", "show", "scout")["source"] == str(made)
    refused = system.run("agents", "rm", "math")
    assert (refused.returncode, refused.stderr) == (1, "aios: math comes with aios: it cannot be removed\n")

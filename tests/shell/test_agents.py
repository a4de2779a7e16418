"""aios agents new, install, rm: the agents' room does it, the command line shows how it went."""

from __future__ import annotations

import zipfile
from pathlib import Path

from system import System


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

"""What may be installed as an agent, and what is refused: archives and folders come from strangers."""

from __future__ import annotations

import os
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest

from aios_agents import sources
from aios_agents.sources import SourceError

TOML = 'name = "scout"\ndescription = "A test."\nsystem = "Answer."\n'


def fetch(tmp_path: Path, source: str) -> Path:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    sources.fetch(source, tmp_path / "target", scratch)
    return tmp_path / "target"


def folder(tmp_path: Path) -> Path:
    made = tmp_path / "scout"
    (made / "data").mkdir(parents=True)
    (made / "agent.toml").write_text(TOML)
    (made / "data" / "words.txt").write_text("a\n")
    return made


def archive(tmp_path: Path, *entries: tuple[str | zipfile.ZipInfo, str]) -> str:
    path = tmp_path / "scout.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in entries:
            file.writestr(name, text)
    return str(path)


def names(target: Path) -> set[str]:
    return {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}


def test_a_folder_is_copied_without_what_tools_leave_in_it(tmp_path: Path) -> None:
    made = folder(tmp_path)
    for name in (".git", ".venv", "__pycache__"):
        (made / name).mkdir()
        (made / name / "x").write_text("x")
    assert names(fetch(tmp_path, str(made))) == {"agent.toml", "data/words.txt"}


def test_an_archive_with_one_folder_is_that_folder(tmp_path: Path) -> None:
    source = archive(tmp_path, ("scout-main/agent.toml", TOML), ("scout-main/data/words.txt", "a"))
    assert names(fetch(tmp_path, source)) == {"agent.toml", "data/words.txt"}


def test_a_repository_is_cloned(tmp_path: Path) -> None:
    made = folder(tmp_path)
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    me = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["init", "-q"], ["add", "."], [*me, "commit", "-qm", "one"]):
        subprocess.run(["git", *words], cwd=made, env=environment, check=True)
    assert names(fetch(tmp_path, made.as_uri())) == {"agent.toml", "data/words.txt"}


@pytest.mark.parametrize("name", ["../agent.toml", "/tmp/agent.toml", "a/../../agent.toml", "a\\..\\b"])
def test_an_archive_cannot_write_elsewhere(tmp_path: Path, name: str) -> None:
    source = archive(tmp_path, ("agent.toml", TOML), (name, TOML))
    with pytest.raises(SourceError, match="leads out of the folder"):
        fetch(tmp_path, source)
    assert not (tmp_path / "target").exists()
    assert not (tmp_path / "agent.toml").exists()


def test_an_archive_cannot_have_links(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("home")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(SourceError, match="a link or a special file"):
        fetch(tmp_path, archive(tmp_path, ("agent.toml", TOML), (link, "/")))


@pytest.mark.parametrize("kind", ["file", "folder", "pipe"])
def test_a_folder_cannot_have_links_or_special_files(tmp_path: Path, kind: str) -> None:
    made = folder(tmp_path)
    if kind == "pipe":
        os.mkfifo(made / "x")
    else:
        (made / "x").symlink_to("/etc/passwd" if kind == "file" else "/etc")
    with pytest.raises(SourceError, match="x: a link or a special file"):
        fetch(tmp_path, str(made))


def test_sizes_are_counted_as_they_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_BYTES", 1 << 20)
    source = archive(tmp_path, ("agent.toml", TOML), ("zeros", "\0" * (2 << 20)))
    with pytest.raises(SourceError, match="larger than 1 MiB"):
        fetch(tmp_path, source)


def test_what_is_no_source_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no folder, zip file or git address"):
        fetch(tmp_path, "scout")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(SourceError, match="not a zip file"):
        sources.fetch(str(tmp_path / "notes.txt"), tmp_path / "target", tmp_path)
    with pytest.raises(SourceError, match="git: "):
        sources.fetch((tmp_path / "nowhere.git").as_uri(), tmp_path / "target", tmp_path)
    with pytest.raises(SourceError, match=r"git: .*(ext|not allowed)"):
        sources.fetch("ext::true.git", tmp_path / "target", tmp_path)

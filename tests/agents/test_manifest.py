"""agent.toml: valid ones are read, wrong ones are refused with file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from aios_agents import manifest
from aios_agents.manifest import ManifestError

GOOD = 'name = "echo"\ndescription = "Repeats."\nentry = "agent:main"\n'


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "agent.toml").write_text(text, encoding="utf-8")
    return folder


def test_a_program_with_all_keys(tmp_path: Path) -> None:
    text = GOOD + 'tools = ["calculator"]\ngroup = "guest"\nreads_stdin = true\noverflow = "summarise"\n'
    text += "[limits]\nmax_tokens = 64\ndeadline_s = 1.5\n"
    read = manifest.read(write(tmp_path, text))
    assert (read.name, read.entry, read.system) == ("echo", "agent:main", None)
    assert (read.tools, read.group, read.reads_stdin, read.max_tokens) == (("calculator",), "guest", True, 64)
    assert read.defaults == {"max_tokens": 64, "overflow": "summarise"}
    assert (read.info().source, read.info().deadline_s) == (str(tmp_path), 1.5)


def test_an_agent_without_code(tmp_path: Path) -> None:
    read = manifest.read(write(tmp_path, 'name = "poet"\ndescription = "Rhymes."\nsystem = "Answer in rhyme."\n'))
    assert (read.entry, read.system, read.reads_stdin) == (None, "Answer in rhyme.", True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "not TOML"),
        (GOOD + 'entri = "x"', "entri: unknown key; accepted are name, description"),
        (GOOD.replace('"echo"', "3"), "name: must be text"),
        (GOOD.replace("echo", "My Agent"), "name: 'My Agent' is not lower-case"),
        ('name = "x"\nentry = "a:b"', "description: is missing"),
        (GOOD.replace("Repeats.", "a" * 201), "description: must be one line"),
        (GOOD + 'system = "both"', "entry: give either entry"),
        ('name = "x"\ndescription = "y"', "entry: give either entry"),
        (GOOD.replace("agent:main", "agent.main"), "entry: 'agent.main' is not"),
        (GOOD + "tools = [1]", "tools: must be a list of texts"),
        (GOOD + "reads_stdin = 1", "reads_stdin: must be true or false"),
        (GOOD + "[limits]\nmax_tokens = 0", "limits.max_tokens: must be a positive integer"),
        (GOOD + 'overflow = "never"', "overflow: must be one of drop-oldest, summarise, refuse"),
        (GOOD + "[limits]\nmax_tokens = 1.5", "limits.max_tokens: must be a positive integer"),
        (GOOD + "[limits]\ndeadline_s = true", "limits.deadline_s: must be a positive number"),
        (GOOD + "[limits]\ndeadline_s = inf", "limits.deadline_s: must be a positive number"),
        (GOOD + "[limits]\ntokens = 1", "limits.tokens: unknown key; accepted are max_tokens"),
    ],
)
def test_a_wrong_manifest_names_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ManifestError) as caught:
        manifest.read(write(tmp_path, text))
    assert str(caught.value).startswith(f"{tmp_path / 'agent.toml'}: {said}")


def test_bundled_agents_are_found_and_load() -> None:
    agents, broken = manifest.find(None)
    assert broken == {}
    assert {"chat", "math", "narrate", "rec", "summarize", "travel"} <= agents.keys()
    assert all(agent.info().source == "bundled" and callable(agent.load()) for agent in agents.values())


def test_a_users_agent_hides_the_bundled_one_even_when_broken(tmp_path: Path) -> None:
    write(tmp_path / "math", GOOD.replace("echo", "math"))
    agents, _ = manifest.find(tmp_path)
    assert agents["math"].folder == tmp_path / "math"
    write(tmp_path / "math", "name = 1")
    agents, broken = manifest.find(tmp_path)
    assert ("math" in agents, list(broken)) == (False, ["math"])


def test_a_text_that_drives_the_parser_mad_is_refused(tmp_path: Path) -> None:
    for value in ("9" * 5_000, "[" * 5_000 + "]" * 5_000):
        with pytest.raises(ManifestError, match="not TOML"):
            manifest.read(write(tmp_path, f"name = {value}\n"))

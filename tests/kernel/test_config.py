from __future__ import annotations

from pathlib import Path

import pytest

from aios_kernel.access.config import AccessConfig
from aios_kernel.client.address import Address
from aios_kernel.client.toml import TomlFile
from aios_kernel.config import Config, load
from aios_kernel.core import EngineConfig
from aios_kernel.errors import BadConfig
from aios_kernel.protocol import Overflow

POLICIES = ("fifo", "rr")


def read(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return load(path, POLICIES)


def test_no_file_means_defaults(tmp_path: Path) -> None:
    assert Config() == load(tmp_path / "config.toml", POLICIES)


def test_every_key_is_read(tmp_path: Path) -> None:
    text = """
[model]
ref = "qwen"
slots = 4
window = 2048
threads = 1
gpu_layers = 0
[sched]
policy = "fifo"
quantum = 8
[context]
overflow = "summarise"
ram_bytes = 1000
[kernel]
listen = "127.0.0.1:8377"
[access]
answer_s = 20
"""
    engine = EngineConfig(slots=4, window=2048, threads=1, gpu_layers=0, policy="fifo", quantum=8, ram_bytes=1000)
    listen = Address("127.0.0.1", 8377)
    assert Config(
        model="qwen", listen=listen, overflow=Overflow.SUMMARISE, engine=engine, access=AccessConfig(answer_s=20)
    ) == read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (
            "[model]\nslotz = 4\n",
            2,
            "unknown key 'slotz'; did you mean slots? (accepted: ref, slots, window, threads, gpu_",
        ),
        ("# top\n[modle]\nslots = 4\n", 2, "unknown section 'modle'; did you mean model? (accepted: model, sched, con"),
        ('[model]\n\nslots = "four"\n', 3, "slots = 'four': must be a whole number"),
        ("[model]\nslots = true\n", 2, "slots = True: must be a whole number"),
        ("[model]\nslots = 0\n", 2, "slots = 0: must be 1 to 256"),
        ("[journal]\nmax_bytes = 0\n", 2, "max_bytes = 0: must be 1073741824 to 1125899906842624"),
        ("[sandbox]\noutput_bytes = 0\n", 2, "output_bytes = 0: must be 1048576 to 1125899906842624"),
        ("[access]\n\nanswer_s = 0\n", 3, "answer_s = 0: must be 1 to 604800"),
        ("[access]\nanswers = 1\n", 2, "unknown key 'answers'; did you mean answer_s? (accepted: answer_s, audit"),
        ("[access]\nanswer_s = true\n", 2, "answer_s = True: must be a whole number"),
        ('[sched]\npolicy = "lottery"\n', 2, "policy = 'lottery': must be one of fifo, rr"),
        ("model = 3\n", 1, "model is a section: write [model]"),
        ('[context]\noverflow = "forget"\n', 2, "overflow = 'forget': must be one of drop-oldest, summarise, refuse"),
        ("[context]\n[sched]\nquantum = -1\n", 3, "quantum = -1: must be 1 to"),
        ("[kernel]\nlisten = 8377\n", 2, "listen = 8377: must be a text in quotes"),
        ('[kernel]\nlisten = "8377"\n', 2, "listen = '8377': must be HOST:PORT, for instance 127.0.0.1:8377"),
        ("sched.quantum = 0\n", 1, "quantum = 0"),
        ("sched = { quantum = 0 }\n", 1, "quantum = 0"),
    ],
)
def test_an_error_names_file_line_and_what_is_accepted(tmp_path: Path, text: str, line: int, says: str) -> None:
    with pytest.raises(BadConfig) as caught:
        read(tmp_path, text)
    assert caught.value.message.startswith(f"{tmp_path / 'config.toml'}:{line}: {says}")
    assert "\n" not in caught.value.message


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"config\.toml:2: .*at line 2, column"):
        read(tmp_path, "[model]\nslots = \n")


def test_a_key_of_the_same_name_in_another_section_is_not_taken() -> None:
    text = "[a]\nkey = 1\n[b]\nkey = 2\n"
    file = TomlFile(Path("config.toml"), text, {})
    assert file.line_of("b", "key") == 4
    assert file.line_of("c", "key") is None

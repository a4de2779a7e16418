from __future__ import annotations

import errno
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios_kernel.context import file as image_file
from aios_kernel.context.file import read_header, read_image, write_image
from aios_kernel.context.image import Image
from aios_kernel.errors import InternalError, LimitHit, SnapshotBroken

IMAGE = Image(
    tokens=tuple(range(40)),
    ends=(16, 32, 39, 40),
    fed=3,
    kv=np.arange(1_000, dtype=np.uint8),
    model_hash="model",
    build_key="build",
    exact=True,
)
META = {"messages": [{"role": "user", "content": "Grüße"}], "finished": False}


def write(path: Path, image: Image = IMAGE) -> int:
    return write_image(path, image, model="a model", created_at=12.5, meta=META)


def test_an_image_comes_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "one.aios"
    assert write(path) == path.stat().st_size
    image, header = read_image(path)
    assert image.kv is not None
    assert IMAGE.kv is not None
    assert bytes(image.kv) == bytes(IMAGE.kv)
    fields = ("tokens", "ends", "fed", "model_hash", "build_key", "exact")
    assert [getattr(IMAGE, name) for name in fields] == [getattr(image, name) for name in fields]
    assert (header.meta, header.model, header.created_at) == (META, "a model", 12.5)
    assert read_header(path) == header
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_image_without_kv_comes_back_too(tmp_path: Path) -> None:
    path = tmp_path / "one.aios"
    write(path, replace(IMAGE, kv=None, fed=0))
    image, _ = read_image(path)
    assert (image.kv, image.tokens) == (None, IMAGE.tokens)


@settings(max_examples=200)
@given(st.data())
def test_a_file_with_any_byte_changed_or_missing_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("x") / "one.aios"
    write(path)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    kind = data.draw(st.sampled_from(["change", "cut", "add"]))
    if kind == "change":
        content[place] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del content[place:]
    else:
        content[place:place] = b"!"
    path.write_bytes(content)
    with pytest.raises(SnapshotBroken):
        read_image(path)


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "one.aios"
    write(path)
    content = path.read_bytes()
    for broken, why in (
        (b"%PDF-1.7", "not a snapshot"),
        (content[:-1], "cut off"),
        (content[:8] + b"\xff\0\0\0" + content[12:], "newer"),
        (content[:-1] + bytes([content[-1] ^ 1]), "checksum"),
    ):
        path.write_bytes(broken)
        with pytest.raises(SnapshotBroken, match=why):
            read_image(path)


def test_a_log_with_gaps_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.aios"
    for ends in ((16, 16, 40), (16, 8, 40), (16, 32), (16, 32, 41)):
        write(path, replace(IMAGE, ends=ends, fed=1))
        with pytest.raises(SnapshotBroken, match="no sense"):
            read_image(path)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    script = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from aios_kernel.context.file import write_image
from aios_kernel.context.image import Image
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
image = Image((1, 2), (2,), 1, np.zeros(5_000, dtype=np.uint8), "model", "build", True)
write_image(Path(sys.argv[1]), image, model="", created_at=0.0, meta={})
"""
    command = [sys.executable, "-c", script, str(tmp_path / "one.aios")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "LimitHit" in done.stderr
    assert "File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InternalError, match="No such file"):
        write(tmp_path / "nowhere" / "one.aios")


def test_a_failed_write_keeps_the_former_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "one.aios"
    write(path)

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(image_file.os, "fsync", full)
    with pytest.raises(LimitHit, match="No space left"):
        write(path, replace(IMAGE, kv=None, fed=0))
    assert [path] == list(tmp_path.iterdir())
    assert read_image(path)[0].fed == IMAGE.fed

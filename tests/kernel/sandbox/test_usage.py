"""Scratch folders that their owner has made as hard to count and to remove as can be."""

from __future__ import annotations

import os
from pathlib import Path

from aios_kernel.sandbox.usage import MAX_FILES, disk_bytes, num_threads, remove

MIB = 1 << 20


def test_files_and_deleted_files_count(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "big").write_bytes(os.urandom(MIB))
    (tmp_path / "elsewhere").symlink_to("/usr")
    assert MIB <= disk_bytes(tmp_path, None, 9 * MIB) < 2 * MIB
    with (tmp_path / "gone").open("wb") as file:
        file.write(os.urandom(3 * MIB))
        file.flush()
        (tmp_path / "gone").unlink()
        assert 4 * MIB <= disk_bytes(tmp_path, os.getpid(), 9 * MIB) < 5 * MIB
    assert disk_bytes(tmp_path, os.getpid(), 9 * MIB) < 2 * MIB
    assert disk_bytes(tmp_path / "none", None, MIB) == 0


def test_counting_ends_at_the_limit(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / str(number)).write_bytes(bytes(8_192))
    assert 64_000 < disk_bytes(tmp_path, None, 64_000) < 100_000
    usage_of_many = tmp_path / "many"
    usage_of_many.mkdir()
    for number in range(MAX_FILES):
        (usage_of_many / str(number)).touch()
    assert disk_bytes(tmp_path, None, 1 << 40) == (1 << 40) + 1


def deep(folder: Path, levels: int) -> None:
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def test_what_cannot_be_looked_into_is_too_much(tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    deep(folder, 3_000)
    try:
        assert disk_bytes(folder, None, 1 << 40) == (1 << 40) + 1
    finally:
        remove(folder)  # pytest could not


def test_any_folder_can_be_removed(tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    deep(folder, 3_000)
    (folder / "closed" / "inner").mkdir(parents=True)
    (folder / "closed" / "inner" / "file").touch()
    (folder / "closed" / "inner").chmod(0)
    (folder / "closed").chmod(0)
    (folder / "out").symlink_to(tmp_path)
    (folder / "1.up").mkdir()
    (tmp_path / "kept").touch()
    remove(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    remove(folder)


def test_threads() -> None:
    assert num_threads(os.getpid()) >= 1
    assert num_threads(2**22 + 1) == 0

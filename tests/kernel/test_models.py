from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from aios_kernel import models
from aios_kernel.errors import ModelBroken, NoSuchModel
from aios_kernel.protocol import ModelInfo


def gguf(path: Path, content: bytes = b"GGUF\x03\0\0\0") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def found(tmp_path: Path) -> dict[str, str]:
    """ref -> origin of what is found below tmp_path, the embedded model left aside."""
    listed = models.find(tmp_path / "data", {}, tmp_path)
    return {model.ref: model.origin for model in listed if model.origin != "embedded"}


def test_the_embedded_model_comes_first_under_a_short_name(tmp_path: Path) -> None:
    first = models.find(tmp_path, {}, tmp_path)[0]
    assert (first.ref, first.origin) == ("smollm2-135m-instruct-q4_1", "embedded")
    assert first.bytes > 90_000_000


def test_other_programs_models_are_found(tmp_path: Path) -> None:
    gguf(tmp_path / "data" / "Mine.Q8_0.gguf")
    hub = tmp_path / ".cache" / "huggingface" / "hub"
    gguf(hub / "models--Qwen--Qwen2.5-0.5B" / "snapshots" / "abc" / "qwen2.5-0.5b-instruct-q4_k_m.gguf")
    gguf(tmp_path / ".lmstudio" / "models" / "pub" / "repo" / "Gemma-3-1b.gguf")
    store = tmp_path / ".ollama" / "models"
    manifest = store / "manifests" / "registry.ollama.ai" / "library" / "llama3.2" / "1b"
    manifest.parent.mkdir(parents=True)
    layers = [
        {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:beef"},
        {"mediaType": "x", "digest": "y"},
    ]
    manifest.write_text(json.dumps({"layers": layers}))
    gguf(store / "blobs" / "sha256-beef")
    assert found(tmp_path) == {
        "mine-q8_0": "data",
        "qwen2.5-0.5b-instruct-q4_k_m": "huggingface",
        "llama3.2:1b": "ollama",
        "gemma-3-1b": "lmstudio",
    }


def test_what_is_no_model_is_left_out(tmp_path: Path) -> None:
    data = tmp_path / "data"
    gguf(data / "text.gguf", b"hello")
    gguf(data / "empty.gguf", b"")
    gguf(data / "mmproj-model.gguf")
    gguf(data / "big-00001-of-00002.gguf")
    gguf(data / "big-00002-of-00002.gguf")
    (data / "dangling.gguf").symlink_to(data / "nowhere")
    manifests = tmp_path / ".ollama" / "models" / "manifests" / "r" / "n" / "m"
    manifests.mkdir(parents=True)
    (manifests / "tag").write_text("[1, 2")
    assert found(tmp_path) == {"big-00001-of-00002": "data"}


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_unreadable_folders_are_skipped(tmp_path: Path) -> None:
    gguf(tmp_path / "data" / "locked" / "a.gguf")
    gguf(tmp_path / "data" / "b.gguf")
    (tmp_path / "data" / "locked").chmod(0)
    try:
        assert found(tmp_path) == {"b": "data"}
    finally:
        (tmp_path / "data" / "locked").chmod(0o700)


def test_equal_names_get_different_references(tmp_path: Path) -> None:
    for folder in ("data/x", "data/y", "data/z", ".lmstudio/models/p"):
        gguf(tmp_path / folder / "same.gguf", f"GGUF{folder}".encode())
    assert found(tmp_path) == {"same": "data", "same@data": "data", "same@data-2": "data", "same@lmstudio": "lmstudio"}


MODELS = [ModelInfo("qwen-0.5b", "/m/a.gguf", 1, "data"), ModelInfo("qwen-3b", "/m/b.gguf", 1, "data")]


@pytest.mark.parametrize("ref", ["qwen-3b", "QWEN-3B", "qwen-3", "/m/b.gguf"])
def test_a_reference_names_a_model(ref: str) -> None:
    assert MODELS[1] == models.resolve(ref, MODELS)


def test_an_ambiguous_or_unknown_reference_names_near_ones(tmp_path: Path) -> None:
    with pytest.raises(NoSuchModel, match=r"did you mean qwen-0\.5b or qwen-3b\?"):
        models.resolve("qwen", MODELS)
    with pytest.raises(NoSuchModel, match="did you mean qwen-3b"):
        models.resolve("qwn-3b", MODELS)
    with pytest.raises(NoSuchModel, match="see `aios model ls`"):
        models.resolve("zzz", MODELS)
    with pytest.raises(NoSuchModel, match="No such file"):
        models.resolve(str(tmp_path / "gone.gguf"), MODELS)
    with pytest.raises(ModelBroken, match="not a GGUF file"):
        models.resolve(str(gguf(tmp_path / "bad.gguf", b"????")), MODELS)


def test_a_path_names_a_file_outside_the_folders(tmp_path: Path) -> None:
    path = gguf(tmp_path / "Own.Q4_0.gguf")
    own = models.resolve(str(path), MODELS)
    assert ModelInfo("own-q4_0", str(path), 8, "path") == own
    assert [model.current for model in models.mark(MODELS, own)] == [False, False, True]
    assert [model.current for model in models.mark(MODELS, MODELS[0])] == [True, False]

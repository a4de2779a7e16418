"""model ls, use, pull."""

from __future__ import annotations

import os

from aios_kernel.client import paths
from aios_kernel.errors import BadRequest, KernelError, NoSuchModel
from aios_shell import render
from aios_shell.io import Io


class PullFailed(KernelError):
    """The file could not be fetched. Exit code 1."""


def ls(io: Io, json: bool) -> None:
    models = io.session.connect(io.note).models()
    if json:
        render.json(io, models)
        return
    rows = [("*" if model.current else "", model.ref, render.size(model.bytes), model.origin) for model in models]
    render.table(io, ("", "REF", "SIZE", "ORIGIN"), rows, right=frozenset({"SIZE"}))


def use(io: Io, ref: str) -> None:
    path = io.session.path(ref)
    info = io.session.connect(io.note).use_model(str(path) if path.is_file() else ref)
    io.note(f"the kernel now uses {info.ref}")


def pull(io: Io, repo: str, file: str | None) -> None:
    """Into the data folder's models/, where the kernel looks. Prints the file's path."""
    if repo.count("/") != 1:
        raise BadRequest(f"'{repo}' is not OWNER/NAME, as in bartowski/SmolLM2-360M-Instruct-GGUF")
    if not io.tty(io.stderr):
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # read when the library is imported
    from huggingface_hub import hf_hub_download, list_repo_files
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        name = file or _choose(list_repo_files(repo))
        target = hf_hub_download(repo, name, local_dir=paths().models)
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        missing = status in (401, 404)  # the hub answers 401 for what is not there
        raise PullFailed(
            f"huggingface.co has no {repo}{f'/{file}' if file else ''}" if missing else _first(error)
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, OSError, RuntimeError) as error:
        raise PullFailed(f"cannot fetch {repo}: huggingface.co is not reachable ({_first(error)})") from error
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("httpx", "httpcore", "requests"):
            raise
        raise PullFailed(f"cannot fetch {repo}: huggingface.co is not reachable ({_first(error)})") from error
    io.line(str(target))


def _choose(files: list[str]) -> str:
    """A GGUF file of the repository: Q4_K_M, which most people take, else the only one."""
    ggufs = [name for name in files if name.endswith(".gguf")]
    for name in ggufs:
        if "q4_k_m" in name.lower() and "-of-" not in name:
            return name
    if len(ggufs) == 1:
        return ggufs[0]
    if not ggufs:
        raise NoSuchModel("the repository has no GGUF file")
    raise BadRequest(f"name one of its files: {', '.join(ggufs)}")


def _first(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__

"""model ls, use, pull."""

from __future__ import annotations

import os
import urllib.error
import urllib.request

from aios_kernel.client import paths
from aios_kernel.errors import BadRequest, KernelError, NoSuchModel
from aios_shell import render
from aios_shell.io import Io

REACH_WITHIN_S = 10.0


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
    os.environ["HF_HUB_VERBOSITY"] = "error"  # both are read when the library is imported
    if not io.tty(io.stderr):
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    from huggingface_hub import constants, hf_hub_download, list_repo_files
    from huggingface_hub.errors import HfHubHTTPError

    _reach(constants.ENDPOINT, offline=constants.HF_HUB_OFFLINE)
    try:
        files = [file] if file else list_repo_files(repo)
        path = hf_hub_download(repo, _choose(files), local_dir=paths().models)
    except KernelError:
        raise
    except HfHubHTTPError as error:
        what = f"{repo}/{file}" if file else repo
        missing = error.response is not None and error.response.status_code in (401, 404)  # 401: private, or not there
        raise PullFailed(f"{constants.ENDPOINT} has no {what}" if missing else _first(error)) from error
    except Exception as error:  # whatever the library's HTTP client raises; its type changes between releases
        raise PullFailed(f"cannot fetch {repo}: {_first(error)}") from error
    io.line(path)


def _reach(endpoint: str, *, offline: bool) -> None:
    """One quick look: the library itself tries again for half a minute. Raises PullFailed."""
    if offline:
        raise PullFailed("HF_HUB_OFFLINE is set: nothing is fetched")
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=REACH_WITHIN_S).close()  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()  # it answered: that is all that was asked
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise PullFailed(f"{endpoint} is not reachable: {getattr(reason, 'strerror', None) or reason}") from error


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

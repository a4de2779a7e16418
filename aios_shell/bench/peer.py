"""The servers that `--peer` names: what they say of themselves, and their warming up."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from aios_kernel.errors import BadRequest, KernelError
from aios_shell.bench.replay import Endpoint, play
from aios_shell.bench.trace import Conversation, Trace, Turn

ANSWER_S: Final = 10.0
WARM_S: Final = 60.0


class PeerUnusable(KernelError):
    """A server that was named as the peer does not do what a benchmark needs. Exit code 1."""


def look(url: str) -> Endpoint:
    """What serves at `url`, with or without its /v1. The key, where it wants one, is OPENAI_API_KEY.

    Raises BadRequest, PeerUnusable.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise BadRequest(f"--peer {url}: must be a URL, for instance http://127.0.0.1:8080")
    root = url.rstrip("/").removesuffix("/v1")
    key = os.environ.get("OPENAI_API_KEY")
    try:
        models, server = _get(f"{root}/v1/models", key)
        model = str(models["data"][0]["id"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise PeerUnusable(f"no server of OpenAI chat completions at {url}: {error}") from error
    return Endpoint(server, f"{root}/v1", model, _slots(root, key), key)


def warm(server: Endpoint) -> None:
    """One short chat, so that no first request pays for pages not touched yet. Raises PeerUnusable."""
    (reply,) = play(Trace((Conversation("warm", 0.0, (Turn("Say hello.", 8),)),), WARM_S), server)
    if reply.error:
        raise PeerUnusable(f"{server.url} cannot chat: {reply.error}")


def choose(peers: Sequence[Endpoint], slots: int) -> Endpoint | None:
    """The peer that serves so many sequences at once, else the first one; None: there is none."""
    return next((peer for peer in peers if peer.slots == slots), peers[0] if peers else None)


def _slots(root: str, key: str | None) -> int | None:
    """llama-server tells; of others nobody knows."""
    try:
        props, _ = _get(f"{root}/props", key)
        return int(props["total_slots"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _get(url: str, key: str | None) -> tuple[Any, str]:
    """The JSON at `url`, and how the server calls itself."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})  # noqa: S310
    with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310 -- its scheme was checked
        return json.loads(answer.read()), answer.headers.get("Server", urlsplit(url).netloc)

"""A context with the conversation in it, apart from the process it was taken from: in a file, in a reply."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from aios_kernel.chat import Conversation
from aios_kernel.context.file import Header, read_header, read_image, write_image
from aios_kernel.context.image import Image
from aios_kernel.core import ModelSpec
from aios_kernel.durable import disk_error
from aios_kernel.errors import InvalidState, KernelError, NoSuchSnapshot, PromptTooLong, SnapshotBroken
from aios_kernel.protocol import ChatRequest, History, SnapshotDetail, SnapshotInfo, Tier

SUFFIX: Final = ".aios"

_NOT_OPTIONS: Final = ("messages", "continue_final_message")  # of a ChatRequest, in a conversation


@dataclass(frozen=True, slots=True)
class Saved:
    """A context, the conversation in it, and whose it was."""

    name: str  # "": has never been kept
    image: Image
    conversation: Conversation
    pid: int
    agent: str
    task: str
    model: str
    created_at: float


@dataclass(frozen=True, slots=True)
class _Meta:
    """What a file holds beside the image. The conversation's tokens are `shared` of the image's, then its own."""

    name: str
    pid: int
    agent: str
    task: str
    shared: int
    conversation: Conversation


# --- a file's content --------------------------------------------------------------------------------------


def write(path: Path, saved: Saved) -> None:
    """Raises LimitHit (the disk is full), InternalError."""
    tokens, said = saved.image.tokens, saved.conversation
    shared = num_shared(said.tokens, tokens)
    rest = dataclasses.replace(said, tokens=said.tokens[shared:])
    meta = msgspec.to_builtins(_Meta(saved.name, saved.pid, saved.agent, saved.task, shared, rest))
    write_image(path, saved.image, model=saved.model, created_at=saved.created_at, meta=meta)


def read(path: Path, spec: ModelSpec | None) -> Saved:
    """Read and check all of a file. Raises NoSuchSnapshot, SnapshotBroken, InternalError."""
    with _found(path):
        image, header = read_image(path)
    meta = _meta(path, header)
    said = _checked(meta, image.tokens)
    if said is None:
        raise SnapshotBroken(f"{path.name}: its conversation makes no sense")
    if spec is not None and spec.model_hash == image.model_hash:
        highest = max(itertools.chain(image.tokens, said.tokens))
        if highest >= spec.n_vocab:
            raise SnapshotBroken(f"{path.name}: token {highest} is none of its model's {spec.n_vocab}")
    return Saved(meta.name, image, said, meta.pid, meta.agent, meta.task, header.model, header.created_at)


def _checked(meta: _Meta, tokens: Sequence[int]) -> Conversation | None:
    """The conversation with all of its tokens; None when nobody can go on with it. tokens: the image's."""
    said = meta.conversation
    try:
        request = msgspec.convert({**said.options, "messages": said.messages}, ChatRequest)
    except msgspec.ValidationError:
        return None
    options = {name: value for name, value in msgspec.to_builtins(request).items() if name not in _NOT_OPTIONS}
    said = dataclasses.replace(said, options=options, tokens=[*tokens[: meta.shared], *said.tokens])
    good = (
        all(isinstance(message.get("role"), str) for message in said.messages)
        and said.messages
        and said.text.endswith(said.reply)
        and 0 <= meta.shared <= len(tokens)
        and 0 < said.prompt_tokens <= len(said.tokens)
        and min(said.tokens) >= 0
    )
    return said if good else None


def info_of(path: Path) -> SnapshotInfo | None:
    """One row of the list, from the file's header; None: it has gone."""
    name = path.name.removesuffix(SUFFIX)
    try:
        file = path.stat()
        with _found(path):
            header = read_header(path)
            meta = _meta(path, header)
    except (NoSuchSnapshot, FileNotFoundError):
        return None
    except KernelError as error:
        return SnapshotInfo(name, 0, 0, file.st_size, Tier.DISK, file.st_mtime, False, saved=True, error=error.message)
    return SnapshotInfo(
        id=name,
        pid=meta.pid,
        tokens=header.num_tokens,
        bytes=file.st_size,
        tier=Tier.DISK,
        created_at=header.created_at,
        exact=header.exact,
        agent=meta.agent,
        saved=True,
    )


def _meta(path: Path, header: Header) -> _Meta:
    try:
        return msgspec.convert(header.meta, _Meta)
    except msgspec.ValidationError as error:
        raise SnapshotBroken(f"{path.name}: its conversation makes no sense: {error}") from error


@contextlib.contextmanager
def _found(path: Path) -> Iterator[None]:
    """What the system says about a file, as errors of ours. Raises NoSuchSnapshot, InternalError, LimitHit."""
    name = path.name.removesuffix(SUFFIX)
    try:
        yield
    except FileNotFoundError as error:
        raise NoSuchSnapshot(f"snapshot {name} was removed meanwhile", id=name) from error
    except OSError as error:
        raise disk_error(path, error) from error


# --- what others see of one ---------------------------------------------------------------------------------


def usable(saved: Saved, spec: ModelSpec) -> Saved:
    """`saved`, if this model can go on from it. Raises InvalidState (another model), PromptTooLong."""
    name, num_tokens = saved.name or "the snapshot", len(saved.image.tokens)
    if saved.image.model_hash != spec.model_hash:
        message = f"{name} was made with {saved.model}, not the model that the kernel runs: see `aios model use`"
        raise InvalidState(message, model=saved.model)
    if num_tokens > spec.window:
        message = f"{name} has {num_tokens} tokens, the context window {spec.window}"
        raise PromptTooLong(message, tokens=num_tokens, window=spec.window)
    return saved


def without_foreign_kv(saved: Saved, spec: ModelSpec) -> Saved:
    """`saved` without a KV state that this build cannot use: the tokens bring it back."""
    if saved.image.build_key == spec.build_key:
        return saved
    return dataclasses.replace(saved, image=dataclasses.replace(saved.image, kv=None, fed=0))


def history(said: Conversation) -> History:
    """What a process goes on from that has a copy of this conversation."""
    used = 0 if said.finished else len(said.tokens) - said.prompt_tokens
    options = {**said.options, "max_tokens": max(1, said.options["max_tokens"] - used)}
    return History(_with_reply(said), not said.finished, options)


def _with_reply(said: Conversation) -> list[dict[str, Any]]:
    return [*said.messages, {"role": "assistant", "content": said.reply}] if said.reply else said.messages


def detail(
    id: str, saved: Saved, *, tier: Tier, num_bytes: int | None, pieces: list[str], build_key: str | None
) -> SnapshotDetail:
    """All of one. num_bytes: of its file, if it has one. build_key: this kernel's, once it has a model."""
    image, said = saved.image, saved.conversation
    kv_bytes = image.kv.size if image.kv is not None else 0
    return SnapshotDetail(
        id=id,
        pid=saved.pid,
        tokens=len(image.tokens),
        bytes=kv_bytes if num_bytes is None else num_bytes,
        tier=tier,
        created_at=saved.created_at,
        exact=image.exact,
        agent=saved.agent,
        saved=num_bytes is not None,
        task=saved.task,
        model=saved.model,
        messages=_with_reply(said),
        unfinished=not said.finished,
        options=said.options,
        prompt_tokens=min(said.prompt_tokens, len(image.tokens)),
        reply_tokens=max(0, len(image.tokens) - said.prompt_tokens),
        kv_bytes=kv_bytes,
        build=image.build_key,
        fits=None if build_key is None else kv_bytes > 0 and build_key == image.build_key,
        token_ids=list(image.tokens),
        pieces=pieces,
    )


def num_shared(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens both begin with."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((index for index, (x, y) in pairs if x != y), min(len(a), len(b)))

"""A context in one file: written whole or not at all, checked before anything in it is believed.

    magic 8 bytes · version u32 · header length u32 · header digest 16 bytes · header (JSON)
    tokens int32[] · ends int32[] · KV bytes                                   little-endian throughout

The header names the model, the build, the counts, the digest of what follows it, and `meta`, which is the caller's own.
Files come from anywhere: every count is held against the file's length before anything is allocated.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from aios_kernel.context.image import Image
from aios_kernel.core import KvBytes
from aios_kernel.durable import disk_error, replace_file
from aios_kernel.errors import SnapshotBroken

MAGIC: Final = b"AIOSSNAP"
VERSION: Final = 1
MAX_HEADER_BYTES: Final = 64 << 20  # a conversation of some windows' length is a megabyte

_PREFIX: Final = struct.Struct("<8sII16s")
_INT: Final = np.dtype("<i4")


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself."""

    model: str
    model_hash: str
    build_key: str
    exact: bool
    created_at: float
    num_tokens: int
    num_pieces: int
    fed: int  # pieces whose KV state is in the file
    kv_bytes: int
    digest: str  # XXH3-128 of tokens, ends and KV
    meta: dict[str, Any]


def write_image(path: Path, image: Image, *, model: str, created_at: float, meta: dict[str, Any]) -> int:
    """Write `image` to `path`, durable when this returns; never half. Blocks: call it off the event loop.

    Returns: the file's bytes. Raises LimitHit (the disk is full), InternalError (any other failure of the disk).
    """
    tokens, ends = np.array(image.tokens, dtype=_INT), np.array(image.ends, dtype=_INT)
    kv = image.kv if image.kv is not None else np.empty(0, dtype=np.uint8)
    header = Header(
        model=model,
        model_hash=image.model_hash,
        build_key=image.build_key,
        exact=image.exact,
        created_at=created_at,
        num_tokens=len(tokens),
        num_pieces=len(ends),
        fed=image.fed,
        kv_bytes=kv.size,
        digest=_digest(tokens, ends, kv).hex(),
        meta=meta,
    )
    body = msgspec.json.encode(header)
    prefix = _PREFIX.pack(MAGIC, VERSION, len(body), xxhash.xxh3_128_digest(body))
    try:
        return replace_file(path, (prefix, body, tokens.data, ends.data, kv.data))
    except OSError as error:
        raise disk_error(path, error) from error


def read_header(path: Path) -> Header:
    """What the file says of itself; of the rest only the length is checked.

    Raises: FileNotFoundError, SnapshotBroken.
    """
    with path.open("rb") as file:
        return _read_header(path, file)


def read_image(path: Path) -> tuple[Image, Header]:
    """Read and check all of a file. Blocks: call it off the event loop. Raises FileNotFoundError, SnapshotBroken."""
    with path.open("rb") as file:
        header = _read_header(path, file)
        tokens = np.fromfile(file, dtype=_INT, count=header.num_tokens)
        ends = np.fromfile(file, dtype=_INT, count=header.num_pieces)
        kv: KvBytes = np.fromfile(file, dtype=np.uint8, count=header.kv_bytes)
    if _digest(tokens, ends, kv).hex() != header.digest:
        raise SnapshotBroken(f"{path.name}: the checksum is wrong: the file was altered", path=str(path))
    if not _plausible(tokens, ends, header.fed):
        raise SnapshotBroken(f"{path.name}: its token log makes no sense", path=str(path))
    image = Image(
        tokens=tuple(tokens.tolist()),
        ends=tuple(ends.tolist()),
        fed=header.fed,
        kv=kv if header.fed else None,
        model_hash=header.model_hash,
        build_key=header.build_key,
        exact=header.exact,
    )
    return image, header


def _read_header(path: Path, file: BinaryIO) -> Header:
    try:
        body = _read_body(file)
        header = msgspec.json.decode(body, type=Header)
        if min(header.num_tokens, header.num_pieces, header.fed, header.kv_bytes) < 0:
            raise ValueError("a count in its header is negative")
        rest = _INT.itemsize * (header.num_tokens + header.num_pieces) + header.kv_bytes
        if os.fstat(file.fileno()).st_size != _PREFIX.size + len(body) + rest:
            raise ValueError("cut off, or something was added")
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors too
        raise SnapshotBroken(f"{path.name}: {error}", path=str(path)) from error
    return header


def _read_body(file: BinaryIO) -> bytes:
    """The header's JSON, checked. Raises ValueError saying what is wrong."""
    prefix = file.read(_PREFIX.size)
    if prefix[: len(MAGIC)] != MAGIC:
        raise ValueError("not a snapshot")
    if len(prefix) < _PREFIX.size:
        raise ValueError("cut off")
    _, version, length, digest = _PREFIX.unpack(prefix)
    if version > VERSION:
        raise ValueError(f"made by a newer aios (format {version}, this one reads {VERSION})")
    if length > MAX_HEADER_BYTES:
        raise ValueError("its header is too long")
    body = file.read(length)
    if len(body) < length:
        raise ValueError("cut off")
    if xxhash.xxh3_128_digest(body) != digest:
        raise ValueError("the checksum is wrong: the file was altered")
    return body


def _plausible(tokens: NDArray[np.int32], ends: NDArray[np.int32], fed: int) -> bool:
    """Pieces follow each other, without gaps, up to the last token."""
    steps = np.diff(ends, prepend=0)
    return bool(fed <= len(ends) and (steps > 0).all() and (tokens >= 0).all() and ends[-1:].sum() == len(tokens))


def _digest(tokens: NDArray[np.int32], ends: NDArray[np.int32], kv: KvBytes) -> bytes:
    digest = xxhash.xxh3_128()
    for part in (tokens, ends, kv):
        digest.update(part.data)
    return digest.digest()

"""What a note says, and how much of it there may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from aios_kernel.errors import BadRequest
from aios_kernel.memory import words
from aios_kernel.protocol import Note

MAX_CONTENT: Final = 65_536  # characters; and so on
MAX_CONTEXT: Final = 1_000
MAX_WORD: Final = 64  # of one keyword or tag
MAX_WORDS: Final = 16  # keywords, and as many tags
MAX_METADATA: Final = 8_192  # as JSON
OVERHEAD: Final = 256  # bytes that a note counts beside its texts


@dataclass(frozen=True, slots=True)
class Text:
    """What a note says."""

    content: str
    context: str = ""
    keywords: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        keywords, tags, metadata = (_json(value) for value in (self.keywords, self.tags, self.metadata))
        return self.content, self.context, keywords, tags, metadata

    @property
    def indexed(self) -> words.Texts:
        return self.content, self.context, "\n".join(self.keywords), "\n".join(self.tags)

    @property
    def size(self) -> int:
        return OVERHEAD + sum(len(column.encode()) for column in self.columns)


def text_of(note: Note) -> Text:
    return Text(note.content, note.context, note.keywords, note.tags, note.metadata)


def checked(text: Text) -> Text:
    """`text`, each keyword and tag once. Raises BadRequest naming what is too long, empty, or no text."""
    if not text.content.strip():
        raise BadRequest("content: a note says something", key="content")
    _check_length("content", text.content, MAX_CONTENT)
    _check_length("context", text.context, MAX_CONTEXT)
    _check_length("metadata", _json(text.metadata), MAX_METADATA)
    keywords, tags = _distinct("keywords", text.keywords), _distinct("tags", text.tags)
    return Text(text.content, text.context, keywords, tags, text.metadata)


def _distinct(key: str, values: Sequence[str]) -> list[str]:
    if len(values) > MAX_WORDS:
        raise BadRequest(f"{key}: {len(values)} of them; at most {MAX_WORDS} are allowed", key=key)
    for value in values:
        _check_length(key, value, MAX_WORD)
        if not value.strip():
            raise BadRequest(f"{key}: one of them is empty", key=key)
    return list(dict.fromkeys(values))


def _check_length(key: str, text: str, most: int) -> None:
    if len(text) > most:
        raise BadRequest(f"{key}: {len(text)} characters; at most {most} are allowed", key=key)
    try:
        text.encode()
    except UnicodeEncodeError as error:  # half of a surrogate pair, which JSON can write
        raise BadRequest(f"{key}: not Unicode text: {error.reason}", key=key) from error


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()

"""A model that says what a file tells it to: agents are tested on it, and everything around the model is real.

The file, NAME.script.json, is {"replies": [{"say": text, "when": [texts], "cut": bool}]}. A prompt gets the first reply
not given yet whose `when` it has: those texts in this order, the last one in the last message. `cut` ends the reply as
max_tokens does. A file that was written anew is read anew, and nothing of it has been given. Each prompt, with what it
got, is a line of NAME.script.asked: {"prompt": text, "reply": text or null}.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, Final

import msgspec
import numpy as np

from aios_kernel.core import CoreError, EngineConfig, Logits, SamplingParams
from aios_kernel.errors import ModelBroken
from aios_kernel.models import SCRIPT_SUFFIX
from aios_kernel.testing import END, ScriptedCore, ScriptedSampler

_TURN: Final = "<|im_start|>"  # of the template for models without one
_END_OF_TURN: Final = "<|im_end|>"
# No text has more of them than it has tokens on a real model, so that what fitted max_tokens there fits it here.
_WORDS: Final = re.compile(r"<\|\w+\|>| ?(?:(?!<\|)\S)+|\s+|<")
_BLANK: Final = END + 1  # a token that says nothing: a reply that is to be cut goes on with it
_FIRST_WORD: Final = END + 2
_NUM_TOKENS: Final = 1 << 16  # words beyond are spelled, byte by byte


@dataclass(frozen=True, slots=True)
class ScriptReply:
    """One entry of the file."""

    say: str
    when: list[str]
    cut: bool = False

    def answers(self, prompt: str) -> bool:
        last = prompt.rfind(_TURN, 0, prompt.rfind(_TURN))  # the final one begins the reply
        at = 0
        for number, text in enumerate(self.when, 1):
            at = prompt.find(text, max(at, last) if number == len(self.when) else at)
            if at < 0:
                return False
            at += len(text)
        return True


class _Script:
    """The file, and which of its replies have been given."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._asked = path.with_name(path.name.removesuffix(SCRIPT_SUFFIX) + ".script.asked")
        self._version = (0, 0)
        self._replies: list[ScriptReply] = []

    def reply_to(self, prompt: str) -> ScriptReply:
        """Raises CoreError when nothing in the file answers."""
        self._read()
        found = next((reply for reply in self._replies if reply.answers(prompt)), None)
        with self._asked.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"prompt": prompt, "reply": None if found is None else found.say}) + "\n")
        if found is None:
            last = prompt[prompt.rfind(_TURN, 0, prompt.rfind(_TURN)) :]
            question = last.partition("\n")[2].split(_END_OF_TURN)[0]
            left = len(self._replies)
            raise CoreError(f"the script has no reply to {question!r}; {left} of its replies are not given yet")
        self._replies.remove(found)
        return found

    def _read(self) -> None:
        try:
            stat = self._path.stat()
            if self._version != (version := (stat.st_ino, stat.st_mtime_ns)):
                table: dict[str, Any] = json.loads(self._path.read_bytes())
                self._replies = msgspec.convert(table["replies"], list[ScriptReply])
                self._version = version
        except (OSError, ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
            raise CoreError(f"{self._path}: {error}") from error


class FileCore(ScriptedCore):
    """A Core that answers from a file. Its tokens are words, made up as they come."""

    @classmethod
    def load(cls, path: Path, config: EngineConfig) -> FileCore:
        """Raises ModelBroken when the file is none."""
        try:
            return cls(path, config)
        except CoreError as error:
            raise ModelBroken(str(error), path=str(path)) from error

    def __init__(self, path: Path, config: EngineConfig) -> None:
        super().__init__(lambda _: END, config)
        self.spec = replace(self.spec, name=path.name, path=str(path), n_vocab=_NUM_TOKENS)
        self.script = _Script(path)
        self.script._read()
        self._lock = Lock()
        self._words: dict[bytes, int] = {}
        self._pieces: list[bytes] = []

    def tokenize(self, text: str, *, special: bool) -> list[int]:  # noqa: ARG002 - it has no special tokens
        with self._lock:  # any thread
            return [token for word in _WORDS.findall(text) for token in self._tokens(word.encode())]

    def _tokens(self, word: bytes) -> list[int]:
        token = self._words.get(word)
        if token is None:
            if _FIRST_WORD + len(self._pieces) >= _NUM_TOKENS:
                return list(word)
            self._words[word] = token = _FIRST_WORD + len(self._pieces)
            self._pieces.append(word)
        return [token]

    def piece(self, token: int) -> bytes:
        return self._pieces[token - _FIRST_WORD] if token >= _FIRST_WORD else super().piece(token)

    def sampler(self, params: SamplingParams, grammar: str | None) -> FileSampler:
        super().sampler(params, grammar)
        return FileSampler(self)

    def _feed(self, seqs: Any, pieces: Any, starts: Any) -> Logits:
        """The rows name their sequences, whose tokens the samplers read."""
        super()._feed(seqs, pieces, starts)
        rows = np.zeros((len(seqs), self.spec.n_vocab), dtype=np.float32)
        rows[:, 0] = seqs
        return rows

    def text(self, seq: int) -> str:
        """What was fed to a sequence."""
        return b"".join(map(self.piece, self._seqs[seq])).decode(errors="replace")


class FileSampler(ScriptedSampler):
    """Chooses the tokens of one reply, which it looks up when it is first asked."""

    def __init__(self, core: FileCore) -> None:
        self._core = core
        self._accepted: list[int] = []
        self._reply: list[int] | None = None

    def sample(self, row: Logits, position: int) -> int:  # noqa: ARG002 - it throws no dice
        if self._reply is None:
            self._reply = self._look_up(self._core.text(int(row[0])))
        return self._reply.pop(0) if len(self._reply) > 1 else self._reply[0]

    def _look_up(self, text: str) -> list[int]:
        """Tokens of the reply to `text`, which may end with the reply's beginning; the last one goes on for ever."""
        given = b"".join(map(self._core.piece, self._accepted)).decode(errors="replace")
        reply = self._core.script.reply_to(text.removesuffix(given))
        tokens = self._core.tokenize(reply.say.removeprefix(given), special=False)
        return [*tokens, _BLANK if reply.cut else END]

    def accept(self, token: int) -> None:
        self._accepted.append(token)

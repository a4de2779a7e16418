"""Fakes that tests, and authors of agents, run the kernel on: a clock to set, a model that follows a script."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from aios_kernel.core import CoreError, EngineConfig, KvBytes, Logits, ModelSpec, RestoreFailed, SamplingParams
from aios_kernel.errors import BadRequest

END = 256  # ScriptedCore's end-of-generation token; tokens below are bytes

Script = Callable[[tuple[int, ...]], int]


class FakeClock:
    """A clock that stands still until told otherwise."""

    def __init__(self, start: float = 1_000.0) -> None:
        self._time = start

    def now(self) -> float:
        return self._time

    def monotonic(self) -> float:
        return self._time

    def advance(self, seconds: float) -> None:
        self._time += seconds


def reply(text: str) -> Script:
    """A script that answers every prompt with `text`.

    The answer starts after the last newline of what was fed, so prompts must end with one and `text` holds none.
    """
    data: list[int] = [*text.encode(), END]
    assert ord("\n") not in data, "a scripted reply is one line"

    def next_token(history: tuple[int, ...]) -> int:
        produced: int = history[::-1].index(ord("\n")) if ord("\n") in history else len(history)
        return data[min(produced, len(data) - 1)]

    return next_token


def babble(history: tuple[int, ...]) -> int:
    """A script without end: letters that depend on the whole history, so that any lost token shows."""
    digest = hashlib.blake2b(bytes(str(history), "ascii"), digest_size=2).digest()
    number: int = int.from_bytes(digest, "little")
    return ord("a") + number % 26


class ScriptedSampler:
    """Takes the most likely token."""

    def sample(self, row: Logits, position: int) -> int:  # noqa: ARG002 - it throws no dice
        return int(np.argmax(row))

    def accept(self, token: int) -> None:
        """Has no state."""

    def close(self) -> None:
        """Holds nothing."""


class ScriptedCore:
    """A Core whose tokens are bytes and whose next token is a function of all tokens fed to the sequence.

    It keeps the rules of a real one: positions must follow each other, sequences are apart, states restore.
    """

    def __init__(
        self,
        script: Script = babble,
        config: EngineConfig | None = None,
        on_call: Callable[[int, int], None] | None = None,
    ) -> None:
        """on_call: hears the numbers of sequences and tokens of each prefill and decode; may move a FakeClock on."""
        config = config or EngineConfig()
        self._on_call = on_call
        self._script = script
        self._seqs: list[list[int]] = [[] for _ in range(config.slots)]
        self.calls: list[tuple[int, ...]] = []  # the sequences of each call
        self.fail_next: CoreError | None = None  # raised by the next prefill or decode
        self.threads = 1
        self.spec = ModelSpec(
            name="scripted",
            path="",
            n_vocab=END + 1,
            n_ctx_train=config.window,
            window=config.window,
            num_slots=config.slots,
            exact=True,
            exact_reason="scripted",
            max_batch=config.slots,
            fixed_threads=False,
            model_hash="scripted",
            build_key="scripted",
            kv_bytes_per_token=4,
            chat_template=None,
            bos="",
            eos="",
            add_bos=False,
        )

    def tokenize(self, text: str, *, special: bool) -> list[int]:  # noqa: ARG002 - it has no special tokens
        return list(text.encode())

    def piece(self, token: int) -> bytes:
        return bytes([token]) if token < END else b""

    def written(self, token: int) -> bytes:
        return self.piece(token) or b"<end>"

    def is_eog(self, token: int) -> bool:
        return token == END

    def sampler(self, params: SamplingParams, grammar: str | None) -> ScriptedSampler:  # noqa: ARG002
        if grammar is not None and "root ::=" not in grammar:
            raise BadRequest("the grammar does not compile")
        return ScriptedSampler()

    def prefill(self, seq: int, tokens: Sequence[int], start: int) -> Logits:
        row: Logits = self._feed([seq], [tokens], [start])[0]
        return row

    def decode(self, seqs: Sequence[int], tokens: Sequence[int], positions: Sequence[int]) -> Logits:
        return self._feed(seqs, [[token] for token in tokens], positions)

    def _feed(self, seqs: Sequence[int], pieces: Sequence[Sequence[int]], starts: Sequence[int]) -> Logits:
        self.calls.append(tuple(seqs))
        if self._on_call is not None:
            self._on_call(len(seqs), sum(map(len, pieces)))
        failure, self.fail_next = self.fail_next, None
        if failure is not None:
            raise failure
        assert len(set(seqs)) == len(seqs), "a sequence is twice in a batch"
        rows = np.zeros((len(seqs), self.spec.n_vocab), dtype=np.float32)
        for row, seq, piece, start in zip(rows, seqs, pieces, starts, strict=True):
            held = self._seqs[seq]
            assert len(held) == start, f"sequence {seq} holds {len(held)} tokens, fed at {start}"
            assert len(held) + len(piece) <= self.spec.window, f"sequence {seq} outgrows its window"
            held.extend(piece)
            row[self._script(tuple(held))] = 1.0
        return rows

    def save(self, seq: int) -> KvBytes:
        return np.array(self._seqs[seq], dtype=np.int32).view(np.uint8)

    def restore(self, seq: int, data: KvBytes) -> None:
        if data.size % 4:
            raise RestoreFailed("not a scripted state")
        self._seqs[seq] = data.view(np.int32).tolist()

    def trim(self, seq: int, length: int) -> None:
        del self._seqs[seq][length:]

    def set_threads(self, num_threads: int) -> None:
        self.threads = num_threads

    def abort(self) -> None:
        """A scripted call is over at once."""

    def rebuild(self) -> None:
        self._seqs = [[] for _ in self._seqs]

    def close(self) -> None:
        """Holds nothing."""

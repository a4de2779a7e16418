"""Sampler chains of llama.cpp, applied to our own view of the logits."""

from __future__ import annotations

import ctypes
import hashlib
import math
import struct
from typing import Any, Self

import llama_cpp
import numpy as np

from aios_kernel.core import CoreError, Logits, SamplingParams
from aios_kernel.errors import BadRequest

PENALTY_WINDOW = 64  # tokens the repeat penalty looks back, llama.cpp's own default

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])  # llama_token_data


class Candidates:
    """A llama_token_data_array over numpy memory. One serves every sampler of a core, as one thread samples."""

    def __init__(self, size: int) -> None:
        self._ids = np.arange(size, dtype=np.int32)
        self._data = np.empty(size, dtype=_CANDIDATE)
        self._array = llama_cpp.llama_token_data_array(
            data=self._data.ctypes.data_as(llama_cpp.llama_token_data_p), size=size, selected=-1, sorted=False
        )

    def fill(self, row: Logits) -> None:
        """Every token with its logit: one row (n_vocab,)."""
        self._data["id"] = self._ids
        self._data["logit"] = row
        self._reset(len(self._ids))

    def fill_one(self, token: int) -> None:
        """One token alone, to ask a grammar about it."""
        self._data[0] = (token, 0.0, 0.0)
        self._reset(1)

    def _reset(self, size: int) -> None:
        self._array.size, self._array.selected, self._array.sorted = size, -1, False

    def apply(self, sampler: Any) -> None:
        llama_cpp.llama_sampler_apply(sampler, ctypes.byref(self._array))

    def best(self) -> int:
        """The most likely token, the first of equals. Raises CoreError when none is possible."""
        return self._token(int(self._left()["logit"].argmax()))

    def draw(self, chance: float) -> int:
        """A token by its probability; chance: 0 to 1. Raises CoreError when none is possible."""
        logits = self._left()["logit"].astype(np.float64)
        top = logits.max()
        if not math.isfinite(top):
            raise CoreError("no token is possible here")
        steps = np.exp(logits - top).cumsum()
        return self._token(int(np.searchsorted(steps, chance * steps[-1], side="right").clip(max=logits.size - 1)))

    def _left(self) -> Any:
        """The candidates that the chain has left over; it may have sorted them."""
        return self._data[: self._array.size]

    def _token(self, index: int) -> int:
        token, logit, _ = self._data[index].item()
        if not math.isfinite(logit):
            raise CoreError("no token is possible here")
        return int(token)

    def first_allowed(self) -> bool:
        """Whether the first candidate is still possible."""
        return math.isfinite(float(self._data["logit"][0]))


class LlamaSampler:
    """One generation's sampler: an optional grammar, then penalties, top_k, top_p, min_p, temperature and dice.

    A grammar is asked about the chosen token alone; only when it says no are all tokens put to it (for a vocabulary
    of 49k that is 5 to 50 ms, the single question some microseconds). The dice are ours: llama.cpp's keep a state that
    cannot be written down, so that a generation could not go on from a file.
    """

    def __init__(self, chain: Any, grammar: Any, candidates: Candidates, params: SamplingParams) -> None:
        self._chain = chain  # None: nothing stands between the logits and the choice
        self._grammar = grammar
        self._candidates = candidates
        self._params = params

    @classmethod
    def create(cls, vocab: Any, candidates: Candidates, params: SamplingParams, grammar: str | None) -> Self:
        """Raises BadRequest when the grammar does not compile."""
        compiled = None
        if grammar is not None:
            compiled = llama_cpp.llama_sampler_init_grammar(vocab, grammar.encode(), b"root")
            if not compiled:
                raise BadRequest("the grammar does not compile")
        return cls(_chain(vocab, params), compiled, candidates, params)

    def sample(self, row: Logits, position: int) -> int:
        token = self._choose(row, position, constrained=False)
        if not self._allowed(token):
            token = self._choose(row, position, constrained=True)
        self._take(token)
        return token

    def accept(self, token: int) -> None:
        if not self._allowed(token):  # llama.cpp would end the process
            raise CoreError(f"the grammar does not allow token {token} here")
        self._take(token)

    def _allowed(self, token: int) -> bool:
        if self._grammar is None:
            return True
        self._candidates.fill_one(token)
        self._candidates.apply(self._grammar)
        return self._candidates.first_allowed()

    def _take(self, token: int) -> None:
        for part in (self._grammar, self._chain):
            if part is not None:
                llama_cpp.llama_sampler_accept(part, token)

    def _choose(self, row: Logits, position: int, *, constrained: bool) -> int:
        if self._chain is None and not constrained:
            token = int(row.argmax())  # the first of equals, as llama.cpp's greedy sampler has it
            if not math.isfinite(float(row[token])):
                raise CoreError("the logits are not numbers")
            return token
        self._candidates.fill(row)
        if constrained:
            self._candidates.apply(self._grammar)
        if self._chain is not None:
            self._candidates.apply(self._chain)
        if self._params.temperature <= 0:
            return self._candidates.best()
        return self._candidates.draw(_chance(self._params.seed, position))

    def close(self) -> None:
        for part in (self._chain, self._grammar):
            if part is not None:
                llama_cpp.llama_sampler_free(part)
        self._chain = self._grammar = None


def _chance(seed: int, position: int) -> float:
    """A number from 0 to 1, one for each position of a sequence."""
    digest = hashlib.blake2b(struct.pack("<QQ", seed, position), digest_size=8).digest()
    return float(int.from_bytes(digest, "little") / 2**64)


def _chain(vocab: Any, params: SamplingParams) -> Any:
    """The C chain for `params`; None when it would have no part."""
    parts = []
    if params.repeat_penalty != 1.0:
        n_vocab = llama_cpp.llama_vocab_n_tokens(vocab)
        parts.append(llama_cpp.llama_sampler_init_penalties(n_vocab, PENALTY_WINDOW, params.repeat_penalty, 0.0, 0.0))
    if params.temperature > 0:
        parts += [
            llama_cpp.llama_sampler_init_top_k(params.top_k),
            llama_cpp.llama_sampler_init_top_p(params.top_p, 1),
            llama_cpp.llama_sampler_init_min_p(params.min_p, 1),
            llama_cpp.llama_sampler_init_temp(params.temperature),
        ]
    if not parts:
        return None
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    for part in parts:
        llama_cpp.llama_sampler_chain_add(chain, part)
    return chain

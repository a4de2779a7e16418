"""Sampler chains of llama.cpp, applied to our own view of the logits."""

from __future__ import annotations

import ctypes
import math
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

    def selected(self) -> int:
        """The token that the chain selected. Raises CoreError when none is possible."""
        return self._token(self._array.selected)

    def best(self) -> int:
        """The most likely token, the first of equals. Raises CoreError when none is possible."""
        return self._token(int(self._data["logit"].argmax()))

    def _token(self, index: int) -> int:
        token, logit, _ = self._data[index].item() if index >= 0 else (-1, math.nan, 0.0)
        if not math.isfinite(logit):
            raise CoreError("no token is possible here")
        return int(token)

    def first_allowed(self) -> bool:
        """Whether the first candidate is still possible."""
        return math.isfinite(float(self._data["logit"][0]))


class LlamaSampler:
    """One generation's sampler: an optional grammar, then penalties, top_k, top_p, min_p, temperature and dice.

    A grammar is asked about the chosen token alone; only when it says no are all tokens put to it (for a vocabulary
    of 49k that is 5 to 50 ms, the single question some microseconds).
    """

    def __init__(self, chain: Any, grammar: Any, candidates: Candidates) -> None:
        self._chain = chain  # None: the most likely token, found without C
        self._grammar = grammar
        self._candidates = candidates

    @classmethod
    def create(cls, vocab: Any, candidates: Candidates, params: SamplingParams, grammar: str | None) -> Self:
        """Raises BadRequest when the grammar does not compile."""
        compiled = None
        if grammar is not None:
            compiled = llama_cpp.llama_sampler_init_grammar(vocab, grammar.encode(), b"root")
            if not compiled:
                raise BadRequest("the grammar does not compile")
        return cls(_chain(vocab, params), compiled, candidates)

    def sample(self, row: Logits) -> int:
        token = self._choose(row, constrained=False)
        if self._grammar is not None:
            self._candidates.fill_one(token)
            self._candidates.apply(self._grammar)
            if not self._candidates.first_allowed():
                token = self._choose(row, constrained=True)
            llama_cpp.llama_sampler_accept(self._grammar, token)
        if self._chain is not None:
            llama_cpp.llama_sampler_accept(self._chain, token)
        return token

    def _choose(self, row: Logits, *, constrained: bool) -> int:
        if self._chain is None and not constrained:
            token = int(row.argmax())  # the first of equals, as llama.cpp's greedy sampler has it
            if not math.isfinite(float(row[token])):
                raise CoreError("the logits are not numbers")
            return token
        self._candidates.fill(row)
        if constrained:
            self._candidates.apply(self._grammar)
        if self._chain is None:
            return self._candidates.best()
        self._candidates.apply(self._chain)
        return self._candidates.selected()

    def clone(self) -> Self:
        copies = [llama_cpp.llama_sampler_clone(part) if part else None for part in (self._chain, self._grammar)]
        return type(self)(copies[0], copies[1], self._candidates)

    def close(self) -> None:
        for part in (self._chain, self._grammar):
            if part:
                llama_cpp.llama_sampler_free(part)
        self._chain = self._grammar = None


def _chain(vocab: Any, params: SamplingParams) -> Any:
    """The C chain for `params`; None for plain greedy."""
    penalties = params.repeat_penalty != 1.0
    greedy = params.temperature <= 0
    if greedy and not penalties:
        return None
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    parts = []
    if penalties:
        n_vocab = llama_cpp.llama_vocab_n_tokens(vocab)
        parts.append(llama_cpp.llama_sampler_init_penalties(n_vocab, PENALTY_WINDOW, params.repeat_penalty, 0.0, 0.0))
    if greedy:
        parts.append(llama_cpp.llama_sampler_init_greedy())
    else:
        parts += [
            llama_cpp.llama_sampler_init_top_k(params.top_k),
            llama_cpp.llama_sampler_init_top_p(params.top_p, 1),
            llama_cpp.llama_sampler_init_min_p(params.min_p, 1),
            llama_cpp.llama_sampler_init_temp(params.temperature),
            llama_cpp.llama_sampler_init_dist(params.seed & 0xFFFFFFFF),
        ]
    for part in parts:
        llama_cpp.llama_sampler_chain_add(chain, part)
    return chain

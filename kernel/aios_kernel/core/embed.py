"""Vectors of texts: a second llama context, with embeddings on, beside the one that generates."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, Self

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from aios_kernel.core import CoreError
from aios_kernel.core.llama import collect_errors, file_hash, last_error
from aios_kernel.errors import ModelBroken

Vector = NDArray[np.float32]

# Of one call, which nobody can interrupt: 2 s with the embedded model on one core. What is pooled must fit in one call.
PIECE_TOKENS: Final = 256


class LlamaEmbedder:
    """One model that turns pieces of text into vectors. One thread at a time.

    A piece is a call of its own, and flash attention is off: a vector depends neither on what else is asked nor on the
    number of threads.
    """

    def __init__(self, model: Any, path: Path) -> None:
        self._model = model
        self._vocab = llama_cpp.llama_model_get_vocab(model)
        self._context: Any = None
        self._open_context(llama_cpp.LLAMA_POOLING_TYPE_UNSPECIFIED)  # as the model says,
        pooling = llama_cpp.llama_pooling_type(self._context)
        if pooling == llama_cpp.LLAMA_POOLING_TYPE_NONE:  # and those that generate say nothing
            self._open_context(llama_cpp.LLAMA_POOLING_TYPE_MEAN)
        elif pooling == llama_cpp.LLAMA_POOLING_TYPE_RANK:
            raise CoreError("it ranks texts, and gives no vectors")
        self._memory = llama_cpp.llama_get_memory(self._context)  # none in models that only encode
        self.dims: int = llama_cpp.llama_model_n_embd_out(model)
        self.model_hash = file_hash(path)
        self.num_tokens = min(PIECE_TOKENS, llama_cpp.llama_model_n_ctx_train(model))

    @classmethod
    def load(cls, path: Path, gpu_layers: int) -> Self:
        """Load a GGUF file. Its pages are shared with the engine's, where that has the same one.

        Raises: ModelBroken with one line: what llama.cpp said last.
        """
        collect_errors()
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        model = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
        if not model:
            raise ModelBroken(f"{path.name} cannot be loaded: {last_error()}", path=str(path))
        try:
            return cls(model, path)
        except CoreError as error:
            llama_cpp.llama_model_free(model)
            raise ModelBroken(f"{path.name} makes no vectors: {error}", path=str(path)) from error

    def _open_context(self, pooling: int) -> None:
        if self._context:
            llama_cpp.llama_free(self._context)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = PIECE_TOKENS
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.embeddings = True
        params.pooling_type = pooling
        params.no_perf = True
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise CoreError(f"no context: {last_error()}")

    def pieces(self, text: str, most: int) -> list[list[int]]:
        """The text's tokens in pieces of `num_tokens`, at most the first `most`; at least one piece of one token."""
        data = text.encode()
        room = len(data) + 8
        buffer = np.empty(room, dtype=np.int32)
        pointer = buffer.ctypes.data_as(llama_cpp.llama_token_p)
        count = llama_cpp.llama_tokenize(self._vocab, data, len(data), pointer, room, True, False)
        if count < 0:
            raise CoreError(f"{len(data)} bytes of text make {-count} tokens")
        tokens: list[int] = buffer[:count].tolist() or [max(0, llama_cpp.llama_vocab_eos(self._vocab))]
        size = self.num_tokens
        return [tokens[start : start + size] for start in range(0, len(tokens), size)][:most]

    def embed(self, tokens: list[int], num_threads: int) -> Vector:
        """The vector of one piece, float32 (dims,), not normalised. Raises CoreError."""
        llama_cpp.llama_set_n_threads(self._context, num_threads, num_threads)
        if self._memory:
            llama_cpp.llama_memory_clear(self._memory, True)
        ids = (llama_cpp.llama_token * len(tokens))(*tokens)
        code = llama_cpp.llama_decode(self._context, llama_cpp.llama_batch_get_one(ids, len(tokens)))
        pooled = llama_cpp.llama_get_embeddings_seq(self._context, 0) if code == 0 else None
        if not pooled:
            raise CoreError(f"no vector: llama_decode returned {code}: {last_error()}")
        vector: Vector = np.ctypeslib.as_array(pooled, shape=(self.dims,)).copy()
        if not np.isfinite(vector).all():
            raise CoreError("the vector is not made of numbers")
        return vector

    def close(self) -> None:
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

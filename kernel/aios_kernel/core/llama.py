"""llama.cpp in this process, through the low-level C API of llama-cpp-python."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Condition
from typing import Any, Final, Self

import llama_cpp
import numpy as np

from aios_kernel.core import (
    CoreError,
    CoreLost,
    DecodeAborted,
    DecodeFailed,
    EngineConfig,
    KvBytes,
    Logits,
    ModelSpec,
    NoKvSlot,
    RestoreFailed,
    SamplingParams,
    available_cores,
)
from aios_kernel.core.sampler import Candidates, LlamaSampler
from aios_kernel.core.selftest import Verdict, check_exactness
from aios_kernel.errors import ModelBroken

_LOG_LEVEL_ERROR: Final = 4  # ggml.h GGML_LOG_LEVEL_ERROR
_errors: Final[deque[str]] = deque(maxlen=8)  # llama.cpp's logger is one per process, so its tail is too


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator, unused-ignore]
def _collect(level: int, text: bytes, _data: object) -> None:
    if level == _LOG_LEVEL_ERROR:
        _errors.append(text.decode(errors="replace").strip())


class LlamaCore:
    """One model with one context of `num_slots` sequences, each in its own KV stream.

    Streams (kv_unified false) and, in exact mode, no flash attention: a sequence's numbers then do not depend on its
    neighbours, nor on the number of threads.
    """

    def __init__(self, model: Any, path: Path, config: EngineConfig) -> None:
        self._model = model
        self._vocab = llama_cpp.llama_model_get_vocab(model)
        self._config = config
        self._rows = max(config.chunk, config.slots)
        self._n_vocab: int = llama_cpp.llama_vocab_n_tokens(self._vocab)
        self._threads = 1  # until it is loaded: several wait for each other while others start
        self._batch = _Batch(self._rows)
        self._vocab_gate = Condition()  # other threads tokenize: not while the model is freed
        self._tokenizing = 0  # of them now; the gate is not held meanwhile, as a long text takes seconds
        self._abort = ctypes.create_string_buffer(2)
        self._abort_callback = _abort_callback()
        self._candidates = Candidates(self._n_vocab)
        self._pieces: dict[int, bytes] = {}
        self._eog: dict[int, bool] = {}
        self._context: Any = None
        self._open_context()
        self.spec = self._describe(path)

    @classmethod
    def load(cls, path: Path | str, config: EngineConfig) -> Self:
        """Load a GGUF file and prove what holds for it with these settings (about 0.5 s for 135M parameters).

        Raises: ModelBroken with one line: what llama.cpp said last.
        """
        path = Path(path)
        collect_errors()
        if not path.is_file():
            raise ModelBroken(f"{path}: no such model file", path=str(path))
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = config.gpu_layers
        model = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
        if not model:
            raise ModelBroken(f"{path.name} cannot be loaded: {last_error()}", path=str(path))
        try:
            core = cls(model, path, config)
            core.spec = core._judged(config.threads or available_cores())
        except CoreError as error:
            raise ModelBroken(f"{path.name} loads, but does not run: {error}", path=str(path)) from error
        core.set_threads(config.threads or available_cores())
        return core

    def _judged(self, threads: int) -> ModelSpec:
        """The spec with what the self-test finds, where exactness is wanted. Raises CoreError."""
        if self._config.exact:
            verdict = check_exactness(self, threads)
        else:
            verdict = Verdict(False, "exact = false in config.toml", self._config.slots, False)
        return replace(
            self.spec,
            exact=verdict.exact,
            exact_reason=verdict.reason,
            max_batch=verdict.max_batch,
            fixed_threads=verdict.fixed_threads,
        )

    def _open_context(self) -> None:
        config, params = self._config, llama_cpp.llama_context_default_params()
        params.n_ctx = config.window * config.slots
        params.n_batch = params.n_ubatch = self._rows
        params.n_seq_max = config.slots
        params.n_threads = params.n_threads_batch = self._threads
        kind = "DISABLED" if config.exact else "AUTO"
        params.flash_attn_type = getattr(llama_cpp, f"LLAMA_FLASH_ATTN_TYPE_{kind}")
        params.kv_unified = False
        params.no_perf = True
        params.abort_callback = self._abort_callback
        params.abort_callback_data = ctypes.cast(self._abort, ctypes.c_void_p)
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise CoreError(f"no context: {last_error()}")
        self._memory = llama_cpp.llama_get_memory(self._context)

    def _describe(self, path: Path) -> ModelSpec:
        model, vocab = self._model, self._vocab
        template = llama_cpp.llama_model_chat_template(model, None)
        window = llama_cpp.llama_n_ctx_seq(self._context)
        # llama.cpp writes the number of streams into every state, and takes none with another
        attention = "no" if self._config.exact else "perhaps"  # its states are laid out otherwise
        settings = (
            f"{self._config.slots} streams, {attention} flash attention, kv f16, gpu_layers={self._config.gpu_layers}"
        )
        return ModelSpec(
            name=path.stem,
            path=str(path),
            n_vocab=self._n_vocab,
            n_ctx_train=llama_cpp.llama_model_n_ctx_train(model),
            window=min(window, self._config.window),
            num_slots=self._config.slots,
            exact=False,
            exact_reason="not checked",
            max_batch=self._config.slots,
            fixed_threads=False,
            model_hash=file_hash(path),
            build_key=f"llama-cpp-python {llama_cpp.__version__}; {_system_info()}; {settings}",
            kv_bytes_per_token=self._kv_bytes_per_token(),
            chat_template=template.decode() if template else None,
            bos=self._text_of(llama_cpp.llama_vocab_bos(vocab)),
            eos=self._text_of(llama_cpp.llama_vocab_eos(vocab)),
            add_bos=bool(llama_cpp.llama_vocab_get_add_bos(vocab)),
        )

    def _kv_bytes_per_token(self) -> int:
        sizes = []
        for start in (0, 8):  # an empty state lacks the heads of its layers
            self.prefill(0, [0] * 8, start)
            sizes.append(int(llama_cpp.llama_state_seq_get_size(self._context, 0)))
        self.trim(0, 0)
        return (sizes[1] - sizes[0]) // 8

    def _text_of(self, token: int) -> str:
        return llama_cpp.llama_vocab_get_text(self._vocab, token).decode() if token >= 0 else ""

    # --- vocabulary: immutable, so any thread may ask -------------------------------------------------

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        data = text.encode()
        room = len(data) + 8
        with self._using_vocab():
            while True:
                buffer = np.empty(room, dtype=np.int32)
                pointer = buffer.ctypes.data_as(llama_cpp.llama_token_p)
                count = llama_cpp.llama_tokenize(self._vocab, data, len(data), pointer, room, False, special)
                if count >= 0:
                    ids: list[int] = buffer[:count].tolist()
                    return ids
                room = -count

    @contextlib.contextmanager
    def _using_vocab(self) -> Iterator[None]:
        """The model is not freed within the block. Raises CoreError when it has been."""
        with self._vocab_gate:
            if self._model is None:
                raise CoreError("the model is unloaded")
            self._tokenizing += 1
        try:
            yield
        finally:
            with self._vocab_gate:
                self._tokenizing -= 1
                self._vocab_gate.notify_all()

    def piece(self, token: int) -> bytes:
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._to_piece(token, special=False)
        return piece

    def written(self, token: int) -> bytes:
        return self._to_piece(token, special=True)

    def _to_piece(self, token: int, *, special: bool) -> bytes:
        buffer = ctypes.create_string_buffer(256)
        length = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, special)
        return buffer.raw[: max(0, length)]

    def is_eog(self, token: int) -> bool:
        eog = self._eog.get(token)
        if eog is None:
            eog = self._eog[token] = bool(llama_cpp.llama_vocab_is_eog(self._vocab, token))
        return eog

    def sampler(self, params: SamplingParams, grammar: str | None) -> LlamaSampler:
        return LlamaSampler.create(self._vocab, self._candidates, params, grammar)

    # --- feeding ------------------------------------------------------------------------------------------

    def prefill(self, seq: int, tokens: Sequence[int], start: int) -> Logits:
        count = len(tokens)
        batch = self._batch
        batch.tokens[:count] = tokens
        batch.positions[:count] = np.arange(start, start + count)
        batch.seqs[:count] = seq
        batch.outputs[:count] = 0
        batch.outputs[count - 1] = 1
        row: Logits = self._run(count, 1)[0]
        return row

    def decode(self, seqs: Sequence[int], tokens: Sequence[int], positions: Sequence[int]) -> Logits:
        count = len(seqs)
        batch = self._batch
        batch.tokens[:count] = tokens
        batch.positions[:count] = positions
        batch.seqs[:count] = seqs
        batch.outputs[:count] = 1
        return self._run(count, count)

    def _run(self, count: int, outputs: int) -> Logits:
        self._batch.struct.n_tokens = count
        self._abort[0] = b"\0"
        code = llama_cpp.llama_decode(self._context, self._batch.struct)
        if code == 0:
            rows = llama_cpp.llama_get_logits(self._context)
            logits: Logits = np.ctypeslib.as_array(rows, shape=(outputs, self._n_vocab))
            return logits
        if code == 1:
            raise NoKvSlot(f"no room in the KV cache for {count} tokens")
        if code == 2:
            raise DecodeAborted("aborted")
        raise DecodeFailed(f"llama_decode returned {code}: {last_error()}")

    def abort(self) -> None:
        self._abort[0] = b"\1"

    def set_threads(self, num_threads: int) -> None:
        self._threads = num_threads
        llama_cpp.llama_set_n_threads(self._context, num_threads, num_threads)

    # --- KV state -----------------------------------------------------------------------------------------

    def save(self, seq: int) -> KvBytes:
        size = llama_cpp.llama_state_seq_get_size(self._context, seq)
        data = np.empty(size, dtype=np.uint8)
        written = llama_cpp.llama_state_seq_get_data(self._context, _bytes_of(data), size, seq)
        if written != size:
            raise CoreError(f"llama_state_seq_get_data wrote {written} of {size} bytes")
        return data

    def restore(self, seq: int, data: KvBytes) -> None:
        self.trim(seq, 0)
        if llama_cpp.llama_state_seq_set_data(self._context, _bytes_of(data), data.size, seq) == 0:
            raise RestoreFailed(f"llama_state_seq_set_data refused {data.size} bytes: {last_error()}")

    def trim(self, seq: int, length: int) -> None:
        if not llama_cpp.llama_memory_seq_rm(self._memory, seq, length, -1):
            raise RestoreFailed(f"this model's memory cannot be cut at {length}")  # recurrent models

    def rebuild(self) -> None:
        llama_cpp.llama_free(self._context)
        self._context = None
        try:
            self._open_context()
        except CoreError as error:
            raise CoreLost(str(error)) from error

    def close(self) -> None:
        with self._vocab_gate:
            model, self._model = self._model, None
            self._vocab_gate.wait_for(lambda: not self._tokenizing)
        if self._context:
            llama_cpp.llama_free(self._context)
            self._context = None
        if model:
            llama_cpp.llama_model_free(model)


class _Batch:
    """A llama_batch over numpy arrays, so that filling it costs a few slice assignments."""

    def __init__(self, rows: int) -> None:
        self.tokens = np.zeros(rows, dtype=np.int32)
        self.positions = np.zeros(rows, dtype=np.int32)
        self.seqs = np.zeros(rows, dtype=np.int32)
        self.outputs = np.zeros(rows, dtype=np.int8)
        self._counts = np.ones(rows, dtype=np.int32)
        # llama_batch.seq_id is an array of pointers, here each to one element of `seqs`
        self._pointers = self.seqs.ctypes.data + np.arange(rows, dtype=np.uintp) * self.seqs.itemsize

        def pointer(array: Any, field: str) -> Any:
            return array.ctypes.data_as(dict(llama_cpp.llama_batch._fields_)[field])

        self.struct = llama_cpp.llama_batch(
            n_tokens=0,
            token=pointer(self.tokens, "token"),
            pos=pointer(self.positions, "pos"),
            n_seq_id=pointer(self._counts, "n_seq_id"),
            seq_id=pointer(self._pointers, "seq_id"),
            logits=pointer(self.outputs, "logits"),
        )


def _abort_callback() -> Any:
    """A C function that says whether the string at its argument is not empty: libc's strlen.

    llama.cpp calls it before each of some thousand graph nodes of a step; a Python callback would take the GIL
    each time and wait there for whoever holds it.
    """
    strlen = ctypes.CDLL(None).strlen
    return ctypes.cast(strlen, llama_cpp.ggml_abort_callback)


def _bytes_of(data: KvBytes) -> Any:
    return data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))


def collect_errors() -> None:
    """Have llama.cpp tell its errors to `last_error`, from now on."""
    llama_cpp.llama_log_set(_collect, None)
    _errors.clear()


def last_error() -> str:
    """What llama.cpp complained of last."""
    return _errors[-1] if _errors else "llama.cpp gave no reason"


def _system_info() -> str:
    text = llama_cpp.llama_print_system_info()
    return text.decode().strip() if text else ""


def file_hash(path: Path, sample: int = 1 << 20) -> str:
    """Of a model: size, first and last MiB, enough to tell models apart without reading gigabytes at each start."""
    digest = hashlib.blake2b(digest_size=16)
    size = path.stat().st_size
    digest.update(size.to_bytes(8, "little"))
    with path.open("rb") as file:
        digest.update(file.read(sample))
        file.seek(max(0, size - sample))
        digest.update(file.read(sample))
    return digest.hexdigest()

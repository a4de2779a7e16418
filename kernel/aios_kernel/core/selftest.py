"""Which settings give a model's sequences the same bits, whoever else runs? Found out at load, never assumed.

The kernel feeds a lost context again call by call, in the shapes it was fed with, so that only these have to hold:
a restored state goes on as the original would have; a sequence gets in a batch what it gets alone; and the number of
threads changes nothing. Where a larger batch or another number of threads changes bits, exact mode does without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aios_kernel.core import Core, CoreError

_PROMPT_TOKENS: Final = 16
_SMALL: Final = 8  # every size up to this is tried: CPU kernels switch at 2, 4 and 8 rows; then each double


@dataclass(frozen=True, slots=True)
class Verdict:
    """What holds for a model with these settings."""

    exact: bool
    reason: str  # what proved it, or which check failed
    max_batch: int  # sequences that may share a decode call
    fixed_threads: bool  # the number of threads must not change


def check_exactness(core: Core, threads: int) -> Verdict:
    """Leaves every sequence empty. Raises CoreError when the model does not run at all.

    threads: what it would run with. All but the last check uses one: several wait for each other where other programs
    keep the cores busy, and the kernel's start with them.
    """
    spec = core.spec
    core.set_threads(1)
    prompt = [(7919 * i) % spec.n_vocab for i in range(1, _PROMPT_TOKENS + 1)]
    core.prefill(0, prompt, 0)
    state = core.save(0)
    alone = _next(core, [0])[0]

    def same(size: int) -> bool:
        seqs = list(range(spec.num_slots - size, spec.num_slots))
        for seq in seqs:
            core.restore(seq, state)
        return all(row == alone for row in _next(core, seqs))

    try:
        if not same(1):
            return Verdict(False, "a restored state gives other logits", spec.num_slots, False)
        max_batch = 1
        for size in _sizes(spec.num_slots):
            if not same(size):
                break
            max_batch = size
        core.set_threads(threads)
        fixed_threads = not same(1)
    except CoreError as error:
        return Verdict(False, str(error), spec.num_slots, False)
    finally:
        for seq in range(spec.num_slots):
            core.trim(seq, 0)
    return Verdict(True, _reason(spec.num_slots, max_batch, fixed_threads), max_batch, fixed_threads)


def _next(core: Core, seqs: list[int]) -> list[bytes]:
    """Logits of one more token, the same for each of `seqs`."""
    rows = core.decode(seqs, [11] * len(seqs), [_PROMPT_TOKENS] * len(seqs))
    return [row.tobytes() for row in rows]


def _sizes(num_slots: int) -> list[int]:
    """Batch sizes worth a try, from 2 on; the largest is what the slots allow."""
    doubles = [_SMALL << i for i in range(1, num_slots.bit_length()) if _SMALL << i < num_slots]
    return sorted({*range(2, min(_SMALL, num_slots) + 1), *doubles, *([num_slots] if num_slots > 1 else [])})


def _reason(num_slots: int, max_batch: int, fixed_threads: bool) -> str:
    held = f"batches of 1 to {max_batch}" if max_batch > 1 else "one sequence a call"
    limits = []
    if max_batch < num_slots:
        limits.append("larger batches give others and are not used")
    if fixed_threads:
        limits.append("so do other numbers of threads: theirs is fixed")
    if not fixed_threads:
        held += ", any number of threads"
    return "; ".join([f"self-test at load: same logits for {held} and restored states", *limits])

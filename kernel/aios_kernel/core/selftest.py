"""Does this model, with these settings, give the same bits alone, in a batch, with fewer threads and after a restore?

The kernel replays a lost context call by call in the shapes it was fed with, so that only these four have to hold.
"""

from __future__ import annotations

from aios_kernel.core import Core, CoreError

_PROMPT_TOKENS = 24
_STEPS = 2


def check_exactness(core: Core) -> tuple[bool, str]:
    """(exact, reason). Leaves every sequence empty. Raises CoreError when the model does not run at all."""
    spec = core.spec
    prompt = [(7919 * i) % spec.n_vocab for i in range(1, _PROMPT_TOKENS + 1)]
    follow = [(104729 * i) % spec.n_vocab for i in range(1, _STEPS + 1)]
    first = core.prefill(0, prompt, 0).tobytes()
    state = core.save(0)
    alone = [_step(core, [0], token, i)[0] for i, token in enumerate(follow)]
    try:
        for size in sorted({1, min(2, spec.num_slots), min(4, spec.num_slots), spec.num_slots}):
            seqs = list(range(spec.num_slots - size, spec.num_slots))
            for seq in seqs:
                core.restore(seq, state)
            for i, token in enumerate(follow):
                if any(row != alone[i] for row in _step(core, seqs, token, i)):
                    return False, f"logits differ between a batch of 1 and a restored batch of {size}"
        core.trim(0, 0)
        core.set_threads(1)
        if core.prefill(0, prompt, 0).tobytes() != first:
            return False, "logits differ between thread counts"
    except CoreError as error:
        return False, str(error)
    finally:
        for seq in range(spec.num_slots):
            core.trim(seq, 0)
    sizes = f"batches of 1 to {spec.num_slots}" if spec.num_slots > 1 else "one sequence"
    return True, f"self-test at load: same logits for {sizes}, restored states and thread counts"


def _step(core: Core, seqs: list[int], token: int, i: int) -> list[bytes]:
    rows = core.decode(seqs, [token] * len(seqs), [_PROMPT_TOKENS + i] * len(seqs))
    return [row.tobytes() for row in rows]

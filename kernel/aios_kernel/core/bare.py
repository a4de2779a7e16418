"""The peer of the benchmarks: the same core in a plain loop, with no scheduler, kernel, journal or socket around it.

    python -m aios_kernel.core.bare MODEL --sequences 8 --tokens 128 --threads 2

Prints one JSON object: tokens, wall_s (prefill and decode, load excluded), tok_per_s.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from aios_kernel.clock import SystemClock
from aios_kernel.context.log import cut
from aios_kernel.core import EngineConfig, available_cores
from aios_kernel.core.llama import LlamaCore


def generate(core: LlamaCore, prompts: list[list[int]], num_tokens: int, chunk: int) -> float:
    """Feed every prompt, then decode `num_tokens` of each together, greedily. Returns: seconds."""
    clock = SystemClock()
    started = clock.monotonic()
    last = [_prefill(core, seq, prompt, chunk) for seq, prompt in enumerate(prompts)]
    seqs = list(range(len(prompts)))
    for i in range(num_tokens - 1):
        rows = core.decode(seqs, last, [len(prompt) + i for prompt in prompts])
        last = [int(row.argmax()) for row in rows]
    return clock.monotonic() - started


def _prefill(core: LlamaCore, seq: int, prompt: list[int], chunk: int) -> int:
    """Feed one prompt in the engine's own pieces. Returns: the most likely next token."""
    start = 0
    for size in cut(len(prompt), chunk):
        row = core.prefill(seq, prompt[start : start + size], start)
        start += size
    return int(row.argmax())


def main() -> None:
    parser = argparse.ArgumentParser(description="A bare batch loop over the core.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--sequences", type=int, default=1)
    parser.add_argument("--prompt-tokens", type=int, default=32, help="per sequence")
    parser.add_argument("--tokens", type=int, default=128, help="per sequence")
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--repeat", type=int, default=1, help="the fastest counts; the first one warms up")
    options = parser.parse_args()
    config = EngineConfig(slots=max(options.sequences, 1), window=2048, threads=options.threads)
    core = LlamaCore.load(options.model, config)
    # Which tokens does not matter to the time, only how many.
    length, vocabulary = options.prompt_tokens, core.spec.n_vocab
    prompts = [[(7919 * (i + seq)) % vocabulary for i in range(1, length + 1)] for seq in range(options.sequences)]
    walls = []
    for _ in range(options.repeat):
        for seq in range(options.sequences):
            core.trim(seq, 0)
        walls.append(generate(core, prompts, options.tokens, config.chunk))
    core.close()
    tokens = options.sequences * options.tokens
    json.dump({"tokens": tokens, "wall_s": min(walls), "tok_per_s": tokens / min(walls)}, sys.stdout)


if __name__ == "__main__":
    main()

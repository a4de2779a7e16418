"""The peer of the benchmarks: the same core in a plain loop, with no scheduler, kernel, journal or socket around it.

    python -m aios_kernel.core.bare MODEL --sequences 8 --tokens 128 --threads 2
    python -m aios_kernel.core.bare MODEL --switch 256 2000
    python -m aios_kernel.core.bare MODEL --forever

The first decodes and prints one JSON object: tokens, wall_s (prefill and decode, load excluded), tok_per_s.
The second moves contexts of so many tokens off their slot and back: a list of {tokens, kv_bytes, recompute_ms,
ram_ms, disk_ms}, the last two lists. The third says with a line that the model is loaded, and decodes
until its standard input ends: a noisy neighbour.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, Final

from aios_kernel.clock import SystemClock
from aios_kernel.context.log import cut
from aios_kernel.context.manager import Context, ContextManager
from aios_kernel.core import Core, EngineConfig, available_cores
from aios_kernel.core.llama import LlamaCore
from aios_kernel.protocol import Pid

NUM_SWITCHES: Final = 5  # of each context, each way
PROCESS: Final = Pid(1)


def generate(core: Core, prompts: list[list[int]], num_tokens: int, chunk: int) -> float:
    """Feed every prompt, then decode `num_tokens` of each together, greedily. Returns: seconds."""
    clock = SystemClock()
    started = clock.monotonic()
    last = [_prefill(core, seq, prompt, chunk) for seq, prompt in enumerate(prompts)]
    seqs = list(range(len(prompts)))
    for i in range(num_tokens - 1):
        rows = core.decode(seqs, last, [len(prompt) + i for prompt in prompts])
        last = [int(row.argmax()) for row in rows]
    return clock.monotonic() - started


def _prefill(core: Core, seq: int, prompt: list[int], chunk: int) -> int:
    """Feed one prompt in the engine's own pieces. Returns: the most likely next token."""
    start = 0
    for size in cut(len(prompt), chunk):
        row = core.prefill(seq, prompt[start : start + size], start)
        start += size
    return int(row.argmax())


def switch(core: Core, config: EngineConfig, prompt: tuple[int, ...], folder: Path) -> dict[str, Any]:
    """What moving a context of this prompt off its slot and back takes, with memory or disk between, and what
    computing it again would. The context manager does it, checksums included. Times in ms."""
    clock = SystemClock()
    memory = ContextManager(core, replace(config, prefix_bytes=0), clock)
    context = memory.get(PROCESS)
    memory.begin(context, prompt)
    memory.enter(context, keep=())
    started = clock.monotonic()
    _feed(core, memory, context)
    recompute_s = clock.monotonic() - started
    ram_s = [_there_and_back(memory, context, clock) for _ in range(NUM_SWITCHES)]
    memory.leave(context)
    kv_bytes = memory.kv_bytes(context)
    disk = ContextManager(core, replace(config, ram_bytes=0, swap=folder), clock)
    disk.plant(PROCESS, memory.capture(PROCESS))
    memory.close()
    context = disk.get(PROCESS)
    disk.enter(context, keep=())
    disk_s = [_there_and_back(disk, context, clock) for _ in range(NUM_SWITCHES)]
    disk.drop(PROCESS)
    disk.close()
    return {
        "tokens": len(prompt),
        "kv_bytes": kv_bytes,
        "recompute_ms": recompute_s * 1e3,
        "ram_ms": [seconds * 1e3 for seconds in ram_s],
        "disk_ms": [seconds * 1e3 for seconds in disk_s],
    }


def _feed(core: Core, manager: ContextManager, context: Context) -> None:
    """Feed what is pending of a context, piece by piece as the engine does."""
    slot = context.slot
    assert slot is not None
    while context.log.pending:
        start, tokens = context.log.next_piece()
        core.prefill(slot, tokens, start)
        manager.fed(context)


def _there_and_back(manager: ContextManager, context: Context, clock: SystemClock) -> float:
    fed = context.log.fed
    started = clock.monotonic()
    manager.leave(context)
    manager.tiers.flush()  # where there is a disk it is there, not on its way
    manager.enter(context, keep=())
    took = clock.monotonic() - started
    assert fed == context.log.fed, "a context was lost on the way"
    return took


def _prompts(core: Core, num: int, length: int) -> list[list[int]]:
    """Which tokens does not matter to the time, only how many."""
    vocabulary = core.spec.n_vocab
    return [[(7919 * (i + seq)) % vocabulary for i in range(1, length + 1)] for seq in range(num)]


def _decode_once(core: Core, config: EngineConfig, options: argparse.Namespace) -> None:
    prompts = _prompts(core, options.sequences, options.prompt_tokens)
    wall_s = generate(core, prompts, options.tokens, config.chunk)
    tokens = options.sequences * options.tokens
    json.dump({"tokens": tokens, "wall_s": wall_s, "tok_per_s": tokens / wall_s}, sys.stdout)


def _decode_forever(core: Core, config: EngineConfig, options: argparse.Namespace) -> None:
    Thread(target=_end_with_input, daemon=True).start()
    print(flush=True)
    while True:
        generate(core, _prompts(core, options.sequences, options.prompt_tokens), options.tokens, config.chunk)
        for seq in range(options.sequences):
            core.trim(seq, 0)


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


def _switch_each(core: Core, config: EngineConfig, options: argparse.Namespace) -> None:
    with TemporaryDirectory(prefix="aios-switch-") as folder:
        prompts = [tuple(_prompts(core, 1, size)[0]) for size in options.switch]
        json.dump([switch(core, config, prompt, Path(folder)) for prompt in prompts], sys.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description="The core in a plain loop.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--sequences", type=int, default=1)
    parser.add_argument("--prompt-tokens", type=int, default=32, help="per sequence")
    parser.add_argument("--tokens", type=int, default=128, help="per sequence")
    parser.add_argument("--threads", type=int, default=available_cores())
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--switch", type=int, nargs="+", metavar="TOKENS", help="move contexts of these sizes")
    modes.add_argument("--forever", action="store_true", help="decode until standard input ends")
    options = parser.parse_args()
    longest = max(options.switch or [options.prompt_tokens + options.tokens])
    config = EngineConfig(slots=options.sequences, window=longest + 1, threads=options.threads)
    core = LlamaCore.load(options.model, config)
    run = _switch_each if options.switch else _decode_forever if options.forever else _decode_once
    run(core, config, options)


if __name__ == "__main__":
    main()

"""Memory above the model of LoRA on a label's words under large vocabularies: ours, Trainer's, TRL's.

In: real texts' lengths, decoders of random weights. Out: a table of MiB.
Knows nothing of: tasks, recipes, time.

    python -m benchmarks words-memory [--texts FILE.parquet --column text]

TRL as shipped recomputes activations; ours does where it is asked to.

Each side takes its steps in a process of its own. Above the model: the highest resident memory while it
trains over what the process held when the model and its adapter were there.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import lora_words
from benchmarks.stand_ins import read_texts, texts_as_ids
from benchmarks.training import Items

VOCABULARIES = (128_256, 256_000)
SIDES = ("ours", "ours, recomputing", "Trainer", "TRL")
PAIRS = (("ours", "Trainer"), ("ours", "TRL"), ("ours, recomputing", "TRL"))
BAR = 0.1
STEPS = 2


def _data(options: argparse.Namespace, vocabulary: int, steps: int) -> Items:
    ids = texts_as_ids(read_texts(options.texts, options.column), options.batch * steps, vocabulary)
    return Items(ids, [5 + len(item_ids) % 2 for item_ids in ids], options.batch)


def _measure_side(options: argparse.Namespace) -> int:
    """Print what one side takes above the model; a small epoch before it pays for what stays."""
    import torch

    from tuneproof.memory.usage import peak_bytes, reset_peak, resident_bytes, return_freed_blocks
    from tuneproof.models.oom import recompute_activations

    torch.set_num_threads(1)
    return_freed_blocks()
    lora_words.SHAPES["asked"] = {
        "vocab_size": options.vocabulary,
        "hidden_size": 256,
        "num_hidden_layers": 4,
        "intermediate_size": 1024,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
    }
    works: dict[str, Callable[[Items, Any], Any]] = {
        "ours": lambda items, model: lora_words.ours("asked", items, model),
        "ours, recomputing": lambda items, model: lora_words.ours("asked", items, model),
        "Trainer": lambda items, model: lora_words.by_the_trainer("asked", items, True, model),
        "TRL": lambda items, model: lora_words.by_sft("asked", items, model),
    }
    work = works[options.side]
    first = _data(options, options.vocabulary, 1)
    work(Items([ids[:8] for ids in first.ids], first.labels, first.batch), None)
    model, items = lora_words.adapted("asked"), _data(options, options.vocabulary, STEPS)
    if options.side == "ours, recomputing":
        recompute_activations(model)
    reset_peak()
    before = resident_bytes()
    work(items, model)
    print(json.dumps({"above": peak_bytes()["process"] - before}))
    return 0


def _apart(options: argparse.Namespace, side: str, vocabulary: int) -> int:
    """Bytes above the model, found in a process of its own.

    Raises: SystemExit where it fails.
    """
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "benchmarks",
        "words-memory",
        "--side",
        side,
        "--vocabulary",
        str(vocabulary),
        "--batch",
        str(options.batch),
        "--column",
        options.column,
        *(["--texts", options.texts] if options.texts else []),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-2000:]}")
    return int(json.loads(done.stdout.splitlines()[-1])["above"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where ours is above the bar."""
    parser = argparse.ArgumentParser(prog="benchmarks words-memory")
    parser.add_argument("--texts", help="a Parquet file of real texts (default: the demo's)")
    parser.add_argument("--column", default="text")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", choices=SIDES, help="this side alone, in this process")
    parser.add_argument("--vocabulary", type=int, default=VOCABULARIES[0])
    options = parser.parse_args(arguments)
    if options.side:
        return _measure_side(options)
    print(f"MiB above the model, 256 x 4, batch {options.batch}; share of theirs to reach: {BAR:g}")
    missed = False
    for vocabulary in VOCABULARIES:
        above = {side: max(1, _apart(options, side, vocabulary)) for side in SIDES}
        for mine, theirs in PAIRS:
            share = above[mine] / above[theirs]
            missed |= share > BAR
            print(
                f"  {vocabulary:,} words: {theirs} {above[theirs] / 2**20:,.0f}, {mine} "
                f"{above[mine] / 2**20:,.0f}: {share:.3f}{'' if share <= BAR else ', short of it'}",
                flush=True,
            )
    return int(missed)

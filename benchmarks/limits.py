"""Where the time of each stage goes, and which share of this processor's matrix rate it reaches.

In: real texts. Out: a line a stage: time, its three largest costs, arithmetic, share of the limit.
Knows nothing of: peers.

    python -m benchmarks limits [--texts FILE.parquet --column sentence] [--items 160]

The limit is the rate of a float32 product of 1,024 x 1,024 matrices in one thread. The arithmetic is that of
the matrix products that torch's counter sees, forward and backward; attention counts where it is a product.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks import encoder_finetuning, lora_words
from benchmarks.alternating import Timed, timed
from benchmarks.stand_ins import WORDS, read_texts, small_decoder, texts_as_ids
from benchmarks.training import Items

SIDE, ANSWER = 1024, 12
DRAWING = ("aten::normal_", "aten::uniform_")  # random weights are made, which is no part of a stage


def _matrix_rate(precision: str) -> float:
    """Operations a second of a square product, the best of several.

    precision: torch's word; medium is oneDNN on a CPU, highest MKL.
    """
    import torch

    torch.set_float32_matmul_precision(precision)
    matrix = torch.randn(SIDE, SIDE)
    best = 0.0
    for _ in range(8):
        started = time.process_time()
        for _ in range(4):
            matrix @ matrix
        best = max(best, 4 * 2 * SIDE**3 / (time.process_time() - started))
    return best


def _features(model: Any, ids: Sequence[list[int]]) -> None:
    from contextlib import nullcontext

    import torch

    from tuneproof.families import FAMILIES
    from tuneproof.models.oom import AdaptiveBatchSize
    from tuneproof.models.pooled_features import pooled_features

    pooled_features(
        model,
        FAMILIES["bert"],
        ids,
        0,
        ("first", "mean"),
        AdaptiveBatchSize(32),
        torch.device("cpu"),
        nullcontext,
    )


def _labels(model: Any, ids: Sequence[list[int]]) -> None:
    from tuneproof.inference.label_likelihood import score_labels
    from tuneproof.models.oom import AdaptiveBatchSize

    labels = [np.array([5]), np.array([6])]
    prompts: Any = SimpleNamespace(contexts=[np.array(row) for row in ids], continuations=[labels] * len(ids))
    score_labels(model, prompts, 0, AdaptiveBatchSize(32))


def _answers(model: Any, ids: Sequence[list[int]]) -> None:
    from tuneproof.inference.generate import generate_answers
    from tuneproof.models.oom import AdaptiveBatchSize

    text = [token for row in ids[:12] for token in row]
    rows: Any = SimpleNamespace(prompt_ids=[np.array([*text, *row]) for row in ids])
    decode = SimpleNamespace(decode=lambda tokens, **_: "x", batch_decode=None)
    generate_answers(model, decode, rows, 0, AdaptiveBatchSize(32), ANSWER)


def _line(name: str, work: Callable[[], Timed], rate: float) -> None:
    from torch.profiler import ProfilerActivity, profile
    from torch.utils.flop_counter import FlopCounterMode

    work()
    seconds, _ = work()
    with FlopCounterMode(display=False) as counter:
        work()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        work()
    averages = [row for row in profiled.key_averages() if row.key not in DRAWING]
    rows = sorted(averages, key=lambda row: -row.self_cpu_time_total)
    total = sum(row.self_cpu_time_total for row in rows)
    costs = ", ".join(
        f"{row.key.removeprefix('aten::')} {row.self_cpu_time_total / total:.0%}" for row in rows[:3]
    )
    done = counter.get_total_flops()
    print(
        f"{name:<40}{seconds:6.2f} s  {costs}; {done / 1e9:,.0f} GFLOP, "
        f"{done / seconds / rate:.0%} of the matrix rate",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks limits")
    parser.add_argument("--texts", help="a Parquet file of real texts (default: the demo's)")
    parser.add_argument("--column", default="sentence")
    parser.add_argument("--items", type=int, default=160)
    options = parser.parse_args(arguments)
    import torch
    from transformers import BertConfig, BertModel

    from tuneproof.models.matmul_backend import choose_matmul

    torch.set_num_threads(1)
    rates = {precision: _matrix_rate(precision) for precision in ("highest", "medium")}
    ids = texts_as_ids(read_texts(options.texts, options.column), options.items, WORDS)
    kernels = choose_matmul("cpu", max(map(len, ids)))
    rate = rates[torch.get_float32_matmul_precision()]
    print(
        f"one thread; float32 matrix products: torch's default {rates['highest'] / 1e9:,.0f} GFLOP/s, "
        f"oneDNN {rates['medium'] / 1e9:,.0f}. {kernels}"
    )
    for hidden in (256, 768):
        batch = 32 if hidden < 512 else 16
        data = Items(ids, [len(row) % 2 for row in ids], batch)
        _line(
            f"train an encoder, all weights, {hidden}",
            lambda h=hidden, d=data: encoder_finetuning.ours(h, d),
            rate,
        )
    prompts = Items(ids, [5 + len(row) % 2 for row in ids], 8)
    _line("train LoRA on words, 512 x 8", lambda: lora_words.ours("small", prompts), rate)
    encoder = BertModel(
        BertConfig(
            vocab_size=WORDS,
            hidden_size=384,
            num_hidden_layers=6,
            num_attention_heads=6,
            intermediate_size=1536,
        )
    )
    name = "features of a frozen encoder, 384 x 6"
    _line(name, lambda: timed(lambda: _features(encoder, ids)), rate)
    model = small_decoder(512, 8)
    _line("score two labels, 512 x 8", lambda: timed(lambda: _labels(model, ids)), rate)
    name = "write answers on one text, 512 x 8"
    _line(name, lambda: timed(lambda: _answers(model, ids[:40])), rate)
    return 0

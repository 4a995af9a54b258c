"""Accuracy reached by our loop and by the Trainer at the same hyper-parameters, on the same items.

In: SST-2 and an encoder. Out: accuracies a seed, the paired difference over items and seeds.
Knows nothing of: recipes, reports.

    python -m benchmarks accuracy --data FOLDER --model FOLDER [--train 8000] [--seeds 3]

All weights, one epoch, batch 32, AdamW at 5e-5 falling in a line, the gradient cut at norm 1, no decay;
each side draws its own order and dropout by the seed.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.alternating import timed
from benchmarks.frozen_head import LONGEST, Part, read_part
from benchmarks.training import by_trainer, by_us, head_extra, labelled_rows, padded

RATE = 5e-5


def _model(folder: str, seed: int) -> Any:
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(seed)
    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)


def _right(model: Any, test: Part) -> NDArray[np.bool_]:
    """Which items the model has right."""
    from contextlib import nullcontext

    import torch

    from tuneproof.families import FAMILIES
    from tuneproof.inference.classify import class_probabilities
    from tuneproof.models.oom import AdaptiveBatchSize

    rows = [np.array(row) for row in test.ids]
    probabilities_NC = class_probabilities(
        model, FAMILIES["bert"], rows, 0, AdaptiveBatchSize(64), torch.device("cpu"), nullcontext, 2
    )
    return probabilities_NC.argmax(1) == test.labels


def _ours(folder: str, train: Part, test: Part, seed: int) -> NDArray[np.bool_]:
    from tuneproof.families import FAMILIES
    from tuneproof.train.losses import head_loss

    model = _model(folder, seed)
    by_us(
        model,
        train.items,
        lambda model, part: head_loss(model, FAMILIES["bert"], part),
        head_extra(train.items),
        RATE,
        seed=seed,
    )
    return _right(model, test)


def _trainer(folder: str, train: Part, test: Part, seed: int) -> NDArray[np.bool_]:
    model = _model(folder, seed)
    by_trainer(model, train.items, labelled_rows(train.items), padded, RATE, seed=seed)
    return _right(model, test)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where the Trainer is better beyond chance."""
    parser = argparse.ArgumentParser(prog="benchmarks accuracy")
    parser.add_argument("--data", required=True, help="a folder with glue_train and glue_dev.parquet")
    parser.add_argument("--model", required=True, help="an encoder's folder")
    parser.add_argument("--train", type=int, default=8000)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    import torch
    from scipy.stats import ttest_1samp
    from transformers import AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    train = read_part(Path(options.data) / "glue_train.parquet", tokenizer, options.train)
    test = read_part(Path(options.data) / "glue_dev.parquet", tokenizer, None)
    print(f"{len(train.ids):,} items of train cut at {LONGEST} tokens, {len(test.ids)} to predict")
    gaps = []
    for seed in range(options.seeds):
        (mine_s, mine), (other_s, other) = (
            timed(lambda work=work, seed=seed: work(options.model, train, test, seed))
            for work in (_ours, _trainer)
        )
        gaps.append(mine.astype(float) - other.astype(float))
        print(
            f"  seed {seed}: ours {mine.mean():.4f} in {mine_s:.0f} s of CPU time, Trainer "
            f"{other.mean():.4f} in {other_s:.0f}; right alone {int((mine & ~other).sum())} and "
            f"{int((other & ~mine).sum())}",
            flush=True,
        )
    mean = np.mean(gaps, axis=0)
    p = float(ttest_1samp(mean, 0).pvalue) if mean.any() else 1.0
    print(f"  ours over Trainer {100 * mean.mean():+.2f} points, paired over items, p = {p:.2f}")
    return int(mean.mean() < 0 and p < 0.05)

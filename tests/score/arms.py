"""Predictions of made-up arms, for the tests of this folder."""

from collections.abc import Sequence

import numpy as np

from tuneproof.inference.prediction import Predictions


def predictions_of(
    gold: Sequence[int],
    predicted: Sequence[int],
    groups: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    confidence: Sequence[float] | None = None,
) -> Predictions:
    """Two labels, neg and pos; `confidence` is the probability of the predicted label."""
    n = len(gold)
    ids = [f"item{i}" for i in range(n)] if ids is None else list(ids)
    probabilities_NC = None
    if confidence is not None:
        sure_N = np.asarray(confidence, dtype=np.float64)
        positive_N = np.where(np.asarray(predicted) == 1, sure_N, 1 - sure_N)
        probabilities_NC = np.stack([1 - positive_N, positive_N], axis=1)
    return Predictions(
        labels=("neg", "pos"),
        ids=ids,
        groups=ids if groups is None else list(groups),
        gold_N=np.asarray(gold, dtype=np.int64),
        predicted_N=np.asarray(predicted, dtype=np.int64),
        tokens_N=np.ones(n, dtype=np.int64),
        truncated_N=np.zeros(n, dtype=bool),
        probabilities_NC=probabilities_NC,
    )


def pair_of(both: int, only_arm: int, only_over: int, neither: int) -> list[Predictions]:
    """Two arms by the four counts of their paired table."""
    arm = [1] * (both + only_arm) + [0] * (only_over + neither)
    over = [1] * both + [0] * only_arm + [1] * only_over + [0] * neither
    gold = [1] * len(arm)
    return [predictions_of(gold, arm), predictions_of(gold, over)]


def noisy_arm(n: int, accuracy: float, seed: int, group_size: int = 1) -> Predictions:
    """Right with probability `accuracy`, whole groups of items right or wrong together."""
    rng = np.random.default_rng(seed)
    gold = np.arange(n) % 2
    right = np.repeat(rng.random(-(-n // group_size)) < accuracy, group_size)[:n]
    groups = [f"group{i // group_size}" for i in range(n)]
    confidence = 0.5 + rng.random(n) / 2
    return predictions_of(gold, np.where(right, gold, 1 - gold), groups, confidence=confidence)

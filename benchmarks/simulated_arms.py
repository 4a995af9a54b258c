"""Arms with a known truth: made-up predictions for `simulate_statistics`.

In: a setting. Out: predictions, and the metric's value on infinitely many items.
Knows nothing of: intervals, tests, models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuneproof.inference.prediction import Predictions
from tuneproof.metrics import METRICS

SHARED = 0.7  # of the difficulty, between the arms
IN_CLUSTER = 0.3
BY_SEED = 0.1
CLUSTER_SIZE = 5


@dataclass(frozen=True)
class World:
    """A setting: `n` items, an arm's true `accuracy`, `gap` to the lower arm; `seed_sd` is the
    deviation of true accuracy between seeds; `positive` the share of the second label."""

    n: int
    accuracy: float
    clustered: bool = False
    seeds: int = 1
    gap: float = 0.0
    seed_sd: float = 0.01
    metric: str = "accuracy"
    positive: float = 0.5

    def __str__(self) -> str:
        where = "grouped" if self.clustered else "single "
        sd = f"{self.seed_sd:.3f}" if self.seeds > 1 else "     "
        return (
            f"{self.metric:9} n={self.n:<5} acc={self.accuracy:.2f} {where} "
            f"seeds={self.seeds} {sd} gap={self.gap:.3f}"
        )


def draw_arms(world: World, accuracies: Sequence[float], rng: np.random.Generator) -> list[list[Predictions]]:
    """One study: for each true accuracy an arm, as one list of predictions a seed."""
    from scipy.special import ndtri

    n = world.n
    group_N = np.arange(n)
    if world.clustered:
        clusters = max(2, n // CLUSTER_SIZE)
        group_N = np.concatenate([np.arange(clusters), rng.integers(0, clusters, n - clusters)])
    gold_N = (rng.random(n) < world.positive).astype(np.int64)
    within = IN_CLUSTER if world.clustered else 0.0
    by_seed = BY_SEED if world.seeds > 1 else 0.0

    def difficulty() -> np.ndarray:
        cluster_N = rng.standard_normal(n)[group_N] if world.clustered else 0.0
        own_N = np.sqrt((1 - within) * (1 - by_seed)) * rng.standard_normal(n)
        return np.sqrt(within) * cluster_N + own_N

    shared_N = np.sqrt(SHARED) * difficulty()
    ids, groups = [str(i) for i in range(n)], [str(group) for group in group_N]
    tokens_N, truncated_N = np.ones(n, dtype=np.int64), np.zeros(n, dtype=bool)
    arms = []
    for accuracy in accuracies:
        arm_N = shared_N + np.sqrt(1 - SHARED) * difficulty()
        runs = []
        for _ in range(world.seeds):
            true = accuracy
            hidden_N = arm_N
            if world.seeds > 1:
                sd = min(world.seed_sd, (1 - accuracy) / 4)  # no seed is right beyond 1
                true += sd * float(np.clip(rng.standard_normal(), -3.5, 3.5))
                hidden_N = arm_N + np.sqrt((1 - within) * by_seed) * rng.standard_normal(n)
            predicted_N = np.where(hidden_N < ndtri(true), gold_N, 1 - gold_N)
            runs.append(Predictions(("no", "yes"), ids, groups, gold_N, predicted_N, tokens_N, truncated_N))
        arms.append(runs)
    return arms


def true_value(world: World, accuracy: float) -> float:
    """The metric on infinitely many items."""
    if world.metric == "accuracy":
        return accuracy
    no, yes = 1 - world.positive, world.positive
    right = [no * accuracy, yes * accuracy]
    predicted = [right[0] + yes - right[1], right[1] + no - right[0]]
    totals_K = np.array([*right, *predicted, no, yes])
    return float(METRICS[world.metric].from_totals(totals_K, 2))

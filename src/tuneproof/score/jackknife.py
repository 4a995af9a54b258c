"""What the items add to the error of a value: each cluster of items is left out in turn.

In: the runs' items, the items' clusters, a metric. Out: the covariance of the runs' values over the items,
with its degrees of freedom. Knows nothing of: files, names of arms, seeds.

Shapes: N items, G clusters (each item is its own cluster if items are not grouped), K statistics, R runs.

Nothing is drawn: the same predictions give the same figures in whatever order they come.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.metrics import Items, Metric

Floats = NDArray[np.float64]

UNANIMOUS = 0.9  # intraclass correlation of right answers
CELLS_PER_BLOCK = 1_000_000  # of totals without a cluster: 8 MB


@dataclass(frozen=True)
class ItemSpread:
    """How the values of R runs on the same items vary with the items.

    `covariance_RR` is in the metric's unit squared, `df` its degrees of freedom, `clusters` those that the
    metric counts an item of.
    """

    covariance_RR: Floats
    df: float
    clusters: int


def item_spread(metric: Metric, runs: Sequence[Items], groups: Sequence[str] | None) -> ItemSpread:
    """The covariance of the runs' values over whole clusters of items.

    Each cluster's deviation is the value without it less the value with it, times the square root of
    1 - p, with p its share of the items. For a mean of items this is the bias-reduced estimate CR2; for
    other metrics it is the jackknife in the same scale. A single cluster shows no variation: the standard
    error is then the metric's whole range.

    Source: Bell and McCaffrey 2002, Survey Methodology 28(2), pp. 169-181 (CR2 and its degrees of freedom);
    Pustejovsky and Tipton 2018, doi:10.1080/07350015.2016.1247004; the jackknife: Efron and Stein 1981,
    Annals of Statistics 9(3).
    """
    cluster_N = number_clusters(groups, len(runs[0]))
    size_G = np.bincount(cluster_N, weights=metric.counted_N(runs[0]))
    share_G = size_G / size_G.sum()
    clusters = int(np.count_nonzero(size_G))
    if clusters < 2:
        span = (metric.high - metric.low) ** 2
        return ItemSpread(np.eye(len(runs)) * span * len(runs), 1.0, clusters)
    deviations_GR = np.stack([_without_each(metric, run, cluster_N) for run in runs], axis=1)
    deviations_GR *= np.sqrt(1 - share_G)[:, None]
    return ItemSpread(deviations_GR.T @ deviations_GR, bell_mccaffrey_df(share_G), clusters)


def unanimous(
    spread: ItemSpread, metric: Metric, runs: Sequence[Items], groups: Sequence[str] | None
) -> ItemSpread:
    """The spread of scores, corrected where a cluster's items are nearly all right or all wrong together.

    Copies of one text are such items. If a frequent text happens to be right, CR2 does not see how much it
    could have cost; then the variance is that of exchangeable clusters, p (1 - p) / n (1 + r (m - 1)), with
    the intraclass correlation r, 0.9 or more, and the mean size m of an item's cluster.

    Source: Kish 1965, Survey Sampling, section 5.4; r by analysis of variance: Donner 1986,
    International Statistical Review 54(1).
    """
    if groups is None or spread.clusters < 3:
        return spread
    counted_N = metric.counted_N(runs[0])
    cluster_N = np.unique(number_clusters(groups, len(counted_N))[counted_N], return_inverse=True)[1]
    size_G = np.bincount(cluster_N)
    right_RN = np.array([run.right_N[counted_N] for run in runs], dtype=np.float64)
    n, clusters, mean_size = len(cluster_N), len(size_G), float((size_G**2).sum()) / len(cluster_N)
    correlations, shares = [], []
    for right_N in right_RN:
        share, mean_G = right_N.mean(), np.bincount(cluster_N, right_N) / size_G
        between = (size_G * (mean_G - share) ** 2).sum() / (clusters - 1)
        within = ((right_N - mean_G[cluster_N]) ** 2).sum() / max(n - clusters, 1)
        size = (n - mean_size) / (clusters - 1)
        total = between + (size - 1) * within
        correlations.append(float((between - within) / total) if total > 0 else 0.0)
        shares.append(share * (1 - share))
    correlation = min(float(np.mean(correlations)), 1.0)
    seen = float(np.mean([_cr2(np.bincount(cluster_N, right_N), size_G) for right_N in right_RN]))
    if correlation < UNANIMOUS or seen == 0:
        return spread
    variance = float(np.mean(shares)) / n * (1 + correlation * (mean_size - 1))
    return ItemSpread(spread.covariance_RR * max(variance / seen, 1.0), clusters - 1.0, spread.clusters)


def _cr2(right_G: NDArray[Any], size_G: NDArray[np.int64]) -> float:
    """CR2 of the share of right items."""
    n = size_G.sum()
    residual_G = right_G - size_G * right_G.sum() / n
    return float((residual_G**2 / (1 - size_G / n)).sum() / n**2)


def number_clusters(groups: Sequence[str] | None, size: int) -> NDArray[np.int64]:
    """The cluster of each item, numbered in order of appearance."""
    if groups is None:
        return np.arange(size)
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64)


def _without_each(metric: Metric, items: Items, cluster_N: NDArray[np.int64]) -> Floats:
    """The metric's value without each cluster, less the value with all: [G]."""
    stats_NK = metric.per_item(items)
    sums_GK = stats_NK
    if len(cluster_N) > cluster_N.max() + 1:
        sums_GK = np.zeros((cluster_N.max() + 1, stats_NK.shape[1]))
        np.add.at(sums_GK, cluster_N, stats_NK)
    totals_K = stats_NK.sum(axis=0)
    values_G = np.empty(len(sums_GK))
    block = max(1, CELLS_PER_BLOCK // sums_GK.shape[1])
    for start in range(0, len(sums_GK), block):
        rest_GK = totals_K - sums_GK[start : start + block]
        values_G[start : start + block] = metric.from_totals(rest_GK, items.classes)
    return values_G - metric.from_totals(totals_K, items.classes)


def bell_mccaffrey_df(share_G: Floats) -> float:
    """Degrees of freedom of CR2 for a mean over clusters with these shares of the items, which sum to 1.

    (sum of eigenvalues)^2 / sum of their squares, for independent items of equal variance. G equal clusters
    have G - 1.
    """
    odds_G = share_G**2 / (1 - share_G)
    return float(1 / ((share_G**2).sum() + odds_G.sum() ** 2 - (odds_G**2).sum()))

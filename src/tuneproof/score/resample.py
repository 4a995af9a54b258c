"""Bootstrap draws: whole clusters of items drawn with replacement, as sums of statistics.

In: statistics of items and their groups. Out: the totals of every draw. Knows nothing of: metrics, arms.

Shapes: N items, G clusters (each item is its own cluster if items are not grouped), K statistics,
B draws, U distinct rows.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CELLS_PER_BLOCK = 1_000_000  # of draws: 8 MB per float array
DISTINCT_SHARE = 8  # draw counts of distinct rows if there are this many times fewer of them


def cluster_sums(stats_NK: Floats, groups: Sequence[str] | None) -> Floats:
    """Sum the statistics over each group: [G, K], in order of first appearance.

    Without groups each item is its own cluster.
    """
    if groups is None:
        return stats_NK
    index_by_group: dict[str, int] = {}
    cluster_N = np.array([index_by_group.setdefault(group, len(index_by_group)) for group in groups])
    sums_GK = np.zeros((len(index_by_group), stats_NK.shape[1]))
    np.add.at(sums_GK, cluster_N, stats_NK)
    return sums_GK


def distinct_rows(rows_GK: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Distinct rows [U, K] and their counts [U], the most frequent first."""
    rows_GK = np.ascontiguousarray(rows_GK)
    width = rows_GK.dtype.itemsize * rows_GK.shape[1]
    as_bytes = rows_GK.view(np.dtype((np.void, width))).ravel()
    _, first_U, count_U = np.unique(as_bytes, return_index=True, return_counts=True)
    order = np.argsort(-count_U, kind="stable")
    return rows_GK[first_U[order]], count_U[order].astype(np.int64)


def resampled_totals(rows_GK: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Totals [B, K] of `draws` samples of G clusters, drawn with replacement.

    Clusters with equal statistics form one cell of a multinomial: the same distribution without a draw for
    each item. If most rows are distinct, they are drawn by index, in blocks.

    Source: Efron and Tibshirani 1993, section 6.2; whole clusters: Field and Welsh 2007, JRSS B 69(3).
    """
    clusters = len(rows_GK)
    rows_UK, count_U = distinct_rows(rows_GK)
    if len(rows_UK) * DISTINCT_SHARE <= clusters or len(rows_UK) <= 4:
        return rng.multinomial(clusters, count_U / clusters, size=draws) @ rows_UK
    totals_BK = np.empty((draws, rows_GK.shape[1]))
    block = max(1, CELLS_PER_BLOCK // clusters)
    for start in range(0, draws, block):
        size = min(block, draws - start)
        drawn_BG = rng.integers(0, clusters, size=(size, clusters), dtype=np.int32)
        cell_BG = drawn_BG + np.arange(size, dtype=np.int32)[:, None] * clusters
        times_BG = np.bincount(cell_BG.ravel(), minlength=size * clusters).reshape(size, clusters)
        totals_BK[start : start + size] = times_BG.astype(np.float64) @ rows_GK
    return totals_BK

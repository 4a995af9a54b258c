"""Bootstrap draws: whole clusters of items drawn with replacement, as sums of statistics.

In: statistics of items, their groups. Out: totals of every draw. Knows nothing of: metrics, arms.

Shapes: N items, G clusters (an item alone is a cluster where items are not grouped), K statistics,
B draws, U distinct rows.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CELLS_AT_ONCE = 1_000_000  # of one block of draws: 8 MB a float array
DISTINCT_SHARE = 8  # rows are drawn as counts of distinct rows where these are this many times fewer


def cluster_sums(stats_NK: Floats, groups: Sequence[str] | None) -> Floats:
    """[G, K]: the statistics summed over each group, in order of first appearance.

    Without groups every item is its own cluster.
    """
    if groups is None:
        return stats_NK
    place: dict[str, int] = {}
    cluster_N = np.array([place.setdefault(group, len(place)) for group in groups])
    sums_GK = np.zeros((len(place), stats_NK.shape[1]))
    np.add.at(sums_GK, cluster_N, stats_NK)
    return sums_GK


def distinct(rows_GK: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Distinct rows [U, K] and how often each occurs [U], the most frequent first."""
    rows_GK = np.ascontiguousarray(rows_GK)
    width = rows_GK.dtype.itemsize * rows_GK.shape[1]
    as_bytes = rows_GK.view(np.dtype((np.void, width))).ravel()
    _, first_U, count_U = np.unique(as_bytes, return_index=True, return_counts=True)
    order = np.argsort(-count_U, kind="stable")
    return rows_GK[first_U[order]], count_U[order].astype(np.int64)


def resampled_totals(rows_GK: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """[B, K]: totals of `draws` samples of G clusters, drawn with replacement.

    Clusters with equal statistics are one cell of a multinomial, which is the same distribution
    and needs no draw for every item. Rows that are mostly distinct are drawn by index, in blocks.

    Source: Efron and Tibshirani 1993, section 6.2; whole clusters: Field and Welsh 2007,
    JRSS B 69(3).
    """
    clusters = len(rows_GK)
    rows_UK, count_U = distinct(rows_GK)
    if len(rows_UK) * DISTINCT_SHARE <= clusters or len(rows_UK) <= 4:
        return rng.multinomial(clusters, count_U / clusters, size=draws) @ rows_UK
    totals_BK = np.empty((draws, rows_GK.shape[1]))
    block = max(1, CELLS_AT_ONCE // clusters)
    for start in range(0, draws, block):
        size = min(block, draws - start)
        drawn_BG = rng.integers(0, clusters, size=(size, clusters), dtype=np.int32)
        cell_BG = drawn_BG + np.arange(size, dtype=np.int32)[:, None] * clusters
        times_BG = np.bincount(cell_BG.ravel(), minlength=size * clusters).reshape(size, clusters)
        totals_BK[start : start + size] = times_BG.astype(np.float64) @ rows_GK
    return totals_BK

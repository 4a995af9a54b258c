"""Tests of a difference between two arms on the same items, and the correction for several claims.

In: discordant counts, statistics of clusters, p-values. Out: p-values. Knows nothing of: files, verdicts.

Shapes: G clusters, K statistics, B draws, U distinct rows.
"""

from collections.abc import Callable, Sequence
from math import inf

import numpy as np
from numpy.typing import NDArray

from tuneproof.score.resample import CELLS_PER_BLOCK, DISTINCT_SHARE, distinct_rows

Floats = NDArray[np.float64]

ROUNDING = 1e-9  # permuted differences this close to the observed one are ties


def mcnemar_test(only_arm: int, only_over: int) -> float:
    """Two-sided mid-p of the exact conditional McNemar test on the two discordant counts.

    Twice the smaller binomial tail at one half, less the probability of the observed count.
    Without discordant items it is 1.

    Source: Fagerland, Lydersen and Laake 2013, doi:10.1186/1471-2288-13-91, "McNemar mid-p".
    """
    from scipy.stats import binom

    total = only_arm + only_over
    if total == 0:
        return 1.0
    fewer = min(only_arm, only_over)
    point = float(binom.pmf(fewer, total, 0.5))
    if only_arm == only_over:
        return 1.0 - point / 2
    return 2 * float(binom.cdf(fewer, total, 0.5)) - point


def randomisation_test(
    arm_GK: Floats,
    over_GK: Floats,
    difference: Callable[[Floats, Floats], Floats],
    draws: int,
    rng: np.random.Generator,
) -> float:
    """Two-sided p of the approximate randomisation test, which swaps the arms on whole clusters.

    `difference` maps totals [..., K] of arm and over to differences [...]. Clusters with equal
    statistics are swapped as a binomial count. The observed arrangement counts as one draw.

    Source: Noreen 1989, Computer-Intensive Methods for Testing Hypotheses; Riezler and Maxwell 2005,
    aclanthology W05-0908.
    """
    arm_K, over_K = arm_GK.sum(axis=0), over_GK.sum(axis=0)
    observed = abs(float(difference(arm_K, over_K)))
    moved_GK = over_GK - arm_GK
    moved_UK, count_U = (
        distinct_rows(moved_GK[np.any(moved_GK != 0, axis=1)])
        if moved_GK.any()
        else (moved_GK[:0], np.zeros(0, dtype=np.int64))
    )
    as_extreme = 0
    block = max(1, CELLS_PER_BLOCK // max(len(moved_UK), 1))
    for start in range(0, draws, block):
        size = min(block, draws - start)
        if count_U.sum() >= DISTINCT_SHARE * len(count_U):
            swapped_BU = rng.binomial(count_U, 0.5, size=(size, len(count_U)))
        else:
            bits = rng.integers(0, 2, size=(size, len(count_U)), dtype=np.int8)
            single = count_U == 1
            swapped_BU = bits.astype(np.int64)
            more = count_U[~single]
            swapped_BU[:, ~single] = rng.binomial(more, 0.5, size=(size, len(more)))
        shift_BK = swapped_BU.astype(np.float64) @ moved_UK
        permuted_B = np.abs(difference(arm_K + shift_BK, over_K - shift_BK))
        as_extreme += int((permuted_B >= observed - ROUNDING).sum())
    return (1 + as_extreme) / (1 + draws)


def t_test(difference: float, error: float, df: float = inf) -> float:
    """Two-sided p of `difference / error` in Student's distribution with `df` degrees of freedom."""
    from scipy.special import ndtr, stdtr

    if error == 0:
        return 1.0 if difference == 0 else 0.0
    t = -abs(difference) / error
    return 2 * float(ndtr(t) if df > 1e6 else stdtr(df, t))


def holm(p_values: Sequence[float], hypotheses: int | None = None) -> list[float]:
    """Adjusted p-values in their original order: the k-th smallest of m times m - k + 1, made monotone.

    `hypotheses`: m, if there are more than these p-values (default: as many). Those without a p-value count
    as larger ones, so that the adjusted values are at least those of all p-values together.

    Source: Holm 1979, Scandinavian Journal of Statistics 6(2), section 2.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [1.0] * len(p_values)
    total, highest = hypotheses or len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (total - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted

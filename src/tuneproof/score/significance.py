"""Tests of a difference between two arms on the same items, and the correction for several claims.

In: discordant counts, errors, p-values. Out: p-values. Knows nothing of: files, verdicts.
"""

from collections.abc import Sequence
from math import inf


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

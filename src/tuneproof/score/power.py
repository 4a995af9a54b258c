"""The minimum detectable effect: the smallest true difference that a test set reliably detects.

In: items, discordance, standard errors. Out: differences in the metric's unit.
Knows nothing of: files, metrics, verdicts.
"""

from functools import lru_cache
from math import sqrt

import numpy as np

TINY = 1e-12  # no discordance at all
FEW_DISCORDANT = 200  # the power of the exact test is summed up to here and approximated beyond


def smallest_detectable(error: float, df: float, level: float, power: float) -> float:
    """The difference that a t-test with this standard error detects with probability `power`.

    `error` times the non-centrality at which Student's t with `df` degrees exceeds its critical value with
    that probability; for large `df` it is (z[1 - (1 - level) / 2] + z[power]) `error`.

    Source: Bloom 1995, doi:10.1177/0193841X9501900504; Miller 2024, arXiv:2411.00640, section 5.
    """
    from scipy.special import nctdtrinc, ndtri, stdtrit

    if df > 300:
        return float(ndtri(0.5 + level / 2) + ndtri(power)) * error
    return float(nctdtrinc(df, 1 - power, stdtrit(df, 0.5 + level / 2))) * error


def smallest_detectable_mcnemar(n: int, discordance: float, level: float, power: float) -> float:
    """The difference in accuracy that McNemar's test detects with probability `power`.

    `discordance` is the share of the `n` items on which exactly one of the arms is right. The
    difference d solves d = (z[1 - (1 - level) / 2] sqrt(s) + z[power] sqrt(s - d^2)) / sqrt(n),
    with s = max(discordance, d), as a difference cannot exceed its discordance. If few discordant
    items are expected, the power of the exact mid-p test is summed over the binomial counts instead.

    Source: Connor 1987, Biometrics 43(1), pp. 207-211; Miller 2024, arXiv:2411.00640, section 5.
    """
    return _solve(n, round(discordance, 12), level, power)


@lru_cache(maxsize=4096)
def _solve(n: int, discordance: float, level: float, power: float) -> float:
    from scipy.optimize import brentq

    def missing(difference: float) -> float:
        return _power(n, max(discordance, difference, TINY), difference, level) - power

    return 1.0 if missing(1.0) <= 0 else float(brentq(missing, 0.0, 1.0, xtol=1e-6))


def _power(n: int, discordance: float, difference: float, level: float) -> float:
    """Power of the two-sided test, neglecting the wrong direction."""
    from scipy.special import ndtr, ndtri

    if n * discordance > FEW_DISCORDANT:
        critical = float(ndtri(0.5 + level / 2))
        spread = max(discordance - difference**2, 1e-15)
        return float(ndtr((difference * sqrt(n) - critical * sqrt(discordance)) / sqrt(spread)))
    return _exact_power(n, discordance, difference, level)


def _exact_power(n: int, discordance: float, difference: float, level: float) -> float:
    from scipy.special import bdtr

    half = 6 * sqrt(n * discordance) + 6
    first, last = max(1, int(n * discordance - half)), min(n, int(n * discordance + half) + 1)
    total_D = np.arange(first, last + 1)
    critical_D = np.array([_critical(int(total), level) for total in total_D])
    below_D = bdtr(np.arange(first - 1, last + 1), n, min(discordance, 1.0))
    favour = min(1.0, (1 + difference / discordance) / 2)
    shown_D = np.where(critical_D < 0, 0.0, bdtr(np.maximum(critical_D, 0), total_D, 1 - favour))
    return float(np.diff(below_D) @ shown_D)


@lru_cache(maxsize=4096)
def _critical(total: int, level: float) -> int:
    """The largest minority count at which mid-p stays below 1 - level; -1 if there is none."""
    from scipy.special import bdtr

    upto = bdtr(np.arange(total // 2 + 1), total, 0.5)
    p = upto + np.concatenate([[0.0], upto[:-1]])  # twice the tail less the point
    below = np.flatnonzero(p < 1 - level)
    return int(below[-1]) if len(below) else -1

"""Intervals: Wilson's for proportions, Student's t for other metrics, over items and seeds.

In: values of the runs and how they vary with the items. Out: an estimate, its error, intervals.
Knows nothing of: metrics, files, names of arms.

Shapes: R runs (every seed of every side), S seeds of one side. A side is one arm: a score
has one side, a difference has two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray

from tuneproof.score.jackknife import ItemSpread

Floats = NDArray[np.float64]

SAME = 1e-24  # variance of values that differ only by rounding
SATTERTHWAITE_SEEDS = 5
LARGE_DF = 1e5  # degrees of freedom from which Student's t is the normal distribution


@dataclass(frozen=True)
class Interval:
    """`low` to `high`, inclusive."""

    low: float
    high: float


@dataclass(frozen=True)
class Side:
    """One arm: runs `start` to `start + seeds`. `sign` is +1, or -1 for the subtracted arm.

    `lone`: all runs are one run, repeated, of an arm that varies with the seed.
    """

    start: int
    seeds: int
    sign: float
    lone: bool = False

    @property
    def runs(self) -> slice:
        """The slice of the arm's runs among all runs."""
        return slice(self.start, self.start + self.seeds)


@dataclass(frozen=True)
class Estimate:
    """A score or a difference with its standard errors.

    `item_error` is the standard error from items only, `error` from items and seeds, both in the
    metric's unit; `df` the degrees of freedom of `error`, `item_df` and `seed_df` those of its parts (0: the
    seeds add nothing).
    """

    value: float
    item_error: float
    error: float
    df: float
    item_df: float = inf
    seed_df: float = 0.0


def wilson_interval(value: float, n: float, level: float, df: float = inf) -> Interval:
    """The score interval of a proportion: all p in 0..1 with |value - p| <= t sqrt(p (1 - p) / n).

    `value` in 0..1; `n` the number of items, or the effective number for clustered items or several runs; t
    the quantile of Student's distribution with `df` degrees of freedom, z by default.

    Source: Wilson 1927, JASA 22(158), pp. 209-212; with an effective n and t: Franco et al. 2019,
    doi:10.1093/jssam/smy019; below a few hundred items: Bowyer et al. 2025, arXiv:2503.01747.
    """
    t2 = t_quantile(level, df) ** 2
    centre = (value + t2 / (2 * n)) / (1 + t2 / n)
    half = sqrt(t2 * (value * (1 - value) / n + t2 / (4 * n * n))) / (1 + t2 / n)
    return Interval(max(0.0, min(value, centre - half)), min(1.0, max(value, centre + half)))


def exact_interval(value: float, n: int, level: float) -> Interval:
    """The interval of a proportion `value` of n items that covers at least `level` at any n and any level.

    Wilson's covers too little far out in the tail, as at the levels of many intervals at once.

    Source: Clopper and Pearson 1934, Biometrika 26(4), pp. 404-413.
    """
    from scipy.special import betaincinv

    tail, right = (1 - level) / 2, value * n
    low = float(betaincinv(right, n - right + 1, tail)) if right > 0 else 0.0
    high = float(betaincinv(right + 1, n - right, 1 - tail)) if right < n else 1.0
    return Interval(low, high)


def student_interval(estimated: Estimate, level: float) -> Interval:
    """`value` plus and minus t times `error`, with the estimate's degrees of freedom."""
    half = t_quantile(level, estimated.df) * estimated.error
    return Interval(estimated.value - half, estimated.value + half)


def t_quantile(level: float, df: float) -> float:
    """The two-sided quantile of Student's t distribution (of the normal if `df` is large)."""
    from scipy.special import ndtri, stdtrit

    tail = 0.5 + level / 2
    return float(ndtri(tail)) if df >= LARGE_DF else float(stdtrit(df, tail))


def estimate(values_R: Floats, items: ItemSpread, sides: Sequence[Side], level: float) -> Estimate:
    """The mean over seeds of one side, or the difference of two, with its error from items and seeds.

    The variance over the items is that of the weighted runs. A side's seeds add the variance of their mean,
    less what of it is noise of the items, which the items' part already contains (noise = mean variance of
    one run less mean covariance of two).

    Three seeds estimate their spread poorly. Below five, `df` belongs to the Student's distribution whose
    quantile at `level` is the mean of the quantiles of the items' and the seeds' degrees of freedom, weighted
    by variance: Satterthwaite's cover 92 % if three seeds are the larger part, these 95 to 97 %. From five
    seeds on they are Satterthwaite's.

    A lone run of an arm that varies with the seed is taken to vary as the other side's runs do: one run adds
    the variance of one run, and both variances rest on one estimate with S - 1 degrees of freedom.

    Source: items and seeds as crossed random factors: Hillis 2007, doi:10.1002/sim.2532; Satterthwaite 1946,
    Biometrics Bulletin 2(6); the weighted quantile: Cochran and Cox 1957, Experimental Designs; that both
    vary: Bouthillier et al. 2021, arXiv:2103.03098.
    """
    weight_R = np.zeros(len(values_R))
    for side in sides:
        weight_R[side.runs] = side.sign / side.seeds
    item_variance = max(float(weight_R @ items.covariance_RR @ weight_R), 0.0)
    variances, degrees = [item_variance], [items.df]
    parts = [_seed_variance(values_R[side.runs], items.covariance_RR[side.runs, side.runs]) for side in sides]
    lone = [
        float(values_R[side.runs].var(ddof=1))
        for side, other in zip(sides, sides[::-1], strict=True)
        if other.lone
    ]
    seeds = sum(parts) + sum(lone)
    if seeds > 0:
        terms = [part**2 / (side.seeds - 1) for part, side in zip(parts, sides, strict=True) if part]
        variances.append(seeds)
        degrees.append(sides[0].seeds - 1 if lone else seeds**2 / sum(terms))
    return Estimate(
        value=float(values_R @ weight_R),
        item_error=sqrt(item_variance),
        error=sqrt(item_variance + seeds),
        df=combined_df(variances, degrees, level, max(side.seeds for side in sides)),
        item_df=items.df,
        seed_df=degrees[1] if seeds > 0 else 0.0,
    )


def _seed_variance(values_S: Floats, covariance_SS: Floats) -> float:
    """The variance that a side's seeds add to its mean, net of the noise of the items."""
    seeds = len(values_S)
    spread = float(values_S.var(ddof=1)) if seeds > 1 else 0.0
    if spread < SAME:  # a single run, or identical runs
        return 0.0
    own = float(np.trace(covariance_SS)) / seeds
    shared = float(covariance_SS.sum() - np.trace(covariance_SS)) / (seeds * (seeds - 1))
    return max(spread - max(own - shared, 0.0), 0.0) / seeds


def combined_df(variances: Sequence[float], degrees: Sequence[float], level: float, seeds: int) -> float:
    """Degrees of freedom of a sum of variances, as `estimate` says; those of the first if all are zero."""
    from scipy.special import stdtridf

    if len(variances) == 1 or sum(variances) == 0:
        return degrees[0]
    if seeds >= SATTERTHWAITE_SEEDS:
        terms = zip(variances, degrees, strict=True)
        return sum(variances) ** 2 / sum(variance**2 / df for variance, df in terms)
    quantiles = [t_quantile(level, df) for df in degrees]
    mean = float(np.average(quantiles, weights=variances))
    if mean <= t_quantile(level, LARGE_DF):
        return LARGE_DF
    return float(stdtridf(0.5 + level / 2, mean))

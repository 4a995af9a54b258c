"""Intervals: Wilson's for proportions, Student's t for other metrics, from draws of items and seeds.

In: values of the runs on the items and on resampled items. Out: an estimate, its error, intervals.
Knows nothing of: metrics, files, names of arms.

Shapes: B draws, R runs (every seed of every side), S seeds of one side. A side is one arm: a score
has one side, a difference has two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SAME = 1e-24  # variance of values that differ only by rounding
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
    metric's unit; `df` the degrees of freedom of `error`.
    """

    value: float
    item_error: float
    error: float
    df: float


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


def estimate(
    values_R: Floats,
    draws_BR: Floats,
    sides: Sequence[Side],
    clusters: int,
    level: float,
    rng: np.random.Generator,
) -> Estimate:
    """The mean over seeds of one side, or the difference of two, with its error from items and seeds.

    `draws_BR` are the runs' values on resampled clusters, the same clusters for every run. Each draw of items
    is joined by a draw of seeds: S deviations from the side's mean, with replacement. Both are rescaled to be
    unbiased: items by sqrt(G / (G - 1)), seeds by sqrt(S / (S - 1)) and by the share of their variance that
    is not noise of the items, which the draws of items already contain (noise = mean variance of one run less
    mean covariance of two). `error` is the standard deviation of the sums.

    Three seeds estimate their spread poorly. `error` is therefore multiplied by the mean of Student's
    quantiles for G - 1 and for the seeds' degrees of freedom, weighted by variance; `df` belongs to the
    Student's distribution with this quantile at `level`. (Satterthwaite's degrees of freedom cover 92 % if
    three seeds are the larger part; these cover 95 to 97 %.)

    A lone run of an arm that varies with the seed is taken to vary as the other side's runs do: one run adds
    the variance of one run, and both variances rest on one estimate with S - 1 degrees of freedom.

    Source: items and seeds as crossed random factors: Hillis 2007, doi:10.1002/sim.2532; the weighted
    quantile: Cochran and Cox 1957, Experimental Designs; that both must be drawn: Bouthillier et al. 2021,
    arXiv:2103.03098.
    """
    weight_R = np.zeros(len(values_R))
    for side in sides:
        weight_R[side.runs] = side.sign / side.seeds
    small = sqrt(clusters / max(clusters - 1, 1))
    both_B = (draws_BR - draws_BR.mean(axis=0)) @ weight_R * small
    item_error = float(both_B.std(ddof=1))
    variances, degrees = [item_error**2], [float(max(clusters - 1, 1))]
    parts = [_seed_part(values_R[side.runs], draws_BR[:, side.runs], rng) for side in sides]
    lone = [
        part.of_one_run(side.seeds, rng) for part, side in zip(parts, sides[::-1], strict=False) if side.lone
    ]
    for side, part in zip(sides, parts, strict=True):
        both_B += side.sign * part.draws_B
    for part in lone:
        both_B += part.draws_B
    seeds = sum(part.variance for part in [*parts, *lone])
    if seeds > 0:
        terms = [p.variance**2 / (s.seeds - 1) for p, s in zip(parts, sides, strict=True) if p.variance]
        variances.append(seeds)
        degrees.append(sides[0].seeds - 1 if lone else seeds**2 / sum(terms))
    return Estimate(
        value=float(values_R @ weight_R),
        item_error=item_error,
        error=float(both_B.std(ddof=1)),
        df=_combined_df(variances, degrees, level),
    )


@dataclass(frozen=True)
class _SeedPart:
    """The contribution of one side's seeds: draws of their mean, and its variance net of the items'."""

    draws_B: Floats
    variance: float
    deviation_S: Floats

    def of_one_run(self, seeds: int, rng: np.random.Generator) -> "_SeedPart":
        """What a single run contributes if it varies as these do; noise of the items is not taken off.

        With three seeds the net variance is often estimated as zero, which would make the lone run certain.
        """
        drawn_B = rng.integers(0, seeds, size=len(self.draws_B))
        deviation_S = self.deviation_S * sqrt(seeds / (seeds - 1))
        return _SeedPart(deviation_S[drawn_B], float((deviation_S**2).mean()), deviation_S)


def _seed_part(values_S: Floats, draws_BS: Floats, rng: np.random.Generator) -> _SeedPart:
    seeds = len(values_S)
    deviation_S = values_S - values_S.mean()
    spread = float(deviation_S @ deviation_S) / max(seeds - 1, 1)
    if seeds < 2 or spread < SAME:  # a single run, or identical runs
        return _SeedPart(np.zeros(len(draws_BS)), 0.0, np.zeros(seeds))
    cov_SS = np.cov(draws_BS, rowvar=False)
    own = float(np.trace(cov_SS)) / seeds
    shared = float(cov_SS.sum() - np.trace(cov_SS)) / (seeds * (seeds - 1))
    net = max(spread - max(own - shared, 0.0), 0.0)
    scale = sqrt(seeds / (seeds - 1) * net / spread)
    drawn_BS = rng.integers(0, seeds, size=(len(draws_BS), seeds))
    return _SeedPart(deviation_S[drawn_BS].mean(axis=1) * scale, net / seeds, deviation_S)


def _combined_df(variances: Sequence[float], degrees: Sequence[float], level: float) -> float:
    """Degrees of freedom whose Student's quantile is the variance-weighted mean of the parts' quantiles."""
    from scipy.special import stdtridf

    if len(variances) == 1 or sum(variances) == 0:
        return degrees[0]
    quantiles = [t_quantile(level, df) for df in degrees]
    mean = float(np.average(quantiles, weights=variances))
    if mean <= t_quantile(level, LARGE_DF):
        return LARGE_DF
    return float(stdtridf(0.5 + level / 2, mean))

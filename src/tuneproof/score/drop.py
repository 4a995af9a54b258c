"""Drops: how much worse an arm is on a further test set than on the main one.

In: predictions of one arm on both sets. Out: a Drop. Knows nothing of: models, files, other arms.

The two sets have different items, so that their errors over items add up; the seeds are the same models,
so that the spread over seeds is that of the differences of each seed.

Shapes: S seeds.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tuneproof.inference.prediction import AnyPredictions
from tuneproof.metrics import evaluate
from tuneproof.score import scores
from tuneproof.score.intervals import Estimate, Interval, Side, estimate, student_interval, wilson_interval
from tuneproof.score.jackknife import ItemSpread, item_spread, unanimous
from tuneproof.score.significance import holm, t_test
from tuneproof.settings import ScoreSettings


@dataclass(frozen=True)
class OnTest:
    """One arm on one test set, an entry per seed; `grouped`: whole groups of its items vary together."""

    runs: Sequence[AnyPredictions]
    grouped: bool


@dataclass(frozen=True)
class Drop:
    """The score on the main set less that on the further one, positive where the arm is worse there.

    All values are in the metric's unit. `p_adjusted` is corrected for all drops of a study, `is_shown`
    whether the drop or gain is shown then.
    """

    metric: str
    value: float
    low: float
    high: float
    level: float
    p_value: float
    p_adjusted: float
    seeds: int
    note: str = ""

    @property
    def is_shown(self) -> bool:
        """Whether there is a difference, after the correction."""
        return (self.low > 0 or self.high < 0) and self.p_adjusted < 1 - self.level

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {**asdict(self), "is_shown": self.is_shown}


def measure_drop(main: OnTest, further: OnTest, metric: str, settings: ScoreSettings) -> Drop:
    """The drop of an arm whose runs on both sets are of the same seeds, in the same order.

    The interval is that of the items, which is Newcombe's where the metric is between 0 and 1 (each score's
    own interval in Wilson's form, squared and added), widened by what the seeds add to the error.

    Source: Newcombe 1998, Statistics in Medicine 17(8), pp. 873-890, method 10; for any two independent
    estimates: Zou and Donner 2008, doi:10.1002/sim.3095. Seeds: as `estimate`.
    """
    measure = scores.get_metric(metric)
    values, spreads = [], []
    for side in (main, further):
        items_S = [run.items for run in side.runs]
        groups = scores.groups_of(side.runs[0], side.grouped)
        values.append(np.array([evaluate(measure, items) for items in items_S]))
        spreads.append(unanimous(item_spread(measure, items_S, groups), measure, items_S, groups))
    sign = 1 if measure.direction == "up" else -1
    values_S = sign * (values[0] - values[1])
    seeds = len(values_S)
    level = settings.level
    together = _independent_sum(spreads[0], spreads[1])
    estimated = estimate(values_S, together, [Side(0, seeds, 1.0)], level)
    interval = student_interval(estimated, level)
    if measure.direction == "up" and (measure.low, measure.high) == (0.0, 1.0):
        means = [float(value_S.mean()) for value_S in values]
        sizes = [len(side.runs[0]) for side in (main, further)]
        interval = _newcombe(means, spreads, sizes, estimated, level)
    span = measure.high - measure.low
    p_value = t_test(estimated.value, estimated.error, estimated.df)
    return Drop(
        metric=metric,
        value=estimated.value,
        low=max(interval.low, -span),
        high=min(interval.high, span),
        level=level,
        p_value=p_value,
        p_adjusted=p_value,
        seeds=seeds,
        note=_note(main, further),
    )


def adjust_drops(drops: Sequence[Drop]) -> list[Drop]:
    """The drops of a study, corrected together by Holm's method."""
    adjusted = holm([drop.p_value for drop in drops])
    return [replace(drop, p_adjusted=p_value) for drop, p_value in zip(drops, adjusted, strict=True)]


def _independent_sum(main: ItemSpread, further: ItemSpread) -> ItemSpread:
    """How the difference of each seed varies with the items of both sets."""
    variances = [float(spread.covariance_RR.mean()) for spread in (main, further)]
    total = sum(variances)
    df = min(main.df, further.df)
    if total > 0:  # Satterthwaite's
        df = total**2 / sum(
            variance**2 / spread.df for variance, spread in zip(variances, (main, further), strict=True)
        )
    return ItemSpread(main.covariance_RR + further.covariance_RR, df, main.clusters + further.clusters)


def _newcombe(
    means: Sequence[float],
    spreads: Sequence[ItemSpread],
    sizes: Sequence[int],
    estimated: Estimate,
    level: float,
) -> Interval:
    """Newcombe's interval over the items; the part of the seeds is added to both halves in quadrature."""
    ends = []
    for mean, spread, size in zip(means, spreads, sizes, strict=True):
        variance, own = float(spread.covariance_RR.mean()), mean * (1 - mean)
        effective = own / variance if variance > 0 and own > 0 else float(min(spread.clusters, size))
        ends.append(wilson_interval(mean, effective, level, spread.df))
    (main, further), (a, b) = ends, means
    student = student_interval(estimated, level)
    of_items = replace(estimated, error=estimated.item_error, df=estimated.item_df)
    half = (student.high - student.low) / 2
    item_half = student_interval(of_items, level)
    seeds = max(half**2 - ((item_half.high - item_half.low) / 2) ** 2, 0.0)
    below = ((a - main.low) ** 2 + (further.high - b) ** 2 + seeds) ** 0.5
    above = ((main.high - a) ** 2 + (b - further.low) ** 2 + seeds) ** 0.5
    return Interval(estimated.value - below, estimated.value + above)


def _note(main: OnTest, further: OnTest) -> str:
    notes = [scores.few_groups_note(scores.groups_of(side.runs[0], side.grouped)) for side in (main, further)]
    return "; ".join(dict.fromkeys(filter(None, notes)))

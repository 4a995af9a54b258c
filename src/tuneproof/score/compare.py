"""Comparisons: two arms on the same items, their difference, its interval, a test and an outcome.

In: predictions of two arms. Out: a Comparison with its sentence. Knows nothing of: models, files.

Shapes: S seeds, R = 2 S runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from tuneproof.errors import RunError
from tuneproof.inference.prediction import AnyPredictions
from tuneproof.metrics import Items, LabelItems, Metric, evaluate
from tuneproof.score import scores
from tuneproof.score.intervals import Estimate, Side, estimate, student_interval, t_quantile
from tuneproof.score.jackknife import item_spread
from tuneproof.score.power import smallest_detectable, smallest_detectable_mcnemar
from tuneproof.score.significance import holm, mcnemar_test, t_test
from tuneproof.score.verdict import Comparison, Outcome, comparison_sentence, judge_claim
from tuneproof.settings import ScoreSettings

Floats = NDArray[np.float64]

FEW_DISCORDANT = 10
FEW_IN_GROUPS_OR_SEEDS = 20  # fewer make the interval wider than necessary


@dataclass(frozen=True)
class _Pair:
    """Both arms on the same items, one entry per seed."""

    metric: Metric
    arm_S: list[Items]
    over_S: list[Items]
    groups: Sequence[str] | None
    paragraphs: Sequence[str] | None = None
    lone: tuple[bool, bool] = (False, False)


def compare(
    a: Sequence[AnyPredictions],
    b: Sequence[AnyPredictions],
    metric: str,
    name_a: str,
    name_b: str,
    settings: ScoreSettings,
    grouped: bool,
    with_chance: tuple[bool, bool] = (False, False),
) -> Comparison:
    """Compare arm `a` with arm `b`. Each is one list of predictions per seed; an arm without seeds has a
    single list, which is compared with every seed of the other arm. `with_chance`: which of the two vary with
    the seed, so that a single list is one of several possible runs (`estimate`).

    The interval is the difference plus and minus t standard errors over whole clusters of items
    (`item_spread`), and over the seeds if there are several (`estimate`), which count as independent between
    the arms. The test is Student's t with the same error and degrees of freedom; for accuracy on ungrouped
    items with one seed it is exact mid-p McNemar.

    Raises: RunError if the items or the numbers of seeds differ, or the metric does not apply.
    Source: Dietterich 1998 (McNemar); Miller 2024, arXiv:2411.00640, sections 2.2 and 4 (clusters, pairing).
    """
    scores.check_same_items([*a, *b], [name_a] * len(a) + [name_b] * len(b))
    seeds = max(len(a), len(b))
    if {len(a), len(b)} - {1, seeds}:
        problem = f"have {len(a)} and {len(b)} seeds."
        allowed = "Allowed: the same number of seeds, or one arm without seeds."
        raise RunError(f"{name_a} and {name_b}", problem, allowed, "Run both with the same seeds.")
    pair = _Pair(
        metric=scores.get_metric(metric),
        arm_S=[run.items for run in a] * (seeds // len(a)),
        over_S=[run.items for run in b] * (seeds // len(b)),
        groups=scores.groups_of(a[0], grouped),
        paragraphs=scores.paragraphs_of(a[0], grouped),
        lone=(with_chance[0] and len(a) < seeds, with_chance[1] and len(b) < seeds),
    )
    if pair.metric.incomparable:
        problem = f"arms are not compared by {metric}: {pair.metric.incomparable}."
        raise RunError(f"{name_a} and {name_b}", problem, do="Compare them by another metric.")
    if reason := scores.unavailable_reason(pair.metric, (*pair.arm_S, *pair.over_S)):
        raise RunError(f"{name_a} and {name_b}", reason, do="Compare them by another metric.")
    return _with_outcome(_compare_pair(pair, name_a, name_b, settings))


def _compare_pair(pair: _Pair, name_a: str, name_b: str, settings: ScoreSettings) -> Comparison:
    metric, seeds = pair.metric, len(pair.arm_S)
    n = int(metric.counted_N(pair.arm_S[0]).sum())
    runs = [*pair.arm_S, *pair.over_S]
    values_R = np.array([evaluate(metric, items) for items in runs])
    clusters, estimated = _estimate_difference(pair, values_R, pair.groups, settings)
    interval = student_interval(estimated, settings.level)
    only_arm, only_over = _count_discordant(pair)
    p_value, test = _test_difference(pair, estimated, (only_arm, only_over))
    return Comparison(
        arm=name_a,
        over=name_b,
        metric=metric.name,
        direction=metric.direction,
        in_points=metric.high - metric.low == 1.0,
        value=float(values_R[:seeds].mean()),
        over_value=float(values_R[seeds:].mean()),
        difference=estimated.value,
        low=max(interval.low, metric.low - metric.high),
        high=min(interval.high, metric.high - metric.low),
        level=settings.level,
        p_value=p_value,
        p_adjusted=p_value,
        claims=1,
        test=test,
        only_arm_right=only_arm,
        only_over_right=only_over,
        n=n,
        clusters=None if pair.groups is None else clusters,
        seeds=seeds,
        item_error=estimated.item_error,
        mde=_mde(
            test,
            estimated.error,
            estimated.df,
            (n, (only_arm + only_over) / n),
            settings.level,
            settings.power,
        ),
        error=estimated.error,
        df=estimated.df,
        item_df=estimated.item_df,
        seed_df=estimated.seed_df,
        power=settings.power,
        outcome="cannot tell",
        sentence="",
        note=_note(pair, (only_arm + only_over) / seeds),
        single_runs=tuple(name for name, lone in zip((name_a, name_b), pair.lone, strict=True) if lone),
        by_paragraph=_by_paragraph(pair, values_R, settings),
    )


def _estimate_difference(
    pair: _Pair, values_R: Floats, groups: Sequence[str] | None, settings: ScoreSettings
) -> tuple[int, Estimate]:
    """The number of clusters, and the difference with its standard error."""
    metric, runs = pair.metric, [*pair.arm_S, *pair.over_S]
    seeds = len(pair.arm_S)
    spread = item_spread(metric, runs, groups)
    sides = [Side(0, seeds, 1.0, pair.lone[0]), Side(seeds, seeds, -1.0, pair.lone[1])]
    estimated = estimate(values_R, spread, sides, settings.level)
    n = int(metric.counted_N(runs[0]).sum())
    graded = not metric.proportion and not isinstance(runs[0], LabelItems)
    if graded and estimated.item_error > 0:  # the floor counts items that are right or wrong
        return spread.clusters, estimated
    return spread.clusters, _with_minimum_error(
        estimated, _largest_change(metric, runs[0]) / n, settings.level
    )


def _by_paragraph(pair: _Pair, values_R: Floats, settings: ScoreSettings) -> dict[str, float] | None:
    """The interval of the difference if its clusters are paragraphs instead of whole groups."""
    if pair.paragraphs is None:
        return None
    clusters, estimated = _estimate_difference(pair, values_R, pair.paragraphs, settings)
    interval = student_interval(estimated, settings.level)
    return {"clusters": clusters, "low": interval.low, "high": interval.high}


def _note(pair: _Pair, discordant: float) -> str:
    notes = [note for note in [scores.few_groups_note(pair.groups)] if note]
    if any(pair.lone):
        notes.append("one run of an arm that varies with the seed: taken to vary as the other arm's runs do")
    plain = pair.groups is None and len(pair.arm_S) == 1
    enough = FEW_DISCORDANT if plain else FEW_IN_GROUPS_OR_SEEDS
    if discordant < enough:
        notes.append(f"the arms differ on fewer than {enough} items: the interval is coarse")
    return "; ".join(notes)


def _largest_change(metric: Metric, items: Items) -> float:
    """By how much one item that is right instead of wrong changes its part of the value; 0: any amount."""
    if isinstance(items, LabelItems) and metric.needs == "costs" and items.costs_CC is not None:
        return float(items.costs_CC.max())
    return float(metric.needs == "predicted")


def _with_minimum_error(estimated: Estimate, share: float, level: float) -> Estimate:
    """Raise the error to that of z^2 discordant items, as in Tango's interval without any.

    share: by how much one of them changes the value.

    Otherwise two arms that agree on all items would have an interval of zero width.

    Source: Tango 1998, Statistics in Medicine 17(8), pp. 891-908, with b = c = 0.
    """
    floor = t_quantile(level, inf) * share
    return replace(estimated, item_error=max(estimated.item_error, floor), error=max(estimated.error, floor))


def _count_discordant(pair: _Pair) -> tuple[int, int]:
    only_arm = only_over = 0
    for arm, over in zip(pair.arm_S, pair.over_S, strict=True):
        counted_N = pair.metric.counted_N(arm)
        only_arm += int((counted_N & arm.right_N & ~over.right_N).sum())
        only_over += int((counted_N & over.right_N & ~arm.right_N).sum())
    return only_arm, only_over


def _test_difference(pair: _Pair, estimated: Estimate, discordant: tuple[int, int]) -> tuple[float, str]:
    if pair.metric.proportion and pair.groups is None and len(pair.arm_S) == 1:
        return mcnemar_test(*discordant), "McNemar"
    return t_test(estimated.value, estimated.error, estimated.df), "t"


def _mde(
    test: str, error: float, df: float, discordant: tuple[int, float], level: float, power: float
) -> float:
    """The smallest detectable difference; `discordant`: the number of items, and the share that differs."""
    if test == "McNemar":
        return smallest_detectable_mcnemar(*discordant, level, power)
    return smallest_detectable(error, df, level, power)


def _with_outcome(comparison: Comparison) -> Comparison:
    """Set the outcome to better or worse only if the interval excludes 0 and p is below 1 - level after
    Holm's correction."""
    outcome: Outcome = "cannot tell"
    excludes_zero = comparison.low > 0 or comparison.high < 0
    if excludes_zero and comparison.p_adjusted < 1 - comparison.level:
        up = comparison.direction == "up"
        outcome = "better" if (comparison.difference > 0) == up else "worse"
    verdict = judge_claim(comparison)
    margin_outcome = verdict.outcome if verdict else ""
    decided = replace(comparison, outcome=outcome, margin_outcome=margin_outcome, withheld="", advice="")
    return replace(decided, sentence=comparison_sentence(decided))


def adjust(
    comparisons: Sequence[Comparison], hypotheses: int | None = None, additions: int = 0
) -> list[Comparison]:
    """Correct comparisons made together by Holm's method: p-values, MDEs, outcomes and sentences.

    Comparisons of the same two arms by one metric are one hypothesis, whichever is named first.
    `hypotheses`: how many there are in all, if more than these. `additions`: how often seeds were added after
    results. The first look spends the level, the k-th addition its 3 * 2^k-th part, so that all additions
    together spend a third of it once more, which the intervals' caution with few seeds leaves unspent. The
    MDE is that of the strictest step, which a comparison must pass if all others are of equal arms.

    Source: Holm 1979, Scandinavian Journal of Statistics 6(2); Lan and DeMets 1983, Biometrika 70(3).
    """
    p_values = {_hypothesis(comparison): comparison.p_value for comparison in comparisons}
    total = max(hypotheses or 0, len(p_values))
    factor = 3 * 2**additions if additions else 1
    adjusted = dict(zip(p_values, holm(list(p_values.values()), total), strict=True))
    corrected = [
        replace(c, p_adjusted=min(1.0, factor * adjusted[_hypothesis(c)]), claims=total, look_factor=factor)
        for c in comparisons
    ]
    return [_with_outcome(replace(comparison, mde=_corrected_mde(comparison))) for comparison in corrected]


def _hypothesis(comparison: Comparison) -> tuple[frozenset[str], str]:
    return frozenset((comparison.arm, comparison.over)), comparison.metric


def _corrected_mde(comparison: Comparison) -> float:
    c, level = comparison, comparison.corrected_level
    if c.error is None or c.df is None:
        return c.mde
    discordance = (c.only_arm_right + c.only_over_right) / c.n
    return _mde(c.test, c.error, c.df, (c.n, discordance), level, c.power)

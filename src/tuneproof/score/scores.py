"""Scores: a metric's value on the test items with its interval.

In: predictions, one list per seed. Out: {metric: Score}. Knows nothing of: models, files, other arms.

Shapes: S seeds.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.errors import RunError, did_you_mean
from tuneproof.inference.prediction import AnyPredictions
from tuneproof.metrics import METRICS, Items, Metric, evaluate, why_not_computable
from tuneproof.metrics.labels import CALIBRATION
from tuneproof.score.calibration import calibration_error
from tuneproof.score.intervals import Estimate, Interval, Side, estimate, student_interval, wilson_interval
from tuneproof.score.jackknife import item_spread, number_clusters, unanimous
from tuneproof.settings import ScoreSettings

Floats = NDArray[np.float64]

FEW_CLUSTERS = 20
FEW_ERRORS = 5
FEW_GOLDS = 5  # of a class that weighs as much as a frequent one


@dataclass(frozen=True)
class Score:
    """A metric's value, the mean over the seeds, with its interval `low` to `high`.

    `n` items in `clusters` groups (None if items are not grouped); `note` holds caveats; `by_paragraph` is
    the interval over paragraphs instead of whole groups (questions only): {clusters, low, high}.
    """

    metric: str
    value: float
    low: float
    high: float
    n: int
    clusters: int | None
    seeds: int
    method: str
    note: str
    by_paragraph: dict[str, float] | None = None


def as_json(scores: Mapping[str, Score]) -> dict[str, dict[str, Any]]:
    """scores.json: metric -> value, low, high, n, clusters, seeds, method, note, by_paragraph."""
    return {
        name: {key: value for key, value in asdict(score).items() if key != "metric"}
        for name, score in scores.items()
    }


def get_metric(name: str) -> Metric:
    """The metric with this name.

    Raises: RunError if there is none.
    """
    if name not in METRICS:
        raise RunError("metrics", f"{name} is not a metric.", did_you_mean(name, METRICS))
    return METRICS[name]


def check_same_items(runs: Sequence[AnyPredictions], names: Sequence[str]) -> None:
    """Refuse to compare runs that are not on the same items in the same order.

    Raises: RunError that names the two runs and the difference.
    """
    if not runs or len(runs[0]) == 0:
        raise RunError("score", "there are no predictions.", do="Run the arm again.")
    first, first_name = runs[0], names[0]
    for run, name in zip(runs[1:], names[1:], strict=True):
        both = f"{first_name} and {name}" if name != first_name else f"the seeds of {name}"
        advice = "Run both arms in one study, so that they share the same items."
        if run.labels != first.labels:
            difference = f"the labels differ: {', '.join(first.labels)} versus {', '.join(run.labels)}."
            raise RunError(both, difference, do=advice)
        if list(run.ids) != list(first.ids):
            ours, theirs = set(first.ids), set(run.ids)
            shared = len(ours & theirs)
            if ours == theirs and len(run) == len(first):
                difference = f"the {len(first)} items are in a different order."
            else:
                difference = (
                    f"the items differ: {len(first)} and {len(run)} items, of which {shared} ids are shared."
                )
            raise RunError(both, difference, "Only scores on the same items are comparable.", advice)
        ours_gold, theirs_gold = first.gold_names, run.gold_names
        wrong = [index for index, gold in enumerate(ours_gold) if theirs_gold[index] != gold]
        if wrong:
            index = wrong[0]
            golds = f"{ours_gold[index]} and {theirs_gold[index]}"
            difference = f"the gold {'labels' if run.kind == 'labels' else 'answers'} of {len(wrong)} "
            difference += f"items differ, first {first.ids[index]}: {golds}."
            raise RunError(both, difference, do=advice)


def groups_of(predictions: AnyPredictions, grouped: bool) -> Sequence[str] | None:
    """The items' groups; None if items are not grouped or each item is its own group."""
    if not grouped or len(set(predictions.groups)) == len(predictions):
        return None
    return predictions.groups


def effective_clusters(groups: Sequence[str]) -> float:
    """How many equal groups these are worth: (sum n_g)^2 / sum n_g^2 for groups of n_g items.

    A mean over 30 groups, one of which holds 40 % of the items, varies as a mean over 6 does.

    Source: Kish 1965, Survey Sampling, section 11.7; for clusters: Carter, Schnepel and Steigerwald 2017,
    doi:10.1162/REST_a_00639.
    """
    sizes = np.array(list(Counter(groups).values()), dtype=float)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def few_groups_note(groups: Sequence[str] | None) -> str:
    """The note on an interval over too few groups; empty if there are enough of them."""
    if groups is None:
        return ""
    sizes = np.array(list(Counter(groups).values()), dtype=float)
    effective = effective_clusters(groups)
    if effective >= FEW_CLUSTERS:
        return ""
    if len(sizes) < FEW_CLUSTERS:
        return f"only {len(sizes)} groups: the interval may be too narrow"
    largest = f"{100 * sizes.max() / sizes.sum():.0f} %"
    return (
        f"{len(sizes):,} groups of uneven size (the largest has {largest} of the items) "
        f"are worth {effective:.0f} equal ones: the interval may be too narrow"
    )


def paragraphs_of(predictions: AnyPredictions, grouped: bool) -> Sequence[str] | None:
    """The questions' paragraphs if these are a finer grouping than the groups, else None."""
    paragraphs = predictions.paragraphs
    if paragraphs is None or groups_of(predictions, grouped) is None:
        return None
    return paragraphs if len(set(paragraphs)) > len(set(predictions.groups)) else None


def score(
    predictions: Sequence[AnyPredictions],
    metrics: Sequence[str] | None,
    settings: ScoreSettings,
    grouped: bool,
) -> dict[str, Score]:
    """Score one arm: one list of predictions per seed, all on the same items in the same order.

    `metrics` None: every metric that the predictions allow. `grouped`: whole groups of items vary
    together. With one seed and ungrouped items, the interval of accuracy is Wilson's. Other metrics
    between 0 and 1 have Wilson's form too, with n the number of independent items that would have
    the same error (`item_spread`), because Student's covers too little near 1. Metrics with another range
    have Student's interval.

    Raises: RunError if the items differ between seeds or a metric cannot be computed.
    """
    check_same_items(predictions, ["this arm"] * len(predictions))
    items_S: list[Items] = [run.items for run in predictions]
    chosen = _select_metrics(items_S, metrics)
    groups = groups_of(predictions[0], grouped)
    paragraphs = paragraphs_of(predictions[0], grouped)
    scores: dict[str, Score] = {}
    for metric in chosen:
        if metric.proportion and groups is None and len(items_S) == 1:
            value, n = evaluate(metric, items_S[0]), len(items_S[0])
            interval = wilson_interval(value, n, settings.level)
            scores[metric.name] = _make_score(metric, value, interval, items_S, None, "Wilson")
            continue
        scores[metric.name] = _clustered_score(metric, items_S, groups, settings)
        if paragraphs is not None:
            fine = _clustered_score(metric, items_S, paragraphs, settings)
            scores[metric.name] = _with_paragraph_interval(scores[metric.name], fine)
    return scores


def _with_paragraph_interval(score: Score, fine: Score) -> Score:
    clusters = fine.clusters or 0
    return replace(score, by_paragraph={"clusters": clusters, "low": fine.low, "high": fine.high})


def unavailable_reason(metric: Metric, items_S: Sequence[Items]) -> str:
    """Why the metric cannot be computed on some seed's items; empty if it can be on all."""
    return next((reason for items in items_S if (reason := why_not_computable(metric, items))), "")


def _select_metrics(items_S: Sequence[Items], names: Sequence[str] | None) -> list[Metric]:
    if names is None:
        return [metric for metric in METRICS.values() if not unavailable_reason(metric, items_S)]
    chosen = [get_metric(name) for name in names]
    for metric in chosen:
        if reason := unavailable_reason(metric, items_S):
            raise RunError("metrics", reason, do="Leave it out of the metrics.")
    return chosen


def _clustered_score(
    metric: Metric, items_S: Sequence[Items], groups: Sequence[str] | None, settings: ScoreSettings
) -> Score:
    """The score with its error over whole clusters of items and over the seeds."""
    if metric is CALIBRATION:
        value, interval = calibration_error(items_S, groups, settings.level)
        return _make_score(metric, value, interval, items_S, groups, "jackknife of the square")
    spread = unanimous(item_spread(metric, items_S, groups), metric, items_S, groups)
    values_S = np.array([evaluate(metric, items) for items in items_S])
    estimated = estimate(values_S, spread, [Side(0, len(items_S), 1.0)], settings.level)
    effective = spread.clusters if groups is None else effective_clusters(groups)
    interval, form = _interval(metric, estimated, items_S[0], effective, settings.level)
    units = "items" if groups is None else "whole groups"
    varied = f"{units} and seeds" if len(items_S) > 1 else units
    method = f"jackknife over {varied}, {form}"
    return _make_score(metric, estimated.value, interval, items_S, groups, method)


def _interval(
    metric: Metric, estimated: Estimate, items: Items, clusters: float, level: float
) -> tuple[Interval, str]:
    if metric.direction == "up" and (metric.low, metric.high) == (0.0, 1.0):
        spread = estimated.value * (1 - estimated.value)
        if estimated.error > 0 and spread > 0:
            effective = spread / estimated.error**2
        else:  # all right or all wrong: the rarest label's items bound what is known
            support_C = np.bincount(items.gold_N)
            rarest = len(items) if metric.proportion else int(support_C[support_C > 0].min())
            effective = float(min(clusters, rarest))
        return wilson_interval(estimated.value, effective, level, estimated.df), "Wilson's form"
    interval = student_interval(estimated, level)
    return Interval(max(metric.low, interval.low), min(metric.high, interval.high)), "Student's form"


def _mean_clusters(
    items_S: Sequence[Items], counted_N: NDArray[np.bool_], cluster_N: NDArray[np.int64]
) -> list[float]:
    """How many clusters have a right answer, and how many a wrong one: the mean over the seeds."""
    masks = ([run.right_N & counted_N for run in items_S], [~run.right_N & counted_N for run in items_S])
    return [float(np.mean([len(np.unique(cluster_N[mask])) for mask in mask_S])) for mask_S in masks]


def _make_score(
    metric: Metric,
    value: float,
    interval: Interval,
    items_S: Sequence[Items],
    groups: Sequence[str] | None,
    method: str,
) -> Score:
    notes = [note for note in (metric.note, few_groups_note(groups)) if note]
    clusters = None if groups is None else len(set(groups))
    rarest = metric.rarest_class(items_S[0])
    if rarest is not None and rarest[1] < FEW_GOLDS:
        items = "1 item" if rarest[1] == 1 else f"{rarest[1]} items"
        notes.append(f"only {items} of {rarest[0]}: the interval may be too narrow")
    counted_N = metric.counted_N(items_S[0])
    n = int(counted_N.sum())
    cluster_N = number_clusters(groups, len(counted_N))
    if min(_mean_clusters(items_S, counted_N, cluster_N)) < FEW_ERRORS:
        where = "" if groups is None else "groups with "
        notes.append(f"fewer than {FEW_ERRORS} {where}right or wrong answers: the interval is coarse")
    low, high, note = interval.low, interval.high, "; ".join(notes)
    return Score(metric.name, value, low, high, n, clusters, len(items_S), method, note)

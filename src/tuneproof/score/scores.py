"""Scores: a metric's value on the test items with its interval.

In: predictions, one list per seed. Out: {metric: Score}. Knows nothing of: models, files, other arms.

Shapes: N items, G clusters, S seeds, K statistics, B draws.
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
from tuneproof.score.intervals import Estimate, Interval, Side, estimate, student_interval, wilson_interval
from tuneproof.score.resample import cluster_sums, resampled_totals
from tuneproof.settings import ScoreSettings

Floats = NDArray[np.float64]

FEW_CLUSTERS = 20
FEW_ERRORS = 5
FEW_GOLDS = 5  # of a class that weighs as much as a frequent one


@dataclass(frozen=True)
class Score:
    """A metric's value, the mean over the seeds, with its interval `low` to `high`.

    `n` items in `clusters` groups (None if items are not grouped); `note` holds caveats; `by_paragraph` is
    the interval if paragraphs are resampled instead of whole groups (questions only): {clusters, low, high}.
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


def few_groups_note(groups: Sequence[str] | None) -> str:
    """The note on an interval over too few groups; empty if there are enough of them.

    Groups of different sizes n_g are worth (sum n_g)^2 / sum n_g^2 equal ones: a mean over 30 groups, one of
    which holds 40 % of the items, varies as a mean over 6 does.

    Source: Kish 1965, Survey Sampling, section 11.7; for clusters: Carter, Schnepel and Steigerwald 2017,
    doi:10.1162/REST_a_00639.
    """
    if groups is None:
        return ""
    sizes = np.array(list(Counter(groups).values()), dtype=float)
    effective = float(sizes.sum() ** 2 / (sizes**2).sum())
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

    `metrics` None: every metric that the predictions allow. `grouped`: resample whole groups of
    items. With one seed and ungrouped items, the interval of accuracy is Wilson's. Other metrics
    between 0 and 1 have Wilson's form too, with n the number of independent items that would have
    the bootstrap's error, because percentiles of the draws cover too little near 1. Metrics with
    another range have Student's interval with the bootstrap's error.

    Raises: RunError if the items differ between seeds or a metric cannot be computed.
    """
    check_same_items(predictions, ["this arm"] * len(predictions))
    items_S: list[Items] = [run.items for run in predictions]
    chosen = _select_metrics(items_S, metrics)
    groups = groups_of(predictions[0], grouped)
    paragraphs = paragraphs_of(predictions[0], grouped)
    rng = np.random.default_rng(settings.seed)
    scores: dict[str, Score] = {}
    for needs in ("predicted", "probabilities"):
        some = [metric for metric in chosen if metric.needs == needs]
        plain = [m for m in some if m.proportion and groups is None and len(items_S) == 1]
        for metric in plain:
            value, n = evaluate(metric, items_S[0]), len(items_S[0])
            interval = wilson_interval(value, n, settings.level)
            scores[metric.name] = _make_score(metric, value, interval, items_S, None, "Wilson")
        rest = [metric for metric in some if metric not in plain]
        if rest:
            scores |= _bootstrap_scores(rest, items_S, groups, settings, rng)
        if rest and paragraphs is not None:
            fine = _bootstrap_scores(rest, items_S, paragraphs, settings, rng)
            scores |= {name: _with_paragraph_interval(scores[name], fine[name]) for name in fine}
    return {metric.name: scores[metric.name] for metric in chosen}


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


def _bootstrap_scores(
    metrics: Sequence[Metric],
    items_S: Sequence[Items],
    groups: Sequence[str] | None,
    settings: ScoreSettings,
    rng: np.random.Generator,
) -> dict[str, Score]:
    """Score metrics with the same needs on the same draws: their statistics share one row."""
    kinds = list({metric.per_item: metric for metric in metrics}.values())
    seeds, labels = len(items_S), items_S[0].classes
    blocks = [np.hstack([kind.per_item(items) for items in items_S]) for kind in kinds]
    rows_GK = cluster_sums(np.hstack(blocks), groups)
    totals_BK = resampled_totals(rows_GK, settings.draws, rng)
    ends = np.cumsum([block.shape[1] for block in blocks])
    columns = {
        kind.per_item: (end - b.shape[1], end) for kind, b, end in zip(kinds, blocks, ends, strict=True)
    }
    side = Side(0, seeds, 1.0)
    scores = {}
    for metric in metrics:
        start, end = columns[metric.per_item]
        draws_BS = metric.from_totals(totals_BK[:, start:end].reshape(len(totals_BK), seeds, -1), labels)
        values_S = np.array([evaluate(metric, items) for items in items_S])
        estimated = estimate(values_S, draws_BS, [side], len(rows_GK), settings.level, rng)
        interval, form = _interval(metric, estimated, items_S[0], len(rows_GK), settings.level)
        units = "items" if groups is None else "whole groups"
        drawn = f"{units} and seeds" if seeds > 1 else units
        method = f"bootstrap of {drawn} ({settings.draws:,} draws), {form}"
        scores[metric.name] = _make_score(metric, estimated.value, interval, items_S, groups, method)
    return scores


def _interval(
    metric: Metric, estimated: Estimate, items: Items, clusters: int, level: float
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
    right = np.mean([(items.right_N & counted_N).sum() for items in items_S])
    if min(right, n - right) < FEW_ERRORS:
        notes.append(f"fewer than {FEW_ERRORS} right or wrong answers: the interval is coarse")
    low, high, note = interval.low, interval.high, "; ".join(notes)
    return Score(metric.name, value, low, high, n, clusters, len(items_S), method, note)

"""Scores: a metric's value on the test items with its interval.

In: predictions, one list a seed. Out: name to Score. Knows nothing of: models, files, other arms.

Shapes: N items, G clusters, S seeds, K statistics, B draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.errors import RunError, did_you_mean
from tuneproof.inference.prediction import Predicted
from tuneproof.metrics import METRICS, Items, Metric, evaluate, why_not
from tuneproof.score.intervals import Estimate, Interval, Side, estimate, student, wilson
from tuneproof.score.resample import cluster_sums, resampled_totals
from tuneproof.settings import ScoreSettings

Floats = NDArray[np.float64]

FEW_CLUSTERS = 20
FEW_ERRORS = 5


@dataclass(frozen=True)
class Score:
    """A metric's value: the mean over the seeds, with an interval that holds `low` and `high`.

    `n` items in `clusters` groups (None where items are not grouped); `note` says what to beware of;
    `by_paragraph` is the interval where paragraphs are resampled instead of whole groups (questions
    alone): {clusters, low, high}.
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


def metric_named(name: str) -> Metric:
    """The metric on the shelf.

    Raises: RunError where there is none of the name.
    """
    if name not in METRICS:
        raise RunError("metrics", f"{name} is not a metric.", did_you_mean(name, METRICS))
    return METRICS[name]


def check_same_items(runs: Sequence[Predicted], names: Sequence[str]) -> None:
    """Refuse to set runs side by side that do not stand on the same items in the same order.

    Raises: RunError naming the two runs and the difference.
    """
    if not runs or len(runs[0]) == 0:
        raise RunError("score", "there are no predictions.", do="Run the arm again.")
    first, where = runs[0], names[0]
    for run, name in zip(runs[1:], names[1:], strict=True):
        both = f"{where} and {name}" if name != where else f"{name}, its seeds"
        again = "Run both arms in one study, so that they share its frozen items."
        if run.labels != first.labels:
            found = f"labels differ: {', '.join(first.labels)} and {', '.join(run.labels)}."
            raise RunError(both, found, do=again)
        if list(run.ids) != list(first.ids):
            ours, theirs = set(first.ids), set(run.ids)
            shared = len(ours & theirs)
            if ours == theirs and len(run) == len(first):
                found = f"the {len(first)} items stand in another order."
            else:
                found = (
                    f"the items differ: {len(first)} and {len(run)} items, of which {shared} ids are shared."
                )
            raise RunError(both, found, "Only scores on the same items compare.", again)
        ours_gold, theirs_gold = first.gold_names, run.gold_names
        wrong = [at for at, gold in enumerate(ours_gold) if theirs_gold[at] != gold]
        if wrong:
            at = wrong[0]
            golds = f"{ours_gold[at]} and {theirs_gold[at]}"
            found = f"the gold {'labels' if run.kind == 'labels' else 'answers'} of {len(wrong)} "
            found += f"items differ, first {first.ids[at]}: {golds}."
            raise RunError(both, found, do=again)


def groups_of(predictions: Predicted, grouped: bool) -> Sequence[str] | None:
    """The items' groups, or None where groups mean nothing or every item is its own."""
    if not grouped or len(set(predictions.groups)) == len(predictions):
        return None
    return predictions.groups


def paragraphs_of(predictions: Predicted, grouped: bool) -> Sequence[str] | None:
    """The questions' paragraphs where these are a finer grouping than the groups, else None."""
    found = predictions.paragraphs
    if found is None or groups_of(predictions, grouped) is None:
        return None
    return found if len(set(found)) > len(set(predictions.groups)) else None


def score(
    predictions: Sequence[Predicted], metrics: Sequence[str] | None, settings: ScoreSettings, grouped: bool
) -> dict[str, Score]:
    """Score one arm: one list of predictions a seed, all on the same items in the same order.

    `metrics` None: all that the predictions allow. `grouped`: the items' groups mean something,
    and whole groups are resampled. The interval of accuracy is Wilson's where items are neither
    grouped nor of several seeds. Elsewhere its form is kept for metrics between 0 and 1, and n is
    the number of independent items that would have the bootstrap's error; percentiles of the draws
    cover too little near 1. Metrics of another range have Student's interval with that error.

    Raises: RunError where items differ between the seeds or a metric cannot be computed.
    """
    check_same_items(predictions, ["this arm"] * len(predictions))
    items_S: list[Items] = [run.items for run in predictions]
    chosen = _chosen(items_S, metrics)
    groups = groups_of(predictions[0], grouped)
    paragraphs = paragraphs_of(predictions[0], grouped)
    rng = np.random.default_rng(settings.seed)
    found: dict[str, Score] = {}
    for needs in ("predicted", "probabilities"):
        some = [metric for metric in chosen if metric.needs == needs]
        plain = [m for m in some if m.proportion and groups is None and len(items_S) == 1]
        for metric in plain:
            value, n = evaluate(metric, items_S[0]), len(items_S[0])
            interval = wilson(value, n, settings.level)
            found[metric.name] = _score(metric, value, interval, items_S, None, "Wilson")
        rest = [metric for metric in some if metric not in plain]
        if rest:
            found |= _bootstrapped(rest, items_S, groups, settings, rng)
        if rest and paragraphs is not None:
            fine = _bootstrapped(rest, items_S, paragraphs, settings, rng)
            found |= {name: _with_fine(found[name], fine[name]) for name in fine}
    return {metric.name: found[metric.name] for metric in chosen}


def _with_fine(score: Score, fine: Score) -> Score:
    clusters = fine.clusters or 0
    return replace(score, by_paragraph={"clusters": clusters, "low": fine.low, "high": fine.high})


def why_not_any(metric: Metric, items_S: Sequence[Items]) -> str:
    """Why the metric cannot be computed on one of the seeds' items; empty where it can on all."""
    return next((reason for items in items_S if (reason := why_not(metric, items))), "")


def _chosen(items_S: Sequence[Items], names: Sequence[str] | None) -> list[Metric]:
    if names is None:
        return [metric for metric in METRICS.values() if not why_not_any(metric, items_S)]
    chosen = [metric_named(name) for name in names]
    for metric in chosen:
        reason = why_not_any(metric, items_S)
        if reason:
            raise RunError("metrics", reason, do="Leave it out of the metrics.")
    return chosen


def _bootstrapped(
    metrics: Sequence[Metric],
    items_S: Sequence[Items],
    groups: Sequence[str] | None,
    settings: ScoreSettings,
    rng: np.random.Generator,
) -> dict[str, Score]:
    """Metrics of like needs share their draws: their statistics stand side by side in one row."""
    kinds = list({metric.per_item: metric for metric in metrics}.values())
    seeds, labels = len(items_S), items_S[0].classes
    blocks = [np.hstack([kind.per_item(items) for items in items_S]) for kind in kinds]
    rows_GK = cluster_sums(np.hstack(blocks), groups)
    totals_BK = resampled_totals(rows_GK, settings.draws, rng)
    ends = np.cumsum([block.shape[1] for block in blocks])
    place = {kind.per_item: (end - b.shape[1], end) for kind, b, end in zip(kinds, blocks, ends, strict=True)}
    side = Side(0, seeds, 1.0)
    scores = {}
    for metric in metrics:
        start, end = place[metric.per_item]
        draws_BS = metric.from_totals(totals_BK[:, start:end].reshape(len(totals_BK), seeds, -1), labels)
        values_S = np.array([evaluate(metric, items) for items in items_S])
        found = estimate(values_S, draws_BS, [side], len(rows_GK), settings.level, rng)
        interval, form = _interval(metric, found, items_S[0], len(rows_GK), settings.level)
        what = "items" if groups is None else "whole groups"
        drawn = f"{what} and seeds" if seeds > 1 else what
        method = f"bootstrap of {drawn} ({settings.draws:,} draws), {form}"
        clusters = None if groups is None else len(rows_GK)
        scores[metric.name] = _score(metric, found.value, interval, items_S, clusters, method)
    return scores


def _interval(
    metric: Metric, found: Estimate, items: Items, clusters: int, level: float
) -> tuple[Interval, str]:
    if metric.direction == "up" and (metric.low, metric.high) == (0.0, 1.0):
        spread = found.value * (1 - found.value)
        if found.error > 0 and spread > 0:
            effective = spread / found.error**2
        else:  # all right or all wrong: no more is known than from the rarest label's items
            support_C = np.bincount(items.gold_N)
            rarest = len(items) if metric.proportion else int(support_C[support_C > 0].min())
            effective = float(min(clusters, rarest))
        return wilson(found.value, effective, level, found.freedom), "Wilson's form"
    interval = student(found, level)
    return Interval(max(metric.low, interval.low), min(metric.high, interval.high)), "Student's form"


def _score(
    metric: Metric,
    value: float,
    interval: Interval,
    items_S: Sequence[Items],
    clusters: int | None,
    method: str,
) -> Score:
    notes = [metric.note] if metric.note else []
    if clusters is not None and clusters < FEW_CLUSTERS:
        notes.append(f"only {clusters} groups: the interval may be too narrow")
    counted_N = metric.counted_N(items_S[0])
    n = int(counted_N.sum())
    right = np.mean([(items.right_N & counted_N).sum() for items in items_S])
    rarer = min(right, n - right)
    if rarer < FEW_ERRORS:
        notes.append(f"fewer than {FEW_ERRORS} right or wrong answers: the interval is coarse")
    return Score(
        metric=metric.name,
        value=value,
        low=interval.low,
        high=interval.high,
        n=n,
        clusters=clusters,
        seeds=len(items_S),
        method=method,
        note="; ".join(notes),
    )

"""Error analysis: confusion matrices, accuracy by class, length and group, calibration.

In: rows of arms, their predictions, the items. Out: plain values for the page.
Knows nothing of: HTML, drawing, how predictions were made.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.inference.answers import AnswerPredictions
from tuneproof.inference.prediction import AnyPredictions, read_predictions
from tuneproof.metrics.labels import BINS, CALIBRATION, LOG_LOSS, confusion
from tuneproof.metrics.metric import UNPARSED, LabelItems, Metric, evaluate
from tuneproof.record.study_folder import DEV_PREDICTIONS, PREDICTIONS, Items
from tuneproof.report.charts.calibration import Bin
from tuneproof.report.tables import ArmRow, Score
from tuneproof.score.calibration import apply_temperature, fit_temperature
from tuneproof.score.intervals import exact_interval, wilson_interval

LEVEL = 0.95
PARTS = 4
MAX_VALUES = 12
WORST_GROUPS = 10

Cut = Callable[[NDArray[np.float64]], list["Slice"]]  # of scores [A, N] of arms on items


@dataclass(frozen=True)
class ArmPredictions:
    """One arm's predictions on test, one run per seed; `index` is that of the arm's row.

    `dev_runs` are the same seeds' predictions on dev, None if the study was moved without them.
    """

    index: int
    row: ArmRow
    seeds: tuple[int | None, ...]
    runs: tuple[AnyPredictions, ...]
    dev_runs: tuple[AnyPredictions | None, ...] = ()


@dataclass(frozen=True)
class Confusion:
    """Counts summed over an arm's seeds: rows are gold labels, columns predictions, the last `unparsed`."""

    predictions: ArmPredictions
    labels: tuple[str, ...]
    counts: list[list[int]]
    unparsed: int
    items: int


@dataclass(frozen=True)
class Slice:
    """Some of the test items, and each arm's accuracy on them with Wilson's interval.

    For questions the accuracy is F1, and `exact_match` holds each arm's exact match.
    """

    name: str
    items: int
    accuracies: list[Score]
    exact_match: tuple[float, ...] = ()


@dataclass(frozen=True)
class Calibration:
    """One arm's bins as predicted (`before`) and at the temperatures fitted on dev, one per seed
    (`after`), with the calibration errors and log losses. Without predictions on dev `after` is empty.
    """

    predictions: ArmPredictions
    before: list[Bin]
    after: list[Bin]
    error_before: float
    error_after: float | None
    loss_before: float
    loss_after: float | None
    temperatures: list[float]


def read_arm_predictions(rows: Sequence[ArmRow]) -> list[ArmPredictions]:
    """Read the predictions of every arm that has any."""
    predictions = []
    for index, row in enumerate(rows):
        done = [record for record in row.records if (record.folder / PREDICTIONS).is_file()]
        if done:
            seeds = tuple(record.about.get("seed") for record in done)
            runs = tuple(read_predictions(record.folder / PREDICTIONS) for record in done)
            dev_runs = tuple(
                read_predictions(path) if path.is_file() else None
                for path in (record.folder / DEV_PREDICTIONS for record in done)
            )
            predictions.append(ArmPredictions(index, row, seeds, runs, dev_runs))
    return predictions


def _items_of(run: AnyPredictions) -> LabelItems:
    return LabelItems(run.labels, run.gold_N, run.predicted_N, run.probabilities_NC)


def constant_predictions(arms: Sequence[ArmPredictions]) -> list[str]:
    """A sentence per tuned or prompted run that predicts the same label for every test item."""
    sentences = []
    for arm in arms:
        for seed, run in zip(arm.seeds, arm.runs, strict=True):
            if run.kind != "labels" or arm.row.kind == "baseline" or not len(run.predicted_N):
                continue
            first = int(run.predicted_N[0])
            if first != UNPARSED and (run.predicted_N == first).all():
                name = arm.row.label if seed is None else f"{arm.row.label}, seed {seed},"
                sentences.append(
                    f"{name} predicts {run.labels[first]} for every test item: it has learnt nothing "
                    "that separates the labels."
                )
    return sentences


def count_confusions(arms: Sequence[ArmPredictions]) -> list[Confusion]:
    """A confusion matrix per arm, summed over its seeds; none where every question has an answer."""
    confusions = []
    for arm in arms:
        if isinstance(arm.runs[0], AnswerPredictions) and all(arm.runs[0].golds):
            continue
        first, total = arm.runs[0], sum(confusion(_items_of(run)) for run in arm.runs)
        unparsed = sum(int((run.predicted_N == UNPARSED).sum()) for run in arm.runs)
        confusions.append(Confusion(arm, first.labels, np.asarray(total).tolist(), unparsed, len(first)))
    return confusions


def _mean_correct(arm: ArmPredictions, ids: Sequence[str]) -> NDArray[np.float64]:
    """The share of an arm's seeds that are right on each id; NaN for an id without a prediction."""
    total_N = np.zeros(len(ids))
    for run in arm.runs:
        right_N = run.right_N.astype(np.float64)
        correct_by_id = dict(zip(run.ids, right_N, strict=True))
        total_N += np.array([correct_by_id.get(id_, np.nan) for id_ in ids])
    return total_N / len(arm.runs)


def make_slice(
    name: str, inside_N: NDArray[np.bool_], right_AN: NDArray[np.float64], candidates: int = 1
) -> Slice:
    """The arms' means on some items, with Wilson's interval (too wide for means of non-binary scores).

    A slice that was chosen among several `candidates` for its mean gets the exact interval at Bonferroni's
    level, at which the intervals of all candidates hold together, and so that of the chosen one.
    """
    items = int(inside_N.sum())
    scores = []
    for value in right_AN[:, inside_N].mean(axis=1).tolist():
        if candidates == 1:
            bounds = wilson_interval(value, items, LEVEL)
        else:
            bounds = exact_interval(value, items, 1 - (1 - LEVEL) / candidates)
        scores.append(Score(value, bounds.low, bounds.high, items))
    return Slice(name, items, scores)


def slice_by_quartile(values_N: NDArray[Any], right_AN: NDArray[np.float64], unit: str = "") -> list[Slice]:
    """Slice the items into quartiles of a number; equal numbers stay together."""
    edges = np.unique(np.quantile(values_N, np.linspace(0, 1, PARTS + 1)[1:], method="lower"))
    slices: list[Slice] = []
    done_N = np.zeros(len(values_N), dtype=bool)
    for edge in edges:
        inside_N = ~done_N & (values_N <= edge)
        done_N |= inside_N
        low, high = f"{values_N[inside_N].min():g}", f"{edge:g}"
        name = low if low == high else f"{low} to {high}"
        slices.append(make_slice(f"{name}{unit}", inside_N, right_AN))
    return slices


def _slice_by_value(values: Sequence[str], right_AN: NDArray[np.float64]) -> list[Slice]:
    """Slice by the values of a user's column: quartiles of many numbers, or the commonest of many
    words and the rest together.
    """
    values_N = np.array(values, dtype=object).astype(str)
    names, counts = np.unique(values_N, return_counts=True)
    if len(names) > MAX_VALUES:
        try:
            numbers_N = values_N.astype(np.float64)
        except ValueError:
            numbers_N = np.full(1, np.nan)
        if np.isfinite(numbers_N).all():
            return slice_by_quartile(numbers_N, right_AN)
    commonest = names[np.argsort(-counts, kind="stable")[:MAX_VALUES]]
    slices = [
        make_slice(name or "(empty)", values_N == name, right_AN) for name in sorted(commonest.tolist())
    ]
    rest_N = ~np.isin(values_N, commonest)
    if rest_N.any():
        slices.append(make_slice(f"{len(names) - len(commonest)} rarer values", rest_N, right_AN))
    return slices


def hardest_groups(groups: Sequence[str], score_N: NDArray[np.float64]) -> tuple[str, Cut] | None:
    """The groups of at least three items with the lowest mean score, lowest first; None without any.

    Returns a title that says among how many they were chosen, and how to slice scores [A, N] by them.
    """
    names, group_N, size_G = np.unique(
        np.array(groups, dtype=object).astype(str), return_inverse=True, return_counts=True
    )
    mean_G = np.bincount(group_N, weights=score_N) / size_G
    order = [index for index in np.lexsort((names, mean_G)) if size_G[index] >= 3]
    if not order:
        return None
    hardest = order[:WORST_GROUPS]
    choice = "(three items or more; intervals corrected for the choice)"
    title = f"the {len(hardest)} hardest of {len(order):,} {choice}"
    return title, lambda values_AN: [
        make_slice(str(names[i]), group_N == i, values_AN, len(order)) for i in hardest
    ]


def _slice_by_group(groups: Sequence[str], right_AN: NDArray[np.float64]) -> dict[str, list[Slice]]:
    hardest = hardest_groups(groups, right_AN.mean(axis=0))
    return {f"by group: {hardest[0]}": hardest[1](right_AN)} if hardest else {}


def _slice_by_columns(
    ids: Sequence[str], items: Items, right_AN: NDArray[np.float64]
) -> dict[str, list[Slice]]:
    """Slices by text length and by the user's columns; empty if the study has no texts."""
    row_by_id = {name: row for row, name in enumerate(items.ids)}
    if not set(ids) <= row_by_id.keys():
        return {}
    rows = [row_by_id[name] for name in ids]
    words_N = np.array([len(items.texts[row].split()) for row in rows])
    slices = {"by text length": slice_by_quartile(words_N, right_AN, " words")}
    for name, values in items.own.items():
        slices[f"by {name}"] = _slice_by_value([values[row] for row in rows], right_AN)
    return slices


def common_rows(arms: Sequence[ArmPredictions]) -> list[int]:
    """The rows of the first run whose items every run of every arm predicted."""
    ids = arms[0].runs[0].ids
    common = set(ids).intersection(*(run.ids for arm in arms for run in arm.runs))
    return [row for row, name in enumerate(ids) if name in common]


def slice_scores(arms: Sequence[ArmPredictions], items: Items) -> dict[str, list[Slice]]:
    """Accuracy of every arm by class, by text length, by the user's columns and by group."""
    if not arms:
        return {}
    first = arms[0].runs[0]
    rows = common_rows(arms)
    if not rows:
        return {}
    ids = [first.ids[row] for row in rows]
    right_AN = np.stack([_mean_correct(arm, ids) for arm in arms])
    slices = {"by label": _slice_by_label(arms, first.gold_N[rows], right_AN)}
    slices |= _slice_by_columns(ids, items, right_AN)
    slices |= _slice_by_group([first.groups[row] for row in rows], right_AN)
    return {name: parts for name, parts in slices.items() if parts}


def _slice_by_label(
    arms: Sequence[ArmPredictions], gold_N: NDArray[np.int64], right_AN: NDArray[np.float64]
) -> list[Slice]:
    """A slice for every label that items have; of two labels the positive one as in the scores."""
    first = arms[0].runs[0]
    inside = {label: gold_N == index for index, label in enumerate(first.labels)}
    slices = [make_slice(label, inside_N, right_AN) for label, inside_N in inside.items() if inside_N.any()]
    if len(first.labels) != 2 or len(gold_N) < len(first):
        return slices
    return [_with_recall(part, arms) if part.name == first.labels[1] else part for part in slices]


def _with_recall(positive: Slice, arms: Sequence[ArmPredictions]) -> Slice:
    """The positive class with the study's intervals of recall, which is the accuracy on these items."""
    recalls = [arm.row.scores.get("recall") for arm in arms]
    pairs = zip(recalls, positive.accuracies, strict=True)
    return replace(positive, accuracies=[recall or accuracy for recall, accuracy in pairs])


def _bins(runs: Sequence[LabelItems]) -> list[Bin]:
    if not runs:
        return []
    totals_K = sum(CALIBRATION.per_item(table).sum(axis=0) for table in runs)
    items_M, confidence_M, right_M = np.split(np.asarray(totals_K), 4)[:3]
    return [
        Bin(float(confidence_M[m] / items_M[m]), float(right_M[m] / items_M[m]), int(items_M[m]))
        for m in range(BINS)
        if items_M[m]
    ]


def measure_calibration(arms: Sequence[ArmPredictions]) -> list[Calibration]:
    """The calibration of each arm with probabilities, its seeds pooled.

    "After" uses the temperature that fits dev best, a separate one per seed.
    """
    calibrations = []
    for arm in arms:
        before = [_items_of(run) for run in arm.runs if run.probabilities_NC is not None]
        if not before:
            continue
        temperatures, after = [], []
        for run, dev_run in zip(arm.runs, arm.dev_runs, strict=False):
            dev_NC = None if dev_run is None else dev_run.probabilities_NC
            if dev_run is not None and run.probabilities_NC is not None and dev_NC is not None:
                temperatures.append(fit_temperature(dev_NC, dev_run.gold_N))
                scaled_NC = apply_temperature(run.probabilities_NC, temperatures[-1])
                after.append(replace(_items_of(run), probabilities_NC=scaled_NC))
        calibrations.append(
            Calibration(
                arm,
                _bins(before),
                _bins(after),
                error_before=_mean(CALIBRATION, before),
                error_after=_mean(CALIBRATION, after) if after else None,
                loss_before=_mean(LOG_LOSS, before),
                loss_after=_mean(LOG_LOSS, after) if after else None,
                temperatures=temperatures,
            )
        )
    return calibrations


def _mean(metric: Metric, runs: Sequence[LabelItems]) -> float:
    return float(np.mean([evaluate(metric, run) for run in runs]))

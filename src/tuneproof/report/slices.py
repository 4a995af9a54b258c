"""Where arms fail: confusion, accuracy by class, length and group, and how sure they were.

In: rows of arms, their predictions, the items. Out: plain values for the page.
Knows nothing of: HTML, drawing, how anything was predicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.inference.prediction import Predicted, read_predictions
from tuneproof.metrics.labels import BINS, CALIBRATION, confusion
from tuneproof.metrics.metric import UNPARSED, LabelItems, evaluate
from tuneproof.record.study_folder import DEV_PREDICTIONS, PREDICTIONS, Items
from tuneproof.report.charts.learning_curves import Bin
from tuneproof.report.tables import ArmRow, Score
from tuneproof.score.calibration import fit_temperature, tempered
from tuneproof.score.intervals import wilson

LEVEL = 0.95
PARTS = 4
MOST_VALUES = 12
WORST_GROUPS = 10


@dataclass(frozen=True)
class Answers:
    """One arm with what it predicted, a table a seed; `arm` is its place among all arms.

    `devs` are the same seeds' predictions of dev, None where the study was moved without them.
    """

    arm: int
    row: ArmRow
    seeds: tuple[int | None, ...]
    tables: tuple[Predicted, ...]
    devs: tuple[Predicted | None, ...] = ()


@dataclass(frozen=True)
class Confusion:
    """Counts over an arm's seeds: rows are golds, columns predictions, the last one `unparsed`."""

    answers: Answers
    labels: tuple[str, ...]
    counts: list[list[int]]
    unparsed: int
    items: int


@dataclass(frozen=True)
class Slice:
    """Some of the test items, and each arm's accuracy on them, with Wilson's interval.

    Of questions the accuracy is F1, and `beside` is each arm's exact match.
    """

    name: str
    items: int
    accuracies: list[Score]
    beside: tuple[float, ...] = ()


@dataclass(frozen=True)
class Reliability:
    """One arm's bins as predicted and at the temperatures fitted on dev (one a seed), with the
    expected calibration errors; without dev's predictions there is no "after".
    """

    answers: Answers
    before: list[Bin]
    after: list[Bin]
    error_before: float
    error_after: float | None
    temperatures: list[float]


def answers_of(rows: Sequence[ArmRow]) -> list[Answers]:
    """Read the predictions of every arm that has them."""
    found = []
    for index, row in enumerate(rows):
        done = [record for record in row.records if (record.folder / PREDICTIONS).is_file()]
        if done:
            seeds = tuple(record.about.get("seed") for record in done)
            tables = tuple(read_predictions(record.folder / PREDICTIONS) for record in done)
            devs = tuple(
                read_predictions(path) if path.is_file() else None
                for path in (record.folder / DEV_PREDICTIONS for record in done)
            )
            found.append(Answers(index, row, seeds, tables, devs))
    return found


def _items_of(table: Predicted) -> LabelItems:
    return LabelItems(table.labels, table.gold_N, table.predicted_N, table.probabilities_NC)


def one_label_for_all(answers: Sequence[Answers]) -> list[str]:
    """A sentence for each tuned or prompted seed that gives every test item the same label."""
    found = []
    for arm in answers:
        for seed, table in zip(arm.seeds, arm.tables, strict=True):
            if table.kind != "labels" or arm.row.kind == "baseline" or not len(table.predicted_N):
                continue
            first = int(table.predicted_N[0])
            if first != UNPARSED and (table.predicted_N == first).all():
                name = arm.row.label if seed is None else f"{arm.row.label}, seed {seed},"
                found.append(
                    f"{name} gives every test item the same label, {table.labels[first]}: it has "
                    "learnt nothing that tells them apart."
                )
    return found


def confusions(answers: Sequence[Answers]) -> list[Confusion]:
    """A matrix for each arm, summed over its seeds."""
    made = []
    for arm in answers:
        total = sum(confusion(_items_of(table)) for table in arm.tables)
        made.append(
            Confusion(
                arm,
                arm.tables[0].labels,
                np.asarray(total).tolist(),
                sum(int((table.predicted_N == UNPARSED).sum()) for table in arm.tables),
                len(arm.tables[0]),
            )
        )
    return made


def _shares_right(arm: Answers, ids: Sequence[str]) -> NDArray[np.float64]:
    """The share of an arm's seeds that are right on each id; NaN for an id it did not see."""
    total_N = np.zeros(len(ids))
    for table in arm.tables:
        right_N = table.right_N.astype(np.float64)
        known = dict(zip(table.ids, right_N, strict=True))
        total_N += np.array([known.get(id_, np.nan) for id_ in ids])
    return total_N / len(arm.tables)


def slice_of(name: str, inside_N: NDArray[np.bool_], right_AN: NDArray[np.float64]) -> Slice:
    """The arms' means on some items, with Wilson's interval (too wide for what is no share)."""
    items = int(inside_N.sum())
    scores = []
    for value in right_AN[:, inside_N].mean(axis=1).tolist():
        bounds = wilson(value, items, LEVEL)
        scores.append(Score(value, bounds.low, bounds.high, items))
    return Slice(name, items, scores)


def by_quarter(values_N: NDArray[Any], right_AN: NDArray[np.float64], unit: str = "") -> list[Slice]:
    """Quarters of the items by a number; equal numbers stay together."""
    edges = np.unique(np.quantile(values_N, np.linspace(0, 1, PARTS + 1)[1:], method="lower"))
    made: list[Slice] = []
    done_N = np.zeros(len(values_N), dtype=bool)
    for edge in edges:
        inside_N = ~done_N & (values_N <= edge)
        done_N |= inside_N
        low, high = f"{values_N[inside_N].min():g}", f"{edge:g}"
        name = low if low == high else f"{low} to {high}"
        made.append(slice_of(f"{name}{unit}", inside_N, right_AN))
    return made


def _by_column(values: Sequence[str], right_AN: NDArray[np.float64]) -> list[Slice]:
    """Each value of a column of the user's own: of many numbers quarters, of many words the commonest
    and the rest together.
    """
    values_N = np.array(values, dtype=object).astype(str)
    names, counts = np.unique(values_N, return_counts=True)
    if len(names) > MOST_VALUES:
        try:
            numbers_N = values_N.astype(np.float64)
        except ValueError:
            numbers_N = np.full(1, np.nan)
        if np.isfinite(numbers_N).all():
            return by_quarter(numbers_N, right_AN)
    most = names[np.argsort(-counts, kind="stable")[:MOST_VALUES]]
    made = [slice_of(name or "(empty)", values_N == name, right_AN) for name in sorted(most.tolist())]
    rest_N = ~np.isin(values_N, most)
    if rest_N.any():
        made.append(slice_of(f"{len(names) - len(most)} rarer values", rest_N, right_AN))
    return made


def by_group(
    groups: Sequence[str], right_AN: NDArray[np.float64], by_N: NDArray[np.float64] | None = None
) -> list[Slice]:
    """The groups of at least three items on which the arms do worst (by `by_N`), worst first."""
    names, place_N, size_G = np.unique(
        np.array(groups, dtype=object).astype(str), return_inverse=True, return_counts=True
    )
    if len(names) == len(groups):
        return []
    mean_N = right_AN.mean(axis=0) if by_N is None else by_N
    mean_G = np.bincount(place_N, weights=mean_N) / size_G
    order = [index for index in np.lexsort((names, mean_G)) if size_G[index] >= 3]
    return [slice_of(str(names[index]), place_N == index, right_AN) for index in order[:WORST_GROUPS]]


def slices(answers: Sequence[Answers], items: Items) -> dict[str, list[Slice]]:
    """Accuracy of every arm by class, by length of the text and, where there are groups, by group."""
    if not answers:
        return {}
    first = answers[0].tables[0]
    everywhere = set(first.ids).intersection(*(t.ids for arm in answers for t in arm.tables))
    keep = [index for index, id_ in enumerate(first.ids) if id_ in everywhere]
    if not keep:
        return {}
    ids = [first.ids[index] for index in keep]
    right_AN = np.stack([_shares_right(arm, ids) for arm in answers])
    gold_N = first.gold_N[keep]
    found = {
        "by class": [
            slice_of(label, gold_N == index, right_AN)
            for index, label in enumerate(first.labels)
            if (gold_N == index).any()
        ]
    }
    texts = dict(zip(items.ids, items.texts, strict=True))
    if all(id_ in texts for id_ in ids):
        words_N = np.array([len(texts[id_].split()) for id_ in ids])
        found["by length of the text"] = by_quarter(words_N, right_AN, " words")
    for name, values in items.own.items():
        known = dict(zip(items.ids, values, strict=True))
        if all(id_ in known for id_ in ids):
            found[f"by {name}"] = _by_column([known[id_] for id_ in ids], right_AN)
    found["by group, the hardest first"] = by_group([first.groups[i] for i in keep], right_AN)
    return {name: parts for name, parts in found.items() if parts}


def _bins(tables: Sequence[LabelItems]) -> list[Bin]:
    if not tables:
        return []
    totals_K = sum(CALIBRATION.per_item(table).sum(axis=0) for table in tables)
    items_M, confidence_M, right_M = np.split(np.asarray(totals_K), 3)
    return [
        Bin(float(confidence_M[m] / items_M[m]), float(right_M[m] / items_M[m]), int(items_M[m]))
        for m in range(BINS)
        if items_M[m]
    ]


def reliabilities(answers: Sequence[Answers]) -> list[Reliability]:
    """How sure and how right each arm with probabilities was, its seeds taken together.

    "After" is at the temperature that fits dev best, each seed at its own.
    """
    made = []
    for arm in answers:
        before = [_items_of(table) for table in arm.tables if table.probabilities_NC is not None]
        if not before:
            continue
        temperatures, after = [], []
        for table, dev in zip(arm.tables, arm.devs, strict=False):
            probabilities_NC = table.probabilities_NC
            if probabilities_NC is None or dev is None or dev.probabilities_NC is None:
                continue
            temperatures.append(fit_temperature(dev.probabilities_NC, dev.gold_N))
            surer_NC = tempered(probabilities_NC, temperatures[-1])
            after.append(replace(_items_of(table), probabilities_NC=surer_NC))
        errors = [
            float(np.mean([evaluate(CALIBRATION, t) for t in part])) if part else None
            for part in (before, after)
        ]
        assert errors[0] is not None
        made.append(Reliability(arm, _bins(before), _bins(after), errors[0], errors[1], temperatures))
    return made

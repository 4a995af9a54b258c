"""Metrics of labels: right answers by class and overall, and the honesty of the probabilities.

In: golds, predictions, probabilities. Out: per-item statistics and formulas, per-class tables.
Knows nothing of: models, files, intervals.

Shapes: N items, C labels, M bins, K statistics. An unparsed answer is wrong and is never a label.
An undefined ratio (0/0) is 0, as in scikit-learn with zero_division=0. Averages run over all labels
of the task. Differs: scikit-learn leaves a label out of a macro average when no item has it.
"""

from collections.abc import Callable
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.metrics.metric import UNPARSED, LabelItems, Metric, check_items

Floats = NDArray[np.float64]

BINS = 15
MAX_COST = 1e6  # of a mistake
SMALLEST = float(np.finfo(np.float64).eps)  # log loss clips here, as scikit-learn does
NOTES = {"recall_weighted": "equals accuracy by identity; no separate evidence"}


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _correct(items: LabelItems) -> Floats:
    right_N = items.predicted_N == items.gold_N
    return np.stack([right_N, np.ones_like(right_N)], axis=1).astype(np.float64)


def _mean(totals_K: Floats, _labels: int) -> Floats:
    return _ratio(totals_K[..., 0], totals_K[..., 1])


def _counts(items: LabelItems) -> Floats:
    """[N, 3C]: true positives, predictions, golds of each label."""
    gold_NC = items.gold_N[:, None] == np.arange(len(items.labels))
    predicted_NC = items.predicted_N[:, None] == np.arange(len(items.labels))
    return np.hstack([gold_NC & predicted_NC, predicted_NC, gold_NC]).astype(np.float64)


def _precision(right_C: Floats, predicted_C: Floats, _gold_C: Floats) -> Floats:
    return _ratio(right_C, predicted_C)


def _recall(right_C: Floats, _predicted_C: Floats, gold_C: Floats) -> Floats:
    return _ratio(right_C, gold_C)


def _f1(right_C: Floats, predicted_C: Floats, gold_C: Floats) -> Floats:
    return _ratio(2 * right_C, predicted_C + gold_C)


ByClass = Callable[[Floats, Floats, Floats], Floats]


def _parts(totals_K: Floats, labels: int) -> list[Floats]:
    return [totals_K[..., part * labels : (part + 1) * labels] for part in range(3)]


def _positive(by_class: ByClass) -> Callable[[Floats, int], Floats]:
    return lambda totals_K, labels: by_class(*_parts(totals_K, labels))[..., -1]


def _macro(by_class: ByClass) -> Callable[[Floats, int], Floats]:
    return lambda totals_K, labels: by_class(*_parts(totals_K, labels)).mean(axis=-1)


def _weighted(by_class: ByClass) -> Callable[[Floats, int], Floats]:
    def value(totals_K: Floats, labels: int) -> Floats:
        right_C, predicted_C, gold_C = _parts(totals_K, labels)
        values_C = by_class(right_C, predicted_C, gold_C)
        return _ratio((values_C * gold_C).sum(axis=-1), gold_C.sum(axis=-1))

    return value


def _probabilities(items: LabelItems) -> Floats:
    if items.probabilities_NC is None:
        raise ValueError("call why_not_computable() first")
    return items.probabilities_NC


def _bins(items: LabelItems) -> Floats:
    """[N, 4M]: items, confidence, right answers, squared residuals of each bin ((m-1)/M, m/M]."""
    probabilities_NC = _probabilities(items)
    top_N = probabilities_NC.argmax(axis=1)
    confidence_N = probabilities_NC.max(axis=1)
    right_N = (top_N == items.gold_N) & (items.predicted_N != UNPARSED)
    bin_N = np.clip(np.ceil(confidence_N * BINS).astype(np.int64) - 1, 0, BINS - 1)
    totals_NK, rows_N = np.zeros((len(bin_N), 4 * BINS)), np.arange(len(bin_N))
    for part, values_N in enumerate((1.0, confidence_N, right_N, (right_N - confidence_N) ** 2)):
        totals_NK[rows_N, part * BINS + bin_N] = values_N
    return totals_NK


def squared_calibration_error(totals_K: Floats, _labels: int) -> Floats:
    """The square of the calibration error without bias, so that it may be below 0: mean over pairs in a bin.

    Source: Sun et al. 2024, arXiv:2408.08998, section 3.
    """
    items_M, confidence_M, right_M, squares_M = (
        totals_K[..., part * BINS : (part + 1) * BINS] for part in range(4)
    )
    pairs_M = (right_M - confidence_M) ** 2 - squares_M
    return _ratio(_ratio(pairs_M, items_M - 1).sum(axis=-1), items_M.sum(axis=-1))


def _calibration_error(totals_K: Floats, labels: int) -> Floats:
    return np.sqrt(np.maximum(squared_calibration_error(totals_K, labels), 0.0))


def _brier(items: LabelItems) -> Floats:
    truth_NC = items.gold_N[:, None] == np.arange(len(items.labels))
    error_N = ((_probabilities(items) - truth_NC) ** 2).sum(axis=1)
    return np.stack([error_N, np.ones_like(error_N)], axis=1)


def _cost(items: LabelItems) -> Floats:
    """What each prediction costs; an answer that names no label costs as much as the worst of its gold's."""
    if items.costs_CC is None:
        raise ValueError("call why_not_computable() first")
    cost_N = items.costs_CC[items.gold_N, items.predicted_N]
    cost_N = np.where(items.predicted_N == UNPARSED, items.costs_CC.max(axis=1)[items.gold_N], cost_N)
    return np.stack([cost_N, np.ones_like(cost_N)], axis=1)


def _log_loss(items: LabelItems) -> Floats:
    of_gold_N = _probabilities(items)[np.arange(len(items.gold_N)), items.gold_N]
    loss_N = -np.log(np.clip(of_gold_N, SMALLEST, 1.0))
    return np.stack([loss_N, np.ones_like(loss_N)], axis=1)


_SOKOLOVA = "Sokolova and Lapalme 2009, doi:10.1016/j.ipm.2009.03.002"


def _of_labels() -> list[Metric]:
    """Precision, recall and F1: of the positive class, macro and weighted."""
    source = f"{_SOKOLOVA}, tables 2 and 3"
    ratios: dict[str, ByClass] = {"precision": _precision, "recall": _recall, "f1": _f1}
    metrics = []
    for name, ratio in ratios.items():
        word = name.capitalize()
        term = word if name == "f1" else name
        averages = {
            "": (_positive(ratio), f"{word} of the positive class (the last label)"),
            "_macro": (_macro(ratio), f"Macro {term}"),
            "_weighted": (_weighted(ratio), f"Weighted {term}"),
        }
        for suffix, (formula, title) in averages.items():
            more: dict[str, Any] = {"binary_only": suffix == "", "note": NOTES.get(name + suffix, "")}
            more["averaged_over"] = {"": "positive", "_macro": "classes"}.get(suffix, "")
            metrics.append(Metric(name + suffix, title, _counts, formula, source, **more))
    return metrics


ACCURACY = Metric("accuracy", "Accuracy", _correct, _mean, f"{_SOKOLOVA}, table 2", proportion=True)

_OF_PROBABILITIES: dict[str, Any] = {"needs": "probabilities", "direction": "down"}
_SUN = "Sun et al. 2024, arXiv:2408.08998, section 3; bins of Guo et al. 2017, arXiv:1706.04599"
CALIBRATION = Metric(
    "expected_calibration_error",
    f"Expected calibration error (root mean square over {BINS} equal bins, debiased)",
    _bins,
    _calibration_error,
    _SUN,
    **_OF_PROBABILITIES,
    incomparable="it is zero within its error for many arms; brier and log_loss compare probabilities",
)

_BRIER = "Brier 1950, Monthly Weather Review 78(1), equation 2"
_BRIER_TITLE = "Brier score (sum over labels, 0 to 2)"
BRIER = Metric("brier", _BRIER_TITLE, _brier, _mean, _BRIER, **_OF_PROBABILITIES, high=2.0)

_GOOD = "Good 1952, Rational Decisions, JRSS B 14(1)"
_WORST = -log(SMALLEST)
LOG_LOSS = Metric("log_loss", "Log loss (nats)", _log_loss, _mean, _GOOD, **_OF_PROBABILITIES, high=_WORST)

_ELKAN = "Elkan 2001, The Foundations of Cost-Sensitive Learning, IJCAI, section 1"
MEAN_COST = Metric(
    "mean_cost", "Mean cost of an item", _cost, _mean, _ELKAN, needs="costs", direction="down", high=MAX_COST
)

LABEL_METRICS = (ACCURACY, *_of_labels(), CALIBRATION, BRIER, LOG_LOSS, MEAN_COST)


def confusion(items: LabelItems) -> NDArray[np.int64]:
    """[C, C+1] counts: rows are golds, columns are predictions, the last column is `unparsed`.

    Raises: DataError where the items are empty or wrong.
    """
    check_items(items)
    labels = len(items.labels)
    column_N = np.where(items.predicted_N == UNPARSED, labels, items.predicted_N)
    table = np.bincount(items.gold_N * (labels + 1) + column_N, minlength=labels * (labels + 1))
    return table.reshape(labels, labels + 1)


def per_class(items: LabelItems) -> list[dict[str, Any]]:
    """One row a label: label, support (items), accuracy (its recall), precision, f1.

    Raises: DataError where the items are empty or wrong.
    """
    table = confusion(items)
    right_C = np.diag(table).astype(np.float64)
    gold_C = table.sum(axis=1).astype(np.float64)
    predicted_C = table[:, :-1].sum(axis=0).astype(np.float64)
    by_class = [ratio(right_C, predicted_C, gold_C) for ratio in (_recall, _precision, _f1)]
    return [
        {
            "label": label,
            "support": int(gold_C[index]),
            "accuracy": float(by_class[0][index]),
            "precision": float(by_class[1][index]),
            "f1": float(by_class[2][index]),
        }
        for index, label in enumerate(items.labels)
    ]

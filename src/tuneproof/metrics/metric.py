"""What a metric is: a sum over items, and a formula on the sum.

In: items with golds and predictions. Out: the types that every metric on the shelf fills in, and
one metric's value. Knows nothing of: models, files, intervals.

A metric is written as two plain functions, so that ten thousand bootstrap draws are one matrix
product: `per_item` turns N items into statistics [N, K]; `from_totals` turns totals [..., K],
sums of those statistics over any (re)sample, into values [...].
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tuneproof.errors import DataError

UNPARSED = -1


@dataclass(frozen=True)
class LabelItems:
    """What label metrics see: N items, C labels.

    `gold_N` in 0..C-1; `predicted_N` in 0..C-1 or UNPARSED; `probabilities_NC` rows sum to one,
    or None where the method gives none (majority, generated answers).
    """

    labels: tuple[str, ...]
    gold_N: NDArray[np.int64]
    predicted_N: NDArray[np.int64]
    probabilities_NC: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Metric:
    """One item of the shelf. `direction` says which end is better; `low` and `high` bound the value.

    `proportion` is true where the value is a share of right items, so that Wilson's interval holds.
    `note` goes beside every value that is shown.
    """

    name: str
    title: str
    needs: Literal["predicted", "probabilities"]
    direction: Literal["up", "down"]
    low: float
    high: float
    per_item: Callable[[LabelItems], NDArray[np.float64]]
    from_totals: Callable[[NDArray[np.float64], int], NDArray[np.float64]]
    paper: str
    binary_only: bool = False
    proportion: bool = False
    note: str = ""

    @property
    def best(self) -> float:
        """The better end of the range."""
        return self.high if self.direction == "up" else self.low


def why_not(metric: Metric, labels: int, has_probabilities: bool) -> str:
    """Why the metric cannot be computed on such items; empty where it can."""
    if metric.binary_only and labels != 2:
        return f"{metric.name} is for two labels and there are {labels}."
    if metric.needs == "probabilities" and not has_probabilities:
        return f"{metric.name} needs probabilities and the predictions have none."
    return ""


def check_items(items: LabelItems) -> None:
    """Refuse items on which no metric means anything.

    Raises: DataError where there are no items, lengths differ, or a label is out of range.
    """
    size, labels = len(items.gold_N), len(items.labels)
    if size == 0:
        raise DataError("metrics", "there are no items.", do="Give at least one.")
    if len(items.predicted_N) != size:
        raise DataError(
            "metrics", f"there are {size} golds and {len(items.predicted_N)} predictions."
        )
    if items.gold_N.min() < 0 or items.gold_N.max() >= labels:
        raise DataError(
            "metrics", "a gold label is none of the labels.", f"Allowed: 0..{labels - 1}."
        )
    if items.predicted_N.min() < UNPARSED or items.predicted_N.max() >= labels:
        raise DataError("metrics", "a predicted label is neither a label nor unparsed.")
    probabilities_NC = items.probabilities_NC
    if probabilities_NC is not None and probabilities_NC.shape != (size, labels):
        raise DataError(
            "metrics",
            f"the probabilities have the shape {probabilities_NC.shape}.",
            f"Allowed: ({size}, {labels}).",
        )


def evaluate(metric: Metric, items: LabelItems) -> float:
    """The metric's value on the items.

    Raises: DataError where the items are empty or wrong, or lack what the metric needs.
    """
    check_items(items)
    reason = why_not(metric, len(items.labels), items.probabilities_NC is not None)
    if reason:
        raise DataError("metrics", reason, do="Leave it out.")
    return float(metric.from_totals(metric.per_item(items).sum(axis=0), len(items.labels)))

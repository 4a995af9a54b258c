"""What a metric is: a sum over items, and a formula on the sum.

In: items with golds and predictions. Out: the types that every metric fills in, and
one metric's value. Knows nothing of: models, files, intervals.

A metric is written as two plain functions, so that the values without each item are one array
operation: `per_item` turns N items into statistics [N, K]; `from_totals` turns totals [..., K],
sums of those statistics over any (re)sample, into values [...].
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tuneproof.errors import DataError
from tuneproof.metrics.matching import best_of

UNPARSED = -1
QuestionKind = Literal["", "answer", "no answer"]


@dataclass(frozen=True)
class LabelItems:
    """What label metrics see: N items, C labels.

    `gold_N` in 0..C-1; `predicted_N` in 0..C-1 or UNPARSED; `probabilities_NC` rows sum to one,
    or None where the method gives none (majority, generated answers). `costs_CC[gold, predicted]`: of the
    study's mistakes, if it has costs.
    """

    labels: tuple[str, ...]
    gold_N: NDArray[np.int64]
    predicted_N: NDArray[np.int64]
    probabilities_NC: NDArray[np.float64] | None = None
    costs_CC: NDArray[np.float64] | None = None

    kind = "labels"

    def __len__(self) -> int:
        return len(self.gold_N)

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return len(self.labels)

    @property
    def right_N(self) -> NDArray[np.bool_]:
        """Which items are right."""
        return self.predicted_N == self.gold_N


@dataclass(frozen=True)
class AnswerItems:
    """What metrics of answers see: N questions.

    `golds` are the accepted answers, none for an unanswerable question; `texts` the predicted
    ones, "" for no answer.
    """

    golds: Sequence[tuple[str, ...]]
    texts: Sequence[str]

    kind = "questions"
    classes = 0
    probabilities_NC = None

    def __len__(self) -> int:
        return len(self.golds)

    @cached_property
    def answerable_N(self) -> NDArray[np.bool_]:
        """Which questions have a gold answer."""
        return np.array([bool(golds) for golds in self.golds], dtype=bool)

    @property
    def gold_N(self) -> NDArray[np.int64]:
        """0 where a question is answerable, 1 where not."""
        return (~self.answerable_N).astype(np.int64)

    @cached_property
    def right_N(self) -> NDArray[np.bool_]:
        """Which questions are answered exactly, or rightly left unanswered."""
        pairs = zip(self.golds, self.texts, strict=True)
        return np.array([best_of(golds, text)[0] == 1 for golds, text in pairs], dtype=bool)


Items = LabelItems | AnswerItems


@dataclass(frozen=True)
class Metric:
    """One entry of the catalog. `direction` says which end is better; `low` and `high` bound the value.

    `kind` is the kind of task whose items `per_item` takes. `needs`: whether predictions suffice, or
    probabilities or the costs of mistakes are needed. `proportion` is true where the value is a share of
    right items, so that Wilson's interval holds. `averaged_over`: the classes that all weigh the same in the
    value, however rare ("positive": that class alone). Of questions: `required_questions` are those of
    which it needs some, `counted_questions` those that its value is of, where not of all.
    `name_in_sentence` is empty where
    it is `name` with spaces. `missing_requirement` returns what this machine is missing for it, in a
    sentence ("": nothing). `note` is printed beside every value; `incomparable` says why arms
    are not compared by it.
    """

    name: str
    title: str
    per_item: Callable[[Any], NDArray[np.float64]]
    from_totals: Callable[[NDArray[np.float64], int], NDArray[np.float64]]
    paper: str
    needs: Literal["predicted", "probabilities", "costs"] = "predicted"
    direction: Literal["up", "down"] = "up"
    low: float = 0.0
    high: float = 1.0
    binary_only: bool = False
    proportion: bool = False
    averaged_over: Literal["", "positive", "classes"] = ""
    note: str = ""
    incomparable: str = ""
    kind: Literal["labels", "questions"] = "labels"
    required_questions: QuestionKind = ""
    counted_questions: QuestionKind = ""
    name_in_sentence: str = ""
    missing_requirement: Callable[[], str] | None = None

    @property
    def best(self) -> float:
        """The better end of the range."""
        return self.high if self.direction == "up" else self.low

    def counted_N(self, items: Items) -> NDArray[np.bool_]:
        """Which items the value is of."""
        if not self.counted_questions:
            return np.ones(len(items), dtype=bool)
        return _of_kind(items, self.counted_questions)

    def rarest_class(self, items: Items) -> tuple[str, int] | None:
        """The rarest class on which the value depends as much as on a frequent one, and its golds.

        None if the metric does not average over classes, or the items have no labels.
        """
        if not self.averaged_over or not isinstance(items, LabelItems):
            return None
        golds_C = np.bincount(items.gold_N, minlength=items.classes)
        rarest = items.classes - 1 if self.averaged_over == "positive" else int(golds_C.argmin())
        return items.labels[rarest], int(golds_C[rarest])


def _of_kind(items: Items, kind: QuestionKind) -> NDArray[np.bool_]:
    matches_N: NDArray[np.bool_] = items.gold_N == (kind == "no answer")
    return matches_N


def why_not_computable(metric: Metric, items: Items) -> str:
    """Why the metric cannot be computed on such items; empty where it can."""
    if metric.kind != items.kind:
        return f"{metric.name} is for tasks of {metric.kind}, and this one is of {items.kind}."
    if metric.binary_only and items.classes != 2:
        return f"{metric.name} is for two labels and there are {items.classes}."
    if metric.needs == "probabilities" and items.probabilities_NC is None:
        return f"{metric.name} needs probabilities and the predictions have none."
    if metric.needs == "costs" and getattr(items, "costs_CC", None) is None:
        return f"{metric.name} needs the costs of mistakes (decision.costs), and there are none."
    needed = metric.counted_questions or metric.required_questions
    if needed and not _of_kind(items, needed).any():
        return f"{metric.name} is for questions with {needed}, and there are none."
    return metric.missing_requirement() if metric.missing_requirement is not None else ""


def check_items(items: Items) -> None:
    """Refuse items on which no metric means anything.

    Raises: DataError where there are no items, lengths differ, or a label is out of range.
    """
    size = len(items)
    if size == 0:
        raise DataError("metrics", "there are no items.", do="Give at least one.")
    if isinstance(items, AnswerItems):
        if len(items.texts) != size:
            raise DataError("metrics", f"there are {size} golds and {len(items.texts)} answers.")
        return
    labels = len(items.labels)
    if len(items.predicted_N) != size:
        raise DataError("metrics", f"there are {size} golds and {len(items.predicted_N)} predictions.")
    if items.gold_N.min() < 0 or items.gold_N.max() >= labels:
        raise DataError("metrics", "a gold label is none of the labels.", f"Allowed: 0..{labels - 1}.")
    if items.predicted_N.min() < UNPARSED or items.predicted_N.max() >= labels:
        raise DataError("metrics", "a predicted label is neither a label nor unparsed.")
    probabilities_NC = items.probabilities_NC
    if probabilities_NC is not None and probabilities_NC.shape != (size, labels):
        problem = f"the probabilities have the shape {probabilities_NC.shape}."
        raise DataError("metrics", problem, f"Allowed: ({size}, {labels}).")


def evaluate(metric: Metric, items: Items) -> float:
    """The metric's value on the items.

    Raises: DataError where the items are empty or wrong, or without what the metric needs.
    """
    check_items(items)
    if reason := why_not_computable(metric, items):
        raise DataError("metrics", reason, do="Leave it out.")
    return float(metric.from_totals(metric.per_item(items).sum(axis=0), items.classes))

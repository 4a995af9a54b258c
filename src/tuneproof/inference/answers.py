"""Predictions for questions: an arm's answers, in a file that is read without torch.

In: ids, golds, answers and their scores. Out: columns of a Parquet file and back.
Knows nothing of: models, torch, the choice of a threshold.

Columns: id, group (the article), paragraph, golds (list, empty for an unanswerable question),
predicted ("" is no answer), answer (the best one, whatever the threshold), null_score, answer_score,
nbest (JSON: [{text, score}], the best first), tokens (model tokens of the item's input), truncated (the
model did not read the whole context at once), outside (no window that it read contains a gold answer).
The threshold, the default one and the arm are in the metadata under "tuneproof".
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.metrics.metric import AnswerItems

MISSING_ANSWER = "\ufffd"  # of a system without a reply: equals no gold answer, and is not "no answer"
ALWAYS_ANSWER = 1e12  # a threshold above every null score
ANSWERABILITY = ("answerable", "unanswerable")
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class AnswerPredictions:
    """N questions. A question gets no answer if its null score is above `threshold`.

    `null_N`: how sure the arm is that there is no answer; `score_N`: the score of the best answer. Both
    are finite and in the arm's own unit.
    """

    ids: Sequence[str]
    groups: Sequence[str]
    paragraphs: Sequence[str]
    golds: Sequence[tuple[str, ...]]
    answers: Sequence[str]
    null_N: FloatArray
    score_N: FloatArray
    nbest: Sequence[Sequence[dict[str, Any]]]
    tokens_N: NDArray[np.int64]
    truncated_N: NDArray[np.bool_]
    outside_N: NDArray[np.bool_]
    threshold: float = 0.0
    default_threshold: float = 0.0

    kind = "questions"
    labels = ANSWERABILITY
    probabilities_NC = None
    uncalibrated_NC = None

    def __len__(self) -> int:
        return len(self.ids)

    def with_threshold(self, threshold: float) -> "AnswerPredictions":
        """The same answers under another threshold."""
        return replace(self, threshold=float(threshold))

    def take(self, indices: Sequence[int]) -> "AnswerPredictions":
        """The questions at these indices, in this order."""
        indices_K = np.asarray(indices, dtype=np.int64)
        lists = ("ids", "groups", "paragraphs", "golds", "answers", "nbest")
        arrays = ("null_N", "score_N", "tokens_N", "truncated_N", "outside_N")
        columns: dict[str, Any] = {name: [getattr(self, name)[i] for i in indices_K] for name in lists}
        return replace(self, **columns, **{name: getattr(self, name)[indices_K] for name in arrays})

    @cached_property
    def texts(self) -> list[str]:
        """The final answers: "" if the null score is above the threshold."""
        return [
            "" if null > self.threshold else answer
            for null, answer in zip(self.null_N.tolist(), self.answers, strict=True)
        ]

    @cached_property
    def items(self) -> AnswerItems:
        """The part that metrics see."""
        return AnswerItems(golds=self.golds, texts=self.texts)

    @property
    def gold_N(self) -> NDArray[np.int64]:
        """0 for an answerable question, 1 for an unanswerable one."""
        return self.items.gold_N

    @property
    def predicted_N(self) -> NDArray[np.int64]:
        """0 for a question with an answer, 1 for one without."""
        return np.array([not text for text in self.texts], dtype=np.int64)

    @property
    def right_N(self) -> NDArray[np.bool_]:
        """Whether the answer matches exactly, or is rightly empty."""
        return self.items.right_N

    @property
    def gold_names(self) -> list[str]:
        """The gold answers of each question in one string."""
        return [" | ".join(golds) for golds in self.golds]


def answer_columns(predictions: AnswerPredictions) -> tuple[dict[str, Any], dict[str, Any]]:
    """The columns of the file, and additional metadata."""
    import pyarrow as pa

    strings = pa.string()
    columns = {
        "id": pa.array(list(predictions.ids), strings),
        "group": pa.array(list(predictions.groups), strings),
        "paragraph": pa.array(list(predictions.paragraphs), strings),
        "golds": pa.array([list(golds) for golds in predictions.golds], pa.list_(strings)),
        "predicted": pa.array(predictions.texts, strings),
        "answer": pa.array(list(predictions.answers), strings),
        "null_score": pa.array(predictions.null_N, pa.float64()),
        "answer_score": pa.array(predictions.score_N, pa.float64()),
        "nbest": pa.array([json.dumps(list(best)) for best in predictions.nbest], strings),
        "tokens": pa.array(predictions.tokens_N, pa.int64()),
        "truncated": pa.array(predictions.truncated_N, pa.bool_()),
        "outside": pa.array(predictions.outside_N, pa.bool_()),
    }
    thresholds = {"threshold": predictions.threshold, "default_threshold": predictions.default_threshold}
    return columns, thresholds


def finite_column(columns: Mapping[str, list[Any]], name: str) -> NDArray[np.float64]:
    """The numbers of a column. Raises: ValueError naming the first row where one is not finite."""
    values = np.array(columns[name], dtype=np.float64)
    rows = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1 if len(values) else 1)).all(axis=1))
    if len(rows):
        raise ValueError(f"{name} of {columns['id'][rows[0]]} is not finite")
    return values


def read_answer_columns(columns: dict[str, list[Any]], about: dict[str, Any]) -> AnswerPredictions:
    """The predictions in the columns of `answer_columns`. Raises: KeyError if a column is missing."""
    return AnswerPredictions(
        ids=columns["id"],
        groups=columns["group"],
        paragraphs=columns["paragraph"],
        golds=[tuple(golds) for golds in columns["golds"]],
        answers=columns["answer"],
        null_N=finite_column(columns, "null_score"),
        score_N=finite_column(columns, "answer_score"),
        nbest=[json.loads(best) for best in columns["nbest"]],
        tokens_N=np.array(columns["tokens"], dtype=np.int64),
        truncated_N=np.array(columns["truncated"], dtype=bool),
        outside_N=np.array(columns["outside"], dtype=bool),
        threshold=float(about["threshold"]),
        default_threshold=float(about["default_threshold"]),
    )

"""The row of the wall for questions: what an arm answered, in a file that needs no torch to read.

In: ids, golds, answers and their scores. Out: columns of a Parquet file and back.
Knows nothing of: models, torch, where a threshold comes from.

Columns: id, group (the article), paragraph, golds (list, empty for an unanswerable question),
predicted ("" is no answer), answer (the best one, whatever the threshold), null_score, answer_score,
nbest (JSON: [{text, score}], the best first), tokens (model tokens of the item's input), truncated (the
model did not read the whole context in one piece), outside (no gold answer stands in any one piece that
it read). The threshold, the default one and the arm stand in the metadata under "tuneproof".
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.metrics.metric import AnswerItems

ANSWERED = ("answerable", "unanswerable")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AnswerPredictions:
    """N questions. A question is left without an answer where its null score is above `threshold`.

    `null_N` grows with how sure the arm is that there is no answer, `score_N` is the score of the
    best answer; both in the arm's own unit and finite.
    """

    ids: Sequence[str]
    groups: Sequence[str]
    paragraphs: Sequence[str]
    golds: Sequence[tuple[str, ...]]
    answers: Sequence[str]
    null_N: Floats
    score_N: Floats
    nbest: Sequence[Sequence[dict[str, Any]]]
    tokens_N: NDArray[np.int64]
    truncated_N: NDArray[np.bool_]
    outside_N: NDArray[np.bool_]
    threshold: float = 0.0
    default_threshold: float = 0.0

    kind = "questions"
    labels = ANSWERED
    probabilities_NC = None
    uncalibrated_NC = None

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, threshold: float) -> "AnswerPredictions":
        """The same answers, withheld above another threshold."""
        return replace(self, threshold=float(threshold))

    def take(self, places: Sequence[int]) -> "AnswerPredictions":
        """The questions at these places, in this order."""
        at = np.asarray(places, dtype=np.int64)
        lists = ("ids", "groups", "paragraphs", "golds", "answers", "nbest")
        arrays = ("null_N", "score_N", "tokens_N", "truncated_N", "outside_N")
        chosen: dict[str, Any] = {name: [getattr(self, name)[place] for place in at] for name in lists}
        return replace(self, **chosen, **{name: getattr(self, name)[at] for name in arrays})

    @cached_property
    def texts(self) -> list[str]:
        """What is answered: "" where the null score is above the threshold."""
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
        """0 where a question is answerable, 1 where not."""
        return self.items.gold_N

    @property
    def predicted_N(self) -> NDArray[np.int64]:
        """0 where something is answered, 1 where nothing is."""
        return np.array([not text for text in self.texts], dtype=np.int64)

    @property
    def right_N(self) -> NDArray[np.bool_]:
        """Which questions are answered exactly, or rightly not at all."""
        return self.items.right_N

    @property
    def gold_names(self) -> list[str]:
        """Every question's gold answers in one string."""
        return [" | ".join(golds) for golds in self.golds]


def answer_columns(predictions: AnswerPredictions) -> tuple[dict[str, Any], dict[str, Any]]:
    """The columns of the file, and what its metadata adds."""
    import pyarrow as pa

    strings = pa.string()
    found = predictions
    columns = {
        "id": pa.array(list(found.ids), strings),
        "group": pa.array(list(found.groups), strings),
        "paragraph": pa.array(list(found.paragraphs), strings),
        "golds": pa.array([list(golds) for golds in found.golds], pa.list_(strings)),
        "predicted": pa.array(found.texts, strings),
        "answer": pa.array(list(found.answers), strings),
        "null_score": pa.array(found.null_N, pa.float64()),
        "answer_score": pa.array(found.score_N, pa.float64()),
        "nbest": pa.array([json.dumps(list(best)) for best in found.nbest], strings),
        "tokens": pa.array(found.tokens_N, pa.int64()),
        "truncated": pa.array(found.truncated_N, pa.bool_()),
        "outside": pa.array(found.outside_N, pa.bool_()),
    }
    more = {"threshold": found.threshold, "default_threshold": found.default_threshold}
    return columns, more


def answers_from(columns: dict[str, list[Any]], about: dict[str, Any]) -> AnswerPredictions:
    """Read back what `answer_columns` gave.

    Raises: KeyError where a column is missing.
    """
    return AnswerPredictions(
        ids=columns["id"],
        groups=columns["group"],
        paragraphs=columns["paragraph"],
        golds=[tuple(golds) for golds in columns["golds"]],
        answers=columns["answer"],
        null_N=np.array(columns["null_score"], dtype=np.float64),
        score_N=np.array(columns["answer_score"], dtype=np.float64),
        nbest=[json.loads(best) for best in columns["nbest"]],
        tokens_N=np.array(columns["tokens"], dtype=np.int64),
        truncated_N=np.array(columns["truncated"], dtype=bool),
        outside_N=np.array(columns["outside"], dtype=bool),
        threshold=float(about["threshold"]),
        default_threshold=float(about["default_threshold"]),
    )

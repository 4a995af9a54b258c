"""Predictions for labels: a row per item, in a file that is read without torch.

In: ids, golds, predictions. Out: a Parquet file and back.
Knows nothing of: models, metrics, torch. Predictions for questions are in answers.py.

Columns: id, group, gold, predicted (null if the answer could not be parsed), probabilities and uncalibrated
(lists in the order of the labels, or null), text (the generated one, or null), tokens (model tokens of the
item's input), truncated. The labels, the task and the arm are in the file's metadata under "tuneproof".
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.atomic import write_with
from tuneproof.errors import RunError
from tuneproof.inference.answers import AnswerPredictions, answer_columns, finite_column, read_answer_columns
from tuneproof.metrics.metric import UNPARSED, LabelItems


@dataclass(frozen=True)
class Predictions:
    """N items, C labels. `predicted_N` is UNPARSED if the answer names no label.

    costs_CC[gold, predicted]: of mistakes, if the study has costs; in the file's metadata as "costs".
    """

    labels: tuple[str, ...]
    ids: Sequence[str]
    groups: Sequence[str]
    gold_N: NDArray[np.int64]
    predicted_N: NDArray[np.int64]
    tokens_N: NDArray[np.int64]
    truncated_N: NDArray[np.bool_]
    probabilities_NC: NDArray[np.float64] | None = None
    uncalibrated_NC: NDArray[np.float64] | None = None
    texts: Sequence[str] | None = None
    costs_CC: NDArray[np.float64] | None = None

    kind = "labels"
    paragraphs = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: Sequence[int]) -> "Predictions":
        """The items at these indices, in this order."""
        indices_K = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            ids=[self.ids[i] for i in indices_K],
            groups=[self.groups[i] for i in indices_K],
            gold_N=self.gold_N[indices_K],
            predicted_N=self.predicted_N[indices_K],
            tokens_N=self.tokens_N[indices_K],
            truncated_N=self.truncated_N[indices_K],
            texts=None if self.texts is None else [self.texts[i] for i in indices_K],
            probabilities_NC=_take(self.probabilities_NC, indices_K),
            uncalibrated_NC=_take(self.uncalibrated_NC, indices_K),
        )

    @property
    def items(self) -> LabelItems:
        """The part that metrics see."""
        gold_N, predicted_N = np.asarray(self.gold_N), np.asarray(self.predicted_N)
        return LabelItems(
            labels=self.labels,
            gold_N=gold_N,
            predicted_N=predicted_N,
            probabilities_NC=self.probabilities_NC,
            costs_CC=self.costs_CC,
        )

    @property
    def right_N(self) -> NDArray[np.bool_]:
        """Whether the predicted label is the gold one."""
        return self.items.right_N

    def predicted_label(self, index: int) -> str | None:
        """The predicted label of an item; None if its answer names none."""
        label = self.predicted_N[index]
        return None if label == UNPARSED else self.labels[label]

    @property
    def predicted_labels(self) -> list[str | None]:
        """The predicted label of each item."""
        return [self.predicted_label(index) for index in range(len(self))]

    @property
    def gold_names(self) -> list[str]:
        """The gold label of each item."""
        return [self.labels[gold] for gold in self.gold_N]


def _take(values_NC: NDArray[np.float64] | None, indices_K: NDArray[np.int64]) -> NDArray[np.float64] | None:
    return None if values_NC is None else values_NC[indices_K]


AnyPredictions = Predictions | AnswerPredictions


def write_predictions(path: Path, predictions: AnyPredictions, about: dict[str, Any]) -> Path:
    """Write the Parquet file; `about` (task, arm, model, ...) goes into its metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(predictions, AnswerPredictions):
        columns, extra = answer_columns(predictions)
    else:
        columns, extra = _label_columns(predictions)
    meta = {b"tuneproof": json.dumps({**about, "kind": predictions.kind, **extra}).encode()}
    table = pa.table(columns).replace_schema_metadata(meta)
    return write_with(path, lambda file: pq.write_table(table, file))


def _label_columns(predictions: Predictions) -> tuple[dict[str, Any], dict[str, Any]]:
    import pyarrow as pa

    names = np.array([*predictions.labels, None], dtype=object)  # index -1 is None: unparsed
    size = len(predictions)

    def lists(values_NC: NDArray[np.float64] | None) -> pa.Array:
        if values_NC is None:
            return pa.nulls(size, pa.list_(pa.float64()))
        return pa.array(values_NC.tolist(), pa.list_(pa.float64()))

    texts = [None] * size if predictions.texts is None else list(predictions.texts)
    columns = {
        "id": pa.array(list(predictions.ids), pa.string()),
        "group": pa.array(list(predictions.groups), pa.string()),
        "gold": pa.array(names[predictions.gold_N].tolist(), pa.string()),
        "predicted": pa.array(names[predictions.predicted_N].tolist(), pa.string()),
        "probabilities": lists(predictions.probabilities_NC),
        "uncalibrated": lists(predictions.uncalibrated_NC),
        "text": pa.array(texts, pa.string()),
        "tokens": pa.array(predictions.tokens_N, pa.int64()),
        "truncated": pa.array(predictions.truncated_N, pa.bool_()),
    }
    costs = {} if predictions.costs_CC is None else {"costs": predictions.costs_CC.tolist()}
    return columns, {"labels": list(predictions.labels), **costs}


def read_predictions_about(path: Path) -> dict[str, Any]:
    """What the file says of itself (task, arm, model, ...); empty where there is no such file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        about = json.loads((pq.read_schema(path).metadata or {})[b"tuneproof"])
    except (OSError, pa.ArrowInvalid, KeyError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _read_costs(about: dict[str, Any], labels: int) -> NDArray[np.float64] | None:
    """The costs of mistakes. Raises: ValueError where they are not those of so many labels."""
    if "costs" not in about:
        return None
    costs_CC = np.array(about["costs"], dtype=np.float64)
    if costs_CC.shape != (labels, labels) or not np.isfinite(costs_CC).all():
        raise ValueError(f"its costs are no table of {labels} by {labels} numbers")
    return costs_CC


def read_predictions(path: Path) -> AnyPredictions:
    """The file of `write_predictions`. Raises: RunError if it is missing or holds no predictions."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        about = json.loads((table.schema.metadata or {})[b"tuneproof"])

        def column(name: str) -> list[Any]:
            return table.column(name).to_pylist()  # one at a time: lists take ten times as much as the table

        if about.get("kind") == "questions":
            return read_answer_columns({name: column(name) for name in table.column_names}, about)
        labels = tuple(about["labels"])
        ids, index_of = column("id"), {None: UNPARSED} | {label: index for index, label in enumerate(labels)}

        def matrix(name: str) -> NDArray[np.float64] | None:
            nulls = table.column(name).null_count
            return None if nulls else finite_column({"id": ids, name: column(name)}, name)

        return Predictions(
            labels=labels,
            ids=ids,
            groups=column("group"),
            gold_N=np.array([index_of[gold] for gold in column("gold")], dtype=np.int64),
            predicted_N=np.array([index_of[label] for label in column("predicted")], dtype=np.int64),
            probabilities_NC=matrix("probabilities"),
            uncalibrated_NC=matrix("uncalibrated"),
            texts=None if table.column("text").null_count else column("text"),
            tokens_N=np.array(column("tokens"), dtype=np.int64),
            truncated_N=np.array(column("truncated"), dtype=bool),
            costs_CC=_read_costs(about, len(labels)),
        )
    except FileNotFoundError:
        raise RunError(str(path), "does not exist.", do="Run the arm again.") from None
    except (pa.ArrowInvalid, KeyError, ValueError) as error:
        problem = f"is not a file of predictions ({error})."
        raise RunError(str(path), problem, do="Run the arm again.") from None

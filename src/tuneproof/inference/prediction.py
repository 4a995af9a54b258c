"""The row of the wall: what an arm predicted, in a file that needs no torch to read.

In: ids, golds, predictions. Out: a Parquet file and back.
Knows nothing of: models, metrics, torch. The rows of questions stand in answers.py.

Columns: id, group, gold, predicted (null where the answer could not be parsed), probabilities and
uncalibrated (lists in the order of the labels, or null), text (what was generated, or null),
tokens (model tokens of the item's input), truncated. The labels, the task and the arm stand in the
file's metadata under "tuneproof".
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
from tuneproof.inference.answers import AnswerPredictions, answer_columns, answers_from
from tuneproof.metrics.metric import UNPARSED, LabelItems


@dataclass(frozen=True)
class Predictions:
    """N items, C labels. `predicted_N` is UNPARSED where no label could be read off the answer."""

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

    kind = "labels"
    paragraphs = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, places: Sequence[int]) -> "Predictions":
        """The items at these places, in this order."""
        at = np.asarray(places, dtype=np.int64)
        return replace(
            self,
            ids=[self.ids[place] for place in at],
            groups=[self.groups[place] for place in at],
            gold_N=self.gold_N[at],
            predicted_N=self.predicted_N[at],
            tokens_N=self.tokens_N[at],
            truncated_N=self.truncated_N[at],
            texts=None if self.texts is None else [self.texts[place] for place in at],
            probabilities_NC=_rows(self.probabilities_NC, at),
            uncalibrated_NC=_rows(self.uncalibrated_NC, at),
        )

    @property
    def items(self) -> LabelItems:
        """The part that metrics see."""
        return LabelItems(
            labels=self.labels,
            gold_N=np.asarray(self.gold_N),
            predicted_N=np.asarray(self.predicted_N),
            probabilities_NC=self.probabilities_NC,
        )

    @property
    def right_N(self) -> NDArray[np.bool_]:
        """Which items are right."""
        return self.items.right_N

    @property
    def gold_names(self) -> list[str]:
        """Every item's gold label."""
        return [self.labels[gold] for gold in self.gold_N]


def _rows(values_NC: NDArray[np.float64] | None, at: NDArray[np.int64]) -> NDArray[np.float64] | None:
    return None if values_NC is None else values_NC[at]


Predicted = Predictions | AnswerPredictions


def write_predictions(path: Path, predictions: Predicted, about: dict[str, Any]) -> Path:
    """Write the Parquet file; `about` (task, arm, model, ...) goes into its metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(predictions, AnswerPredictions):
        columns, more = answer_columns(predictions)
    else:
        columns, more = _label_columns(predictions)
    meta = {b"tuneproof": json.dumps({**about, "kind": predictions.kind, **more}).encode()}
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
    return columns, {"labels": list(predictions.labels)}


def read_predictions(path: Path) -> Predicted:
    """Read what `write_predictions` wrote.

    Raises: RunError where the file is missing or is not such a file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        about = json.loads((table.schema.metadata or {})[b"tuneproof"])
        columns = {name: table.column(name).to_pylist() for name in table.column_names}
        if about.get("kind") == "questions":
            return answers_from(columns, about)
        labels = tuple(about["labels"])
        place: dict[str | None, int] = {label: index for index, label in enumerate(labels)}
        place[None] = UNPARSED

        def matrix(name: str) -> NDArray[np.float64] | None:
            return None if None in columns[name] else np.array(columns[name], dtype=np.float64)

        return Predictions(
            labels=labels,
            ids=columns["id"],
            groups=columns["group"],
            gold_N=np.array([place[gold] for gold in columns["gold"]], dtype=np.int64),
            predicted_N=np.array([place[label] for label in columns["predicted"]], dtype=np.int64),
            probabilities_NC=matrix("probabilities"),
            uncalibrated_NC=matrix("uncalibrated"),
            texts=None if None in columns["text"] else columns["text"],
            tokens_N=np.array(columns["tokens"], dtype=np.int64),
            truncated_N=np.array(columns["truncated"], dtype=bool),
        )
    except FileNotFoundError:
        raise RunError(str(path), "is not there.", do="Run the arm again.") from None
    except (pa.ArrowInvalid, KeyError, ValueError) as error:
        raise RunError(
            str(path), f"is not a file of predictions ({error}).", do="Run the arm again."
        ) from None

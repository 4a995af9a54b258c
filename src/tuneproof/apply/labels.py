"""Label new texts with a finished arm, exactly as it labelled the test items.

In: an arm's folder and texts. Out: labels with probabilities.
Knows nothing of: gold labels, scores.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tuneproof.apply.abstaining import AbstainingPredictions, read_abstaining
from tuneproof.apply.finished_arm import prediction_kind, read_finished_arm, study_recipe
from tuneproof.apply.loaded_arm import LoadedArm, empty_texts, text_examples
from tuneproof.apply.new_file import NewFile, name_options
from tuneproof.atomic import write_text
from tuneproof.errors import DataError
from tuneproof.inference.prediction import Predictions
from tuneproof.recipe.recipe import read_recipe
from tuneproof.record.csv_text import as_csv
from tuneproof.record.study_folder import RECIPE, read_arm
from tuneproof.redact import printable
from tuneproof.tasks.delimited import suggest_delimiter


def predict(arm_folder: Path | str, texts: Sequence[str]) -> Predictions:
    """Predictions of these texts by an arm that is loaded for them alone; `load` keeps one.

    Raises: as `load` and `LoadedArm.predict`.
    """
    record = read_finished_arm(arm_folder)
    kind = prediction_kind(study_recipe(record).task)
    text_examples(arm_folder, kind, texts)  # an error comes before the weights load
    return LoadedArm(arm_folder, record).predict(texts)


def _text(value: Any) -> str:
    """A cell as a text; None and NaN are empty, as in training."""
    return "" if value is None or value != value else str(value)


def label_file(
    arm: Path, source: NewFile | None, column: str | None, target: str | None, tolerance: float | None = None
) -> None:
    """Label a table's text column, or the lines of standard input; write CSV or JSONL.

    Columns of the result: those of the source, predicted, and p_<label> for every label. With a `tolerance`
    (0 to 1) predicted is empty where the arm abstains, and label_set holds the labels that may be right
    (`score/selective.py`).

    Raises: DataError where the column is missing; RunError where the arm cannot predict, or its dev items
    cannot show the tolerance.
    """
    abstaining = None if tolerance is None else read_abstaining(arm, tolerance)
    name = source.path if source else "standard input"
    texts, columns = read_new_texts(arm, source, column)
    added = [
        "predicted",
        *(["label_set"] if abstaining else []),
        *(f"p_{label}" for label in read_arm(arm).about.get("labels", ())),
    ]
    clash = [name for name in added if name in columns]
    if clash:
        raise DataError(name, f"already has a column {clash[0]!r}.", do="Rename it.")
    predictions = predict(arm, texts)
    values: dict[str, Sequence[Any]] = {}
    if abstaining:
        predictions = AbstainingPredictions.of(predictions, abstaining)
        values["label_set"] = [" | ".join(labels) for labels in predictions.label_sets]
    table = {**columns, "predicted": predictions.predicted_labels, **values, **_probabilities(predictions)}
    write_rows([{name: cells[i] for name, cells in table.items()} for i in range(len(texts))], target)


def read_new_texts(
    arm: Path, source: NewFile | None, column: str | None
) -> tuple[list[str], dict[str, Sequence[Any]]]:
    """The texts, and all columns of the file; without a file the lines of standard input.

    Raises: DataError where the column is missing, a text is empty, or there is none.
    """
    if source is None:
        texts = [line.rstrip("\r\n") for line in sys.stdin]
        if not texts:
            raise DataError("standard input", "contains no text.", do="Write one text per line.")
        return texts, {"text": texts}
    read_arm(arm)
    options: Any = read_recipe(arm.resolve().parent.parent / RECIPE).task_options
    column = column or getattr(options, "text", "text")
    table = source.read(options)
    columns = dict(table.columns)
    if column not in columns:
        listed = f"Its columns: {', '.join(columns)}."
        do = name_options(suggest_delimiter(list(columns)))
        raise DataError(table.name, f"has no column {column!r}.", listed, do or "Name one with --text.")
    texts = [_text(value) for value in columns[column]]
    empty = [n for n, text in zip(table.numbers, texts, strict=True) if not text.strip()]
    if empty:
        raise empty_texts(f"{table.name}, {table.noun}", empty)
    if not texts:
        raise DataError(table.name, "contains no text.", do="Write one text per line.")
    return texts, columns


def write_rows(rows: Sequence[dict[str, Any]], target: str | None) -> None:
    """Write CSV, or JSONL if the file is called so, into a file or to standard output."""
    lines = (json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
    text = "".join(lines) if target and target.endswith(".jsonl") else as_csv(rows)
    if target:
        write_text(Path(target), text)
    else:
        print(printable(text) if sys.stdout.isatty() else text, end="")


def _probabilities(predictions: Predictions) -> dict[str, list[float]]:
    if predictions.probabilities_NC is None:
        return {}
    columns = np.round(predictions.probabilities_NC.T, 6).tolist()
    return {f"p_{label}": column for label, column in zip(predictions.labels, columns, strict=True)}

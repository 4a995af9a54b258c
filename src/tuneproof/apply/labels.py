"""Label new texts with a finished arm, exactly as it labelled the test items.

In: an arm's folder and texts. Out: labels with probabilities.
Knows nothing of: gold labels, scores.
"""

import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tuneproof.apply.abstaining import read_abstaining
from tuneproof.apply.finished_arm import is_of_questions, predict_examples, read_finished_arm
from tuneproof.apply.new_file import NewFile, name_options
from tuneproof.atomic import write_text
from tuneproof.errors import DataError, RunError
from tuneproof.inference.prediction import Predictions
from tuneproof.recipe.recipe import read_recipe
from tuneproof.record.study_folder import RECIPE, read_arm
from tuneproof.redact import printable
from tuneproof.tasks.delimited import suggest_delimiter
from tuneproof.tasks.task import Example
from tuneproof.tasks.whole_characters import check_whole_characters

LISTED_ROWS = 5
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\0")


def predict(arm_folder: Path, texts: Sequence[str]) -> Predictions:
    """Predictions of these texts, stripped as in training; their gold labels mean nothing.

    Raises: as `predict_examples`; DataError where a text is empty; RunError where the arm answers
    questions.
    """
    record = read_finished_arm(arm_folder)
    if is_of_questions(record):
        raise RunError(
            str(arm_folder),
            "answers questions about contexts, not texts alone.",
            do="Use tuneproof.answer(arm, questions, contexts).",
        )
    empty = [row + 1 for row, text in enumerate(texts) if not text.strip()]
    if empty:
        raise _empty("row", empty)
    for row, text in enumerate(texts, 1):
        check_whole_characters(f"row {row}", text)
    examples = [Example(str(row), text.strip(), 0, str(row)) for row, text in enumerate(texts)]
    predictions = predict_examples(arm_folder, record, examples)
    assert isinstance(predictions, Predictions)
    return predictions


def _empty(where: str, rows: Sequence[int]) -> DataError:
    listed = ", ".join(str(row) for row in rows[:LISTED_ROWS])
    more = ", …" if len(rows) > LISTED_ROWS else ""
    return DataError(f"{where} {listed}{more}", "the text is empty.", do="Fill it in, or remove the row.")


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
    texts, columns = _read_texts(arm, source, column)
    if not texts:
        raise DataError(name, "contains no text.", do="Write one text per line.")
    added = [
        "predicted",
        *(["label_set"] if abstaining else []),
        *(f"p_{label}" for label in read_arm(arm).about.get("labels", ())),
    ]
    clash = [name for name in added if name in columns]
    if clash:
        raise DataError(name, f"already has a column {clash[0]!r}.", do="Rename it.")
    predictions = predict(arm, texts)
    rows = []
    for i in range(len(texts)):
        own = {name: values[i] for name, values in columns.items()}
        label = {"predicted": predictions.predicted_label(i)}
        labelled = abstaining.columns(predictions, i) if abstaining else label
        rows.append({**own, **labelled, **_probabilities(predictions, i)})
    write_rows(rows, target)


def _read_texts(
    arm: Path, source: NewFile | None, column: str | None
) -> tuple[list[str], dict[str, Sequence[Any]]]:
    """The texts, and all columns of the file."""
    if source is None:
        texts = [line.rstrip("\r\n") for line in sys.stdin]
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
        raise _empty(f"{table.name}, {table.noun}", empty)
    return texts, columns


def write_rows(rows: Sequence[dict[str, Any]], target: str | None) -> None:
    """Write CSV, or JSONL if the file is called so, into a file or to standard output."""
    text = _as_jsonl(rows) if target and target.endswith(".jsonl") else _as_csv(rows)
    if target:
        write_text(Path(target), text)
    else:
        print(printable(text) if sys.stdout.isatty() else text, end="")


def _probabilities(predictions: Predictions, row: int) -> dict[str, float]:
    if predictions.probabilities_NC is None:
        return {}
    values = np.round(predictions.probabilities_NC[row], 6).tolist()
    return {f"p_{label}": value for label, value in zip(predictions.labels, values, strict=True)}


def _as_jsonl(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)


def _as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """CSV in which no text starts like a spreadsheet formula."""
    stream = io.StringIO()
    plain = csv.writer(stream, lineterminator="\n")
    quoted = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in (list(rows[0]), *(list(row.values()) for row in rows)):
        cells = [_plain(value) for value in row]
        # Python before 3.13 leaves a carriage return unquoted, and readers end the row there.
        (quoted if any("\r" in str(cell) for cell in cells) else plain).writerow(cells)
    return stream.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(FORMULA_STARTS) and not _is_number(value):
        return f"'{value}"
    return "" if value is None else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

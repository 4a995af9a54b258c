"""Predictions that another program made, read from a file.

In: a file, the study's items. Out: a reply for each item that the file has.
Knows nothing of: how the predictions were made, golds, scores.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tuneproof.errors import DataError
from tuneproof.methods.method import Method
from tuneproof.methods.options import MethodOptions
from tuneproof.methods.system import SystemReplies, SystemRequest
from tuneproof.tasks.prediction_file import PredictionColumns, PredictionRows, read_prediction_file
from tuneproof.tasks.tables import TextFormat
from tuneproof.tasks.task import Prompt
from tuneproof.tasks.text_file import read_bytes


class GivenOptions(MethodOptions):
    """Settings of predictions in a file."""

    path: str = Field(
        min_length=1,
        description="A CSV, TSV, .xlsx, JSONL, JSON or Parquet file with a row an item, "
        "lm-evaluation-harness's samples_*.jsonl, promptfoo's JSON, or one JSON object of id → answer.",
    )
    id: str = Field("id", min_length=1, description="The column of the items' ids.")
    text: str | None = Field(
        None, min_length=1, description="Match rows by this column of the items' texts instead of by id."
    )
    predicted: str | None = Field(
        None,
        min_length=1,
        description="The column of the predicted label or answer (default: predicted, prediction, output …). "
        "Probabilities are read from columns p_<label>.",
    )
    provider: str | None = Field(
        None, min_length=1, description="Of promptfoo's results: the provider to read."
    )
    choices: tuple[str, ...] = Field(
        (), description="Of lm-evaluation-harness's multiple choice: the labels in the order of its choices."
    )
    encoding: str = Field("utf-8-sig", description="The file's encoding.")
    delimiter: str | None = Field(
        None, min_length=1, max_length=1, description="What separates cells of CSV."
    )
    sheet: str | None = Field(
        None,
        min_length=1,
        description="Of an .xlsx file: the sheet to read (default: the only visible one with content).",
    )


def read_given(options: Any, request: SystemRequest) -> SystemReplies:
    """The file's prediction of each item; None where it has none.

    Raises: DataError where the file is damaged, or holds none of the items.
    """
    columns = PredictionColumns(
        options.id, options.text, options.predicted, options.provider, options.choices
    )
    labels = request.labels if isinstance(request.prompt, Prompt) else ()
    text_format = TextFormat(options.encoding, options.delimiter, sheet=options.sheet)
    rows = read_prediction_file(options.path, columns, labels, text_format)
    keys = [example.id if options.text is None else example.text for example in request.examples]
    row_N = np.array([rows.row_of.get(key, -1) for key in keys], dtype=np.int64)
    if (row_N < 0).all():
        raise _no_match(options, rows, keys)
    request.report(len(keys))
    return SystemReplies(
        texts=[None if row < 0 else rows.texts[row] for row in row_N],
        probabilities_NC=_of_items(rows.probabilities_MC, row_N),
        null_N=_of_items(rows.null_M, row_N),
        usage=_usage(rows, row_N),
        notes=_notes(rows, row_N),
    )


def _notes(rows: PredictionRows, row_N: NDArray[np.int64]) -> tuple[str, ...]:
    """Where the predictions are from, and how many are not used."""
    source = f"The predictions were made elsewhere and are read from {rows.name}."
    unused = len(rows.row_of) - len(np.unique(row_N[row_N >= 0]))
    if not unused:
        return (source,)
    return source, f"{unused:,} of its rows belong to no dev or test item and are not used."


def _of_items(values_M: NDArray[np.float64] | None, row_N: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Each item's row of the file's values; NaN where the file has none."""
    if values_M is None:
        return None
    values_N = values_M[row_N].copy()
    values_N[row_N < 0] = np.nan
    return values_N


def _usage(rows: PredictionRows, row_N: NDArray[np.int64]) -> dict[str, int]:
    """The tokens of the items, where the file counts them for every item."""
    totals = {}
    for name, column in rows.usage.items():
        total = column[row_N[row_N >= 0]].sum()
        if np.isfinite(total) and total >= 0:
            totals[name] = int(total)
    return {**totals, "requests": int((row_N >= 0).sum())} if totals else {}


def _no_match(options: Any, rows: PredictionRows, keys: list[str]) -> DataError:
    of_file, of_study = (", ".join(repr(key[:40]) for key in list(some)[:3]) for some in (rows.row_of, keys))
    column = options.text or options.id
    problem = (
        f"no row belongs to a dev or test item: its column {column} has {of_file}, the study {of_study}."
    )
    do = "Name the column of the ids with given.id and of the task's own file with its id setting"
    return DataError(rows.name, problem, do=f"{do}, or match by text: given.text: COLUMN.")


def given_inputs(options: Any) -> Mapping[str, str]:
    """The file's checksum, on which the result depends. Raises: DataError where it cannot be read."""
    return {f"the file {options.path}": read_bytes(Path(options.path).expanduser()).sha256}


GIVEN_PREDICTIONS = Method(
    name="given",
    kind="system",
    title="predictions that another program made, read from a file",
    options=GivenOptions,
    chance=False,
    paper="none",
    reply=read_given,
    inputs=given_inputs,
)

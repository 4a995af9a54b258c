"""A file of predictions that another program made: a row an item, matched by id or by text.

In: a path, the names of columns. Out: for each key its prediction. Knows nothing of: golds, scores, models.

A table (CSV, TSV, JSONL, JSON, Parquet), one JSON object of id → prediction as SQuAD's official script
reads it, or the results of a harness (`harness_results.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuneproof.errors import DataError
from tuneproof.tasks.harness_results import read_results
from tuneproof.tasks.label_columns import as_name
from tuneproof.tasks.tables import Table, TextFormat

PREDICTED = ("predicted", "prediction", "pred", "predicted_label", "output", "response")
NULL_SCORES = ("null_score", "no_answer_probability")
TOKEN_COUNTS = ("input_tokens", "output_tokens")
PROBABILITY, CHOICE = "p_", "choice."
SUM_TOLERANCE = 0.01
MAX_NAMED = 5


@dataclass(frozen=True)
class PredictionColumns:
    """Which columns to read; None: by the names above. With `text` rows are matched by their text.

    provider: of promptfoo's results. choices: the labels of lm-evaluation-harness's choices, in its order.
    """

    id: str = "id"
    text: str | None = None
    predicted: str | None = None
    provider: str | None = None
    choices: Sequence[str] = ()


@dataclass(frozen=True)
class PredictionRows:
    """M rows: `row_of` gives each key's row; `texts[m]` is "" where only probabilities are given."""

    name: str
    sha256: str
    row_of: Mapping[str, int]
    texts: Sequence[str]
    probabilities_MC: NDArray[np.float64] | None
    null_M: NDArray[np.float64] | None
    usage: Mapping[str, NDArray[np.float64]]


def read_prediction_file(
    path: str, columns: PredictionColumns, labels: Sequence[str], text_format: TextFormat | None = None
) -> PredictionRows:
    """The rows of a file of predictions. `labels` name the columns of probabilities, p_<label>.

    Raises: DataError where a column is missing, an id or a text repeats with another prediction, or a
    probability is not one.
    """
    table = read_results(path, text_format, columns.provider)
    key_column = columns.text or columns.id
    keys = _keys(table, columns)
    probabilities_MC = _choice_shares(table, columns.choices, labels)
    if probabilities_MC is None:
        probabilities_MC = _probabilities(table, labels)
    texts = _predicted(table, columns.predicted, probabilities_MC is not None)
    row_of = _rows_by_key(table, keys, key_column, None if columns.text is None else texts)
    usage = {name: _numbers(table, name) for name in TOKEN_COUNTS if name in table.columns}
    null_M = _null_scores(table)
    return PredictionRows(table.name, table.about["sha256"], row_of, texts, probabilities_MC, null_M, usage)


def _keys(table: Table, columns: PredictionColumns) -> list[str]:
    """The ids, or the texts. Raises: DataError where there is no such column, or a cell is empty."""
    if columns.text is None and columns.id not in table.columns:
        problem = f"has no column {columns.id!r} by which its rows belong to items."
        do = "Name the column of the ids with given.id, or match by text: given.text: COLUMN."
        raise DataError(table.name, problem, f"Its columns: {', '.join(list(table.columns)[:12])}.", do)
    name, setting = (columns.id, "given.id") if columns.text is None else (columns.text, "given.text")
    keys = [as_name(value) or "" for value in table.column(name, setting)]
    empty = [row for row, key in enumerate(keys) if not key]
    if empty:
        problem = f"the column {name} is empty ({table.list_rows(empty)})."
        raise DataError(table.name, problem, do="Fill it in.")
    return keys


def _predicted(table: Table, named: str | None, has_probabilities: bool) -> list[str]:
    """The predictions as texts; a missing one is ""."""
    if named is None:
        present = [name for name in PREDICTED if name in table.columns]
        if len(present) > 1:
            problem = f"has the columns {' and '.join(present)}: either may be the prediction."
            raise DataError(table.name, problem, do="Name one with given.predicted.")
        if not present and has_probabilities:
            return [""] * len(table.numbers)
        if not present:
            listed = f"Its columns: {', '.join(list(table.columns)[:12])}."
            do = f"Name it with given.predicted, or call it {PREDICTED[0]}."
            raise DataError(table.name, "has no column of predictions.", listed, do)
        named = present[0]
    return [as_name(value) or "" for value in table.column(named, "given.predicted")]


def _rows_by_key(
    table: Table, keys: Sequence[str], column: str, predictions: Sequence[str] | None
) -> dict[str, int]:
    """Each key's row; with `predictions` a key may repeat that has the same one in each row.

    Raises: DataError where a key repeats.
    """
    row_of: dict[str, int] = {}
    repeated: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        first = row_of.setdefault(key, row)
        if first != row and (predictions is None or predictions[first] != predictions[row]):
            repeated.setdefault(key, [first]).append(row)
    if repeated:
        key, rows = next(iter(repeated.items()))
        shortened = key if len(key) <= 60 else key[:60] + "…"
        other = "" if predictions is None else " with different predictions"
        listed = f"{shortened!r} is in {table.list_rows(rows)}"
        problem = f"{len(repeated):,} values of {column} repeat{other}; {listed}."
        raise DataError(table.name, problem, "One prediction an item is allowed.", "Remove the others.")
    return row_of


def _probabilities(table: Table, labels: Sequence[str]) -> NDArray[np.float64] | None:
    """Columns p_<label>; a row without any is NaN. Raises: DataError where a row is no distribution."""
    present = [name for name in table.columns if name.startswith(PROBABILITY)]
    names = [f"{PROBABILITY}{label}" for label in labels]
    if not present or not labels:
        return None
    missing = [name for name in names if name not in present]
    if missing:
        problem = f"has probabilities ({', '.join(present[:MAX_NAMED])}), but no column {missing[0]!r}."
        do = f"Give one column for each label: {', '.join(names[:MAX_NAMED])}; or none."
        raise DataError(table.name, problem, do=do)
    values_MC = np.stack([_numbers(table, name) for name in names], axis=1)
    _check_shares(table, values_MC)
    return values_MC


def _check_shares(table: Table, values_MC: NDArray[np.float64]) -> None:
    """Raises: DataError where a row with any probability is no distribution."""
    has_any_M = ~np.isnan(values_MC).all(axis=1)
    wrong_M = ((values_MC < 0) | (values_MC > 1) | ~np.isfinite(values_MC)).any(axis=1)
    wrong_M |= abs(values_MC.sum(axis=1) - 1) > SUM_TOLERANCE
    wrong = np.flatnonzero(wrong_M & has_any_M)
    if wrong.size:
        problem = (
            f"the probabilities are not between 0 and 1 with the sum 1 ({table.list_rows(list(wrong))})."
        )
        raise DataError(table.name, problem, do="Correct them, or leave these columns out.")


def _choice_shares(table: Table, choices: Sequence[str], labels: Sequence[str]) -> NDArray[np.float64] | None:
    """The softmax of the choices' log-likelihoods, in the order of the labels; None where there are none.

    Raises: DataError where `choices` does not name each label once, or a log-likelihood is missing.
    """
    names = [name for name in table.columns if name.startswith(CHOICE)]
    if not names or not labels:
        return None
    if sorted(choices) != sorted(labels) or len(names) != len(labels):
        problem = f"holds log-likelihoods of {len(names)} choices, whose labels it does not name."
        do = f"Name them in the harness's order: given.choices: [{', '.join(labels)}]."
        raise DataError(table.name, problem, f"The labels are {', '.join(labels[:MAX_NAMED])}.", do)
    from scipy.special import softmax

    scores_MC = np.stack([_numbers(table, f"{CHOICE}{choices.index(label)}") for label in labels], axis=1)
    wrong = np.flatnonzero(~np.isfinite(scores_MC).all(axis=1))
    if wrong.size:
        problem = f"a log-likelihood is missing or not finite ({table.list_rows(list(wrong))})."
        raise DataError(table.name, problem, do="Run the harness again on these items.")
    return np.asarray(softmax(scores_MC, axis=1), dtype=np.float64)


def _null_scores(table: Table) -> NDArray[np.float64] | None:
    name = next((name for name in NULL_SCORES if name in table.columns), None)
    return None if name is None else _numbers(table, name)


def _numbers(table: Table, name: str) -> NDArray[np.float64]:
    """The column as numbers; an empty cell is NaN. Raises: DataError where a cell is no number."""
    numbers = []
    for row, value in enumerate(table.columns[name]):
        cell = as_name(value)
        try:
            numbers.append(float("nan") if cell is None else float(cell))
        except ValueError:
            problem = f"the column {name} contains {str(cell)[:40]!r}, not a number."
            raise DataError(table.locate(row), problem, do="Correct the cell, or leave it empty.") from None
    return np.array(numbers, dtype=np.float64)

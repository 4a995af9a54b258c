"""The columns of a table of questions, checked: every problem with its row.

In: a table and the names of its columns. Out: rows of questions.
Knows nothing of: where the table came from, splits, models.

The answers of a row are {"text": [...], "answer_start": [...]} as on the hub, a list of texts, or one
text; as JSON where the table holds text alone. An empty cell, null or an empty list: no answer.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tuneproof.errors import DataError
from tuneproof.tasks.label_columns import as_name, text_column
from tuneproof.tasks.question_rows import QuestionRow
from tuneproof.tasks.tables import Table

SHAPES = 'Answers are {"text": […], "answer_start": […]}, a list of texts, one text, or empty.'


def question_rows(
    table: Table, question: str, context: str, answers: str | None, identity: str | None, title: str | None
) -> list[QuestionRow]:
    """Every row of the table. `answers` None: none are known (new questions).

    Raises: DataError with the row for a missing column and for a cell of another shape.
    """
    questions = _whole_texts(table, question, "question")
    contexts = _whole_texts(table, context, "context")
    cells = table.column(answers, "answers") if answers else [None] * len(table.numbers)
    ids = _ids(table, identity)
    titles = _titles(table, title)
    rows = []
    for index, cell in enumerate(cells):
        texts, starts = _answers(table.at(index), cell)
        rows.append(
            QuestionRow(
                table.at(index), ids[index], titles[index], contexts[index], questions[index], texts, starts
            )
        )
    return rows


def _whole_texts(table: Table, name: str, setting: str) -> list[str]:
    """The texts as they are: offsets count from their first character, so nothing is stripped."""
    values = table.column(name, setting)
    text_column(table, name)  # refuses what is no text
    return [value if isinstance(value, str) else "" for value in values]


def _ids(table: Table, name: str | None) -> list[str]:
    if name is None:
        return [f"row-{number}" for number in table.numbers]
    found = []
    for index, value in enumerate(table.column(name, "id")):
        identity = as_name(value)
        if identity is None:
            raise DataError(table.at(index), "the id is missing.", do="Fill it in, or leave id out.")
        found.append(identity)
    return found


def _titles(table: Table, name: str | None) -> list[str]:
    if name is None:
        return [""] * len(table.numbers)
    return [as_name(value) or "" for value in table.column(name, "title")]


def _answers(where: str, cell: Any) -> tuple[tuple[str, ...], tuple[int | None, ...]]:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return (), ()
    if isinstance(cell, str):
        stripped = cell.strip()
        if not stripped:
            return (), ()
        if stripped[0] not in "[{":
            return (stripped,), (None,)
        try:
            cell = json.loads(stripped)
        except (ValueError, RecursionError) as error:
            raise DataError(where, f"the answers are not JSON: {error}.", SHAPES) from None
    if isinstance(cell, Mapping):
        return _texts_and_starts(where, cell)
    if isinstance(cell, Sequence) and not isinstance(cell, (str, bytes)):
        return _texts(where, cell), (None,) * len(cell)
    raise DataError(where, f"the answers are {type(cell).__name__}.", SHAPES)


def _texts_and_starts(where: str, cell: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[int | None, ...]]:
    if not isinstance(cell.get("text"), list):
        raise DataError(where, "the answers hold no list of texts.", SHAPES)
    texts = _texts(where, cell["text"])
    starts = cell.get("answer_start")
    if starts is None:
        return texts, (None,) * len(texts)
    if not isinstance(starts, list) or len(starts) != len(texts):
        amount = len(starts) if isinstance(starts, list) else "no list of"
        raise DataError(
            where,
            f"there are {len(texts)} answers and {amount} answer_start.",
            "Each answer has one.",
            "Mend the row, or leave answer_start out.",
        )
    for start in starts:
        if isinstance(start, bool) or not isinstance(start, int):
            raise DataError(where, f"answer_start is {start!r}.", "It counts characters from 0.")
    return texts, tuple(starts)


def _texts(where: str, values: Sequence[Any]) -> tuple[str, ...]:
    for value in values:
        if not isinstance(value, str) or not value.strip():
            found = "an answer is empty." if value == "" else f"an answer is {value!r}, no text."
            raise DataError(where, found, SHAPES, "No answer is an empty list.")
    return tuple(values)

"""The columns of a table of questions, checked: every error names its row.

In: a table and the names of its columns. Out: rows of questions.
Knows nothing of: where the table came from, splits, models.

The answers of a row are {"text": [...], "answer_start": [...]} as on the hub, a list of texts, or one
text; as JSON if the table holds only text. An empty cell, null or an empty list means no answer.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneproof.errors import DataError
from tuneproof.tasks.label_columns import as_name, is_missing, read_ids, read_texts
from tuneproof.tasks.question_rows import QuestionRow
from tuneproof.tasks.tables import Table

SHAPES = 'Answers are {"text": […], "answer_start": […]}, a list of texts, one text, or empty.'


@dataclass(frozen=True)
class QuestionColumns:
    """The names of a table's columns.

    `answers` None: the questions are new. `id` None: ids are row numbers. `title` None: no titles.
    """

    question: str = "question"
    context: str = "context"
    answers: str | None = "answers"
    id: str | None = None
    title: str | None = None


def read_question_rows(table: Table, columns: QuestionColumns) -> list[QuestionRow]:
    """Every row. Raises: DataError with the row for a missing column or a cell of another shape."""
    questions = _unstripped_texts(table, columns.question, "question")
    contexts = _unstripped_texts(table, columns.context, "context")
    cells = table.column(columns.answers, "answers") if columns.answers else [None] * len(table.numbers)
    ids = read_ids(table, columns.id, "row")
    titles = _titles(table, columns.title)
    rows = []
    for index, cell in enumerate(cells):
        where = table.locate(index)
        answers = _answers(where, cell)
        rows.append(
            QuestionRow(where, ids[index], titles[index], contexts[index], questions[index], *answers)
        )
    return rows


def _unstripped_texts(table: Table, name: str, setting: str) -> list[str]:
    """The texts unstripped, because offsets count from their first character."""
    values = table.column(name, setting)
    read_texts(table, name)  # raises an error for what is not text
    return [value if isinstance(value, str) else "" for value in values]


def _titles(table: Table, name: str | None) -> list[str]:
    if name is None:
        return [""] * len(table.numbers)
    return [as_name(value) or "" for value in table.column(name, "title")]


def _answers(where: str, cell: Any) -> tuple[tuple[str, ...], tuple[int | None, ...]]:
    if is_missing(cell):
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
            if _starts_with_brackets(stripped):
                return (stripped,), (None,)
            raise DataError(where, f"the answers are not JSON: {error}.", SHAPES) from None
    if isinstance(cell, Mapping):
        return _texts_and_starts(where, cell)
    if isinstance(cell, Sequence) and not isinstance(cell, (str, bytes)):
        return _texts(where, cell), (None,) * len(cell)
    raise DataError(where, f"the answers have the type {type(cell).__name__}.", SHAPES)


def _starts_with_brackets(text: str) -> bool:
    """Whether words follow the brackets that a text begins with, as in "[3] Hall 4"."""
    return re.match(r"\[[^\[\]{}\"']*\][^\[\]{}\"']*\w|\{[^\[\]{}\"']*\}[^\[\]{}\"']*\w", text) is not None


def _texts_and_starts(where: str, cell: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[int | None, ...]]:
    if not isinstance(cell.get("text"), list):
        raise DataError(where, "the answers contain no list of texts.", SHAPES)
    texts = _texts(where, cell["text"])
    starts = cell.get("answer_start")
    if starts is None:
        return texts, (None,) * len(texts)
    if not isinstance(starts, list) or len(starts) != len(texts):
        count = len(starts) if isinstance(starts, list) else "no list of"
        problem = f"there are {len(texts)} answers and {count} answer_start."
        raise DataError(where, problem, "Each answer has one.", "Fix the row, or leave answer_start out.")
    for start in starts:
        if isinstance(start, bool) or not isinstance(start, int):
            raise DataError(where, f"answer_start is {start!r}.", "It is a number of characters, from 0.")
    return texts, tuple(starts)


def _texts(where: str, values: Sequence[Any]) -> tuple[str, ...]:
    for value in values:
        if not isinstance(value, str) or not value.strip():
            problem = "an answer is empty." if value == "" else f"the answer {value!r} is not text."
            raise DataError(where, problem, SHAPES, "Write an empty list for no answer.")
    return tuple(values)

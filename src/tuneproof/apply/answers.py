"""Answer new questions with a finished arm, by the very path that answered the test questions.

In: an arm's folder and a file of questions. Out: answers with their scores.
Knows nothing of: golds, scores.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tuneproof.apply.labels import finished_arm, label_examples, write_rows
from tuneproof.errors import DataError
from tuneproof.inference.answers import AnswerPredictions
from tuneproof.recipe.recipe import read_recipe
from tuneproof.record.study_folder import RECIPE
from tuneproof.tasks.question_columns import question_rows
from tuneproof.tasks.question_rows import QuestionRow, examples_of
from tuneproof.tasks.squad_file import is_squad_file, read_squad
from tuneproof.tasks.tables import Reading, read_table

OURS = ("predicted", "null_score", "answer_score")


def answer(arm_folder: Path | str, questions: Sequence[str], contexts: Sequence[str]) -> AnswerPredictions:
    """Answers to these questions about these contexts; their golds mean nothing.

    Raises: RunError where the folder holds no finished arm or its files were changed; DataError
    where a question or a context is empty; ModelError where the base model is gone or another one.
    """
    pairs = zip(questions, contexts, strict=True)
    rows = [
        QuestionRow(f"question {place}", str(place), "", context, question, (), ())
        for place, (question, context) in enumerate(pairs)
    ]
    return _answered(Path(arm_folder), rows)


def _answered(arm: Path, rows: Sequence[QuestionRow]) -> AnswerPredictions:
    record = finished_arm(arm)
    options: Any = read_recipe(record.folder.parent.parent / RECIPE).task_options
    found = label_examples(arm, record, examples_of(rows, options.lowercase))
    assert isinstance(found, AnswerPredictions)
    return found


def answer_file(arm: Path, source: str | None, target: str | None) -> None:
    """Answer the questions of a table or of SQuAD's JSON; write CSV or JSONL.

    Columns of the result: those of the table (of SQuAD's JSON id, question and context), predicted ("" is
    no answer), null_score and answer_score in the arm's own unit; above the arm's threshold a null
    score means no answer.

    Raises: DataError where a column is missing or a cell empty; RunError where the arm cannot predict.
    """
    if source is None:
        raise DataError(
            "standard input",
            "holds lines, and a question needs its context beside it.",
            do="Name a file with the columns question and context with --input.",
        )
    record = finished_arm(arm)
    options: Any = read_recipe(record.folder.parent.parent / RECIPE).task_options
    names = (getattr(options, "question", "question"), getattr(options, "context", "context"))
    if is_squad_file(Path(source)):
        rows, _ = read_squad(source)
        columns: dict[str, Sequence[Any]] = {
            "id": [row.id for row in rows],
            "question": [row.question for row in rows],
            "context": [row.context for row in rows],
        }
    else:
        reading = None
        if hasattr(options, "encoding"):
            reading = Reading(options.encoding, options.delimiter, options.quotes)
        table = read_table(source, reading)
        rows = question_rows(table, *names, None, None, None)
        columns = dict(table.columns)
    taken = [name for name in OURS if name in columns]
    if taken:
        raise DataError(source, f"has a column {taken[0]!r} already.", do="Rename it.")
    found = _answered(arm, [_new(row, place) for place, row in enumerate(rows)])
    values = {
        "predicted": found.texts,
        "null_score": [round(value, 4) for value in found.null_N.tolist()],
        "answer_score": [round(value, 4) for value in found.score_N.tolist()],
    }
    both = {**columns, **values}
    write_rows([{name: both[name][place] for name in both} for place in range(len(rows))], target)


def _new(row: QuestionRow, place: int) -> QuestionRow:
    """The row without answers, under an id that stands once."""
    return QuestionRow(row.where, str(place), "", row.context, row.question, (), ())

"""Answer new questions with a finished arm, exactly as it answered the test questions.

In: an arm's folder and a file of questions. Out: answers with their scores.
Knows nothing of: gold answers, metrics.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuneproof.apply.finished_arm import prediction_kind, read_finished_arm, study_recipe
from tuneproof.apply.labels import read_new_texts, write_rows
from tuneproof.apply.loaded_arm import LoadedArm, question_rows, written_examples
from tuneproof.apply.new_file import NewFile
from tuneproof.errors import DataError
from tuneproof.inference.answers import AnswerPredictions
from tuneproof.tasks.question_columns import QuestionColumns, read_question_rows
from tuneproof.tasks.question_rows import QuestionRow
from tuneproof.tasks.squad_file import is_squad_file, read_squad

ADDED_COLUMNS = ("predicted", "null_score", "answer_score")


def answer(
    arm_folder: Path | str, questions: Sequence[str], contexts: Sequence[str] | None = None
) -> AnswerPredictions:
    """Answers to these questions about these contexts, or to texts, by an arm that is loaded for them alone.

    Raises: as `load` and `LoadedArm.answer`.
    """
    record = read_finished_arm(arm_folder)
    kind = prediction_kind(study_recipe(record).task)
    if kind == "answers":
        written_examples(arm_folder, questions, contexts)  # an error comes before the weights load
        return LoadedArm(arm_folder, record).answer(questions)
    rows = question_rows(arm_folder, kind, questions, contexts)
    return LoadedArm(arm_folder, record).answer_rows(rows)


def write_answer_file(arm: Path, source: NewFile | None, column: str | None, target: str | None) -> None:
    """Answer a table's text column, or the lines of standard input; write CSV or JSONL.

    Columns of the result: those of the source, predicted and answer_score.

    Raises: DataError where the column is missing or a text is empty; RunError where the arm cannot predict.
    """
    texts, columns = read_new_texts(arm, source, column)
    name = source.path if source else "standard input"
    added = ("predicted", "answer_score")
    if clash := [name for name in added if name in columns]:
        raise DataError(name, f"already has a column {clash[0]!r}.", do="Rename it.")
    answers = LoadedArm(arm).answer(texts)
    scores = [round(value, 4) for value in answers.score_N.tolist()]
    table = {**columns, **dict(zip(added, (answers.texts, scores), strict=True))}
    write_rows([{name: cells[i] for name, cells in table.items()} for i in range(len(texts))], target)


def answer_file(arm: Path, source: NewFile | None, target: str | None) -> None:
    """Answer the questions of a table or of SQuAD's JSON; write CSV or JSONL.

    Columns of the result: those of the table (of SQuAD's JSON id, question and context), predicted ("" is
    no answer), null_score and answer_score in the arm's own unit; above the arm's threshold a null
    score means no answer.

    Raises: DataError where a column is missing or a cell empty; RunError where the arm cannot predict.
    """
    if source is None:
        raise DataError(
            "standard input",
            "contains lines, and a question needs its context.",
            do="Pass a file with the columns question and context with --input.",
        )
    options: Any = study_recipe(read_finished_arm(arm)).task_options
    rows, columns = _read_questions(source, options)
    clash = [name for name in ADDED_COLUMNS if name in columns]
    if clash:
        raise DataError(source.path, f"already has a column {clash[0]!r}.", do="Rename it.")
    unanswered = [replace(row, id=str(i), title="", answers=(), starts=()) for i, row in enumerate(rows)]
    answers = LoadedArm(arm).answer_rows(unanswered)
    values = {
        "predicted": answers.texts,
        "null_score": [round(value, 4) for value in answers.null_N.tolist()],
        "answer_score": [round(value, 4) for value in answers.score_N.tolist()],
    }
    table_columns = {**columns, **values}
    write_rows([{name: cells[i] for name, cells in table_columns.items()} for i in range(len(rows))], target)


def _read_questions(source: NewFile, options: Any) -> tuple[list[QuestionRow], dict[str, Sequence[Any]]]:
    """The questions, and all columns of the file."""
    if is_squad_file(Path(source.path)):
        rows, _ = read_squad(source.path)
        names = ("id", "question", "context")
        return rows, {name: [getattr(row, name) for row in rows] for name in names}
    table = source.read(options)
    question, context = getattr(options, "question", "question"), getattr(options, "context", "context")
    return read_question_rows(table, QuestionColumns(question, context, answers=None)), dict(table.columns)

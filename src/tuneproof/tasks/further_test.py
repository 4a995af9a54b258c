"""A further test file: items beside the main test items, such as a shift or a challenge set.

In: its settings, the options of the study's task, the study's labels. Out: its items, and what was left out.
Knows nothing of: splits, arms, scores. No item of such a file chooses anything.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from tuneproof.errors import DataError, RecipeError
from tuneproof.settings import Settings
from tuneproof.tasks import label_columns
from tuneproof.tasks.label_spellings import plain_spelling
from tuneproof.tasks.messages import has_messages, read_conversations, with_texts
from tuneproof.tasks.question_columns import QuestionColumns
from tuneproof.tasks.question_rows import build_examples
from tuneproof.tasks.questions import read_parts
from tuneproof.tasks.several_labels import read_one_vs_rest
from tuneproof.tasks.tables import Table, TextFormat, read_table
from tuneproof.tasks.task import Example, TaskOptions
from tuneproof.tasks.written_answers import AnswersOptions, read_items


class FurtherTest(Settings):
    """A further test file: every arm is scored there too, and its drop from the main test set reported."""

    path: str = Field(min_length=1)
    """The file: .csv, .tsv, .xlsx, .jsonl, .json or .parquet; for questions also SQuAD's JSON."""
    text: str | None = Field(None, min_length=1)
    """The column of the texts (default: as in the task's own file, else text)."""
    label: str | None = Field(None, min_length=1)
    """The column of the labels, or of written answers (default: as in the task's own file, else label)."""
    id: str | None = Field(None, min_length=1)
    """The column of the ids (default: the row's number)."""
    group: str | None = Field(None, min_length=1)
    """The column of what items belong to; a group counts as a whole in intervals."""
    sheet: str | None = Field(None, min_length=1)
    """Of an .xlsx file: the sheet to read (default: the only visible one with content)."""
    rename: dict[str, str | None] = Field(default_factory=dict)
    """The file's labels by the study's labels, e.g. {"5": positive}; null leaves rows out and counts them."""


@dataclass(frozen=True)
class FurtherRows:
    """The items of a further test file; `dropped` counts rows that were left out, by reason."""

    items: list[Example]
    grouped: bool
    about: Mapping[str, Any]
    dropped: Mapping[str, int]


def read_further_test(
    name: str, settings: FurtherTest, kind: str, options: TaskOptions, labels: Sequence[str]
) -> FurtherRows:
    """The items with the study's labels; without an id column their ids are the file's name and the row.

    kind: what the study's task asks for, "labels" or "questions".

    Raises: DataError with the row where a text is empty or a label is not one of the study's.
    """
    values = options.model_dump()
    encoding = values.get("encoding", "utf-8-sig")
    text_format = TextFormat(encoding, values.get("delimiter"), values.get("quotes"), settings.sheet)
    if isinstance(options, AnswersOptions):
        rows = _read_answers(settings, options, text_format)
    elif kind == "questions":
        rows = _read_questions(settings, values, labels, text_format)
    else:
        rows = _read_labels(settings, values, labels, text_format)
    if settings.id is not None:
        return rows
    items = [replace(item, id=item.id.replace("row", name, 1)) for item in rows.items]
    return replace(rows, items=items)


def _read_labels(
    settings: FurtherTest, options: Mapping[str, Any], labels: Sequence[str], text_format: TextFormat
) -> FurtherRows:
    table = read_table(settings.path, text_format)
    texts = label_columns.read_texts(table, settings.text or options.get("text", "text"))
    name, one = settings.label or options.get("label", "label"), options.get("one_vs_rest")
    column = read_one_vs_rest(table, name, one)[0] if one else label_columns.read_labels(table, name)
    named = _study_labels(table, column, settings.rename, labels)
    chosen = [row for row, label in enumerate(named) if label is not None]
    _check_texts(table, texts, chosen)
    ids = label_columns.read_ids(table, settings.id, "row")
    groups = label_columns.read_groups(table, settings.group) if settings.group else ids
    items = [Example(ids[row], texts[row], labels.index(str(named[row])), groups[row]) for row in chosen]
    dropped = Counter(f"label {column[row]}" for row, label in enumerate(named) if label is None)
    if table.blank_lines:
        dropped["blank line"] = table.blank_lines
    return FurtherRows(items, settings.group is not None, dict(table.about), dict(dropped))


def _check_texts(table: Table, texts: Sequence[str], rows: Sequence[int]) -> None:
    if not rows:
        raise DataError(table.name, "no row is left: rename leaves out every label.")
    if empty := [row for row in rows if not texts[row]]:
        subject = "text is" if len(empty) == 1 else "texts are"
        problem = f"{len(empty):,} {subject} empty ({table.list_rows(empty)})."
        raise DataError(table.name, problem, do="Fill them in, or remove them.")


def _study_labels(
    table: Table, column: Sequence[str], rename: Mapping[str, str | None], labels: Sequence[str]
) -> list[str | None]:
    """The study's label of each row; None where `rename` leaves it out.

    Raises: DataError where a label is not one of the study's, or `rename` names one that is not there.
    """
    for theirs, ours in rename.items():
        if theirs not in column:
            raise DataError(table.name, f"rename names {theirs!r}, which no row has.", do="Fix its spelling.")
        if ours is not None and ours not in labels:
            problem = f"rename names {ours!r}, which is not a label of the study."
            raise DataError(table.name, problem, f"Its labels: {_listed(labels)}.")
    spelling: dict[str, str | None] = {plain_spelling(label): label for label in labels}
    label_of = {name: spelling.get(plain_spelling(name), name) for name in column} | dict(rename)
    named = [label_of[name] for name in column]
    wrong = [row for row, label in enumerate(named) if label is not None and label not in labels]
    if wrong:
        several = f" {len(wrong):,} rows have such a label ({table.list_rows(wrong)})."
        problem = f'the label "{column[wrong[0]]}" is not one of the study\'s, {_listed(labels)}.'
        raise DataError(
            table.locate(wrong[0]),
            f"{problem}{several if len(wrong) > 1 else ''}",
            do="Map it with rename: {THEIRS: OURS}, or leave such rows out with rename: {THEIRS: null}.",
        )
    return named


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(labels[:10]) + (f" and {len(labels) - 10:,} more" if len(labels) > 10 else "")


def _read_answers(settings: FurtherTest, options: AnswersOptions, text_format: TextFormat) -> FurtherRows:
    """Texts with written answers, by the columns of the study's own file, or of `messages`.

    label: the column of answers, where it is another. A system turn that is not the study's instruction
    stands before its text.

    Raises: DataError with the row of an empty text or answer; RecipeError for labels to rename.
    """
    if settings.rename:
        do = "Remove it: a file of written answers has no labels."
        raise RecipeError("tests", "rename maps labels, and these are answers.", do=do)
    table = read_table(settings.path, text_format)
    changed = {
        "text": settings.text or options.text,
        "answer": settings.label or options.answer,
        "id": settings.id,
        "group": settings.group,
    }
    columns = options.model_copy(update=changed)
    if has_messages(table, columns.text):
        texts = with_texts(table, columns.text, options.instruction).columns[columns.text]
        tables, _ = read_conversations({"all": table}, columns.text, columns.answer, is_label=False)
        table = replace(tables["all"], columns={**tables["all"].columns, columns.text: texts})
    return FurtherRows(read_items(table, columns, "row"), True, dict(table.about), {})


def _read_questions(
    settings: FurtherTest, options: Mapping[str, Any], labels: Sequence[str], text_format: TextFormat
) -> FurtherRows:
    """Questions, by the columns of the study's own file.

    Raises: DataError where it has unanswerable questions and the study has none.
    """
    names = {key: options.get(key, key) for key in ("question", "context", "answers")}
    columns = QuestionColumns(**names, id=settings.id, title=settings.group)
    parts, about = read_parts({"all": Path(settings.path).expanduser()}, columns, text_format)
    items = build_examples(parts["all"], bool(options.get("lowercase")))
    if any(item.label >= len(labels) for item in items):
        problem = "has questions without an answer, and the study has none of them."
        raise DataError(settings.path, problem, do="Remove these questions.")
    return FurtherRows(items, True, dict(about["all"]), {})

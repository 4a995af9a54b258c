"""The user's own questions file: SQuAD's JSON, or any table of questions, contexts and answers.

In: the user's own files. Out: rows and a prompt. Knows nothing of: splits, models, scores.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from tuneproof.errors import DataError
from tuneproof.tasks.question_columns import QuestionColumns, read_question_rows
from tuneproof.tasks.question_rows import (
    LABELS,
    METRICS,
    NO_ANSWER,
    QuestionRow,
    build_examples,
    find_shared_paragraphs,
    prefix_ids,
    question_prompt,
)
from tuneproof.tasks.squad_file import is_squad_file, read_squad
from tuneproof.tasks.tables import Sheet, TextFormat, read_table
from tuneproof.tasks.task import Example, QuestionPrompt, Rows, Task, TaskOptions, contains_once

_LICENCE = "the user's own"
LOWERCASE = "Lower-case questions, contexts and answers: for data whose casing gives the label away."


class QuestionsOptions(TaskOptions):
    """The user's own file of questions about contexts; a question without an answer is unanswerable."""

    path: str = Field(min_length=1)
    """The file: SQuAD's .json or .json.gz, or a .csv, .tsv, .xlsx, .jsonl, .json or .parquet with a row for
    each question; the train part if test is set."""
    dev: str | None = None
    """A second file for dev, which chooses; needs test."""
    test: str | None = None
    """A second file for test, which reports."""
    question: str = Field("question", min_length=1)
    """A table's column of questions."""
    context: str = Field("context", min_length=1)
    """A table's column of contexts."""
    answers: str = Field("answers", min_length=1)
    """A table's column of answers: {"text": [...], "answer_start": [...]}, a list of texts, or one text;
    empty: no answer."""
    id: str | None = Field(None, min_length=1)
    """A table's column of ids (default: the row's number)."""
    title: str | None = Field(None, min_length=1)
    """A table's column of articles: an article stays on one side of a split and counts as a whole in
    intervals (default: the same for paragraphs)."""
    lowercase: bool = Field(False, description=LOWERCASE)
    no_answer: str = Field(NO_ANSWER, min_length=1)
    """What a model says if there is no answer."""
    instruction: str | None = Field(None, min_length=1)
    """The prompt's first line (default: one that contains no_answer)."""
    template: Annotated[str, contains_once("{context}", "{question}")] = (
        "Context: {context}\nQuestion: {question}\nAnswer:"
    )
    """The prompt of an item; contains {context} and {question} once each."""
    encoding: str = Field("utf-8-sig", min_length=1)
    """The text files' encoding."""
    delimiter: str | None = None
    """What separates cells (default: comma for .csv, tab for .tsv)."""
    quotes: bool | None = None
    """Whether quotation marks enclose cells; false: they are ordinary characters. By default they do, but a
    cell that looks like several rows is refused."""
    sheet: Sheet = None
    """Of an .xlsx file: the sheet to read, or one for each part, as {train: NAME, test: NAME} (default: the
    only visible one with content)."""

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.dev and not self.test:
            raise ValueError("dev also needs test")
        if self.instruction and self.no_answer not in self.instruction:
            raise ValueError(f"instruction must contain no_answer, {self.no_answer!r}")
        return self


def read_parts(
    files: Mapping[str, Path], columns: QuestionColumns, text_format: TextFormat
) -> tuple[dict[str, list[QuestionRow]], dict[str, Any]]:
    """The rows and a description of each part's file. Raises: DataError with the row that is wrong."""
    parts: dict[str, list[QuestionRow]] = {}
    about: dict[str, Any] = {}
    for part, path in files.items():
        if is_squad_file(path):
            parts[part], about[part] = read_squad(path)
            continue
        table = read_table(path, text_format.of_part(part))
        parts[part], about[part] = read_question_rows(table, columns), dict(table.about)
        if columns.id is None and len(files) > 1:
            parts[part] = prefix_ids(part, parts[part])
    return parts, about


def build_rows(
    parts: Mapping[str, Sequence[QuestionRow]], lowercase: bool, source: Mapping[str, Any]
) -> Rows:
    """The parts as examples. Raises: DataError if two parts share an id, or if no question has an answer."""
    examples: dict[str, list[Example]] = {}
    seen: dict[str, str] = {}
    for part, rows in parts.items():
        items = build_examples(rows, lowercase)
        for item in items:
            if seen.setdefault(item.id, part) != part:
                problem = f"the id {item.id!r} is also in {seen[item.id]}."
                raise DataError(
                    f"{part} part",
                    problem,
                    do="Make the ids unique across all files; a table may leave out id.",
                )
        examples[part] = items
    labels = {item.label for items in examples.values() for item in items}
    if 0 not in labels:
        do = "Check that answers: names the right column."
        raise DataError(str(source["name"]), "no question has an answer.", do=do)
    changes = {"changes": "lower-cased"} if lowercase else {}
    names = LABELS if 1 in labels else LABELS[:1]
    return Rows(parts=examples, labels=names, source={**source, **changes}, grouped=True)


def read(options: QuestionsOptions) -> Rows:
    """One part ("all"), or train, dev and test as named. Raises: DataError with the row that is wrong."""
    paths = {"train": options.path, "dev": options.dev, "test": options.test}
    files = {part: Path(path) for part, path in paths.items() if path}
    if len(files) == 1:
        files = {"all": files["train"]}
    columns = QuestionColumns(options.question, options.context, options.answers, options.id, options.title)
    text_format = TextFormat(options.encoding, options.delimiter, options.quotes, options.sheet)
    parts, about = read_parts(files, columns, text_format)
    source = {"name": options.path, "parts": about, "licence": _LICENCE}
    return build_rows(parts, options.lowercase, source)


def prompt(options: QuestionsOptions, labels: Sequence[str]) -> QuestionPrompt:
    """The prompt for a question, as the options set it."""
    default = question_prompt(options, labels)
    instruction = options.instruction or default.instruction.replace(default.no_answer, options.no_answer)
    return QuestionPrompt(instruction, options.template, options.no_answer)


TASK = Task(
    name="questions",
    version=1,
    kind="questions",
    title="Your own questions file",
    options=QuestionsOptions,
    read=read,
    prompt=prompt,
    metrics=METRICS,
    paper="none: the user's own data",
    licence=_LICENCE,
    overlaps=find_shared_paragraphs,
)

"""Own questions file: SQuAD's JSON, or any table with a question, its context and the answers.

In: files of the user's own. Out: rows and a prompt.
Knows nothing of: splits, models, scores.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from tuneproof.errors import DataError
from tuneproof.tasks.question_columns import question_rows
from tuneproof.tasks.question_rows import (
    LABELS,
    METRICS,
    NO_ANSWER,
    QuestionRow,
    examples_of,
    question_prompt,
    renamed,
    same_paragraph,
)
from tuneproof.tasks.squad_file import is_squad_file, read_squad
from tuneproof.tasks.tables import Reading, Table, read_table
from tuneproof.tasks.task import Example, QuestionPrompt, Rows, Task, TaskOptions

_LICENCE = "the user's own"
LOWERCASE = "Lower-case questions, contexts and answers: for data whose casing gives the label away."


class QuestionsOptions(TaskOptions):
    """An own file of questions about contexts; without an answer: it cannot be answered."""

    path: str = Field(
        min_length=1,
        description="The file: SQuAD's .json or .json.gz, or a .csv, .tsv, .jsonl or .parquet with a "
        "row a question. Train, if test is named.",
    )
    dev: str | None = Field(None, description="A second file that chooses (with test).")
    test: str | None = Field(None, description="A second file that reports.")
    question: str = Field("question", min_length=1, description="A table's column of questions.")
    context: str = Field("context", min_length=1, description="A table's column of contexts.")
    answers: str = Field(
        "answers",
        min_length=1,
        description='A table\'s column of answers: {"text": [...], "answer_start": [...]}, a list of '
        "texts, or one text; empty: no answer.",
    )
    id: str | None = Field(
        None, min_length=1, description="A table's column of ids (default: the row's number)."
    )
    title: str | None = Field(
        None,
        min_length=1,
        description="A table's column of articles: an article stays on one side of a split and is "
        "resampled whole (default: paragraphs are).",
    )
    lowercase: bool = Field(False, description=LOWERCASE)
    no_answer: str = Field(NO_ANSWER, min_length=1, description="What a model says where there is no answer.")
    instruction: str | None = Field(
        None, min_length=1, description="The prompt's first line (default: names no_answer)."
    )
    template: str = Field(
        "Context: {context}\nQuestion: {question}\nAnswer:",
        description="The prompt around an item; holds {context} and {question} once each.",
    )
    encoding: str = Field("utf-8-sig", min_length=1, description="The text files' encoding.")
    delimiter: str | None = Field(
        None, description="What separates cells (default: comma for .csv, tab for .tsv)."
    )
    quotes: bool = Field(
        True, description="Quotation marks quote cells; false: they are ordinary characters."
    )

    @field_validator("template")
    @classmethod
    def _holes(cls, template: str) -> str:
        if template.count("{context}") != 1 or template.count("{question}") != 1:
            raise ValueError("it must hold {context} and {question} once each")
        return template

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.dev and not self.test:
            raise ValueError("dev needs test beside it")
        if self.instruction and self.no_answer not in self.instruction:
            raise ValueError(f"instruction must hold no_answer, {self.no_answer!r}")
        return self


def read_parts(
    files: Mapping[str, str], options: Any, columns: Mapping[str, str | None], reading: Reading
) -> tuple[dict[str, list[QuestionRow]], dict[str, Any]]:
    """The rows of each part's file, and what each file is.

    Raises: DataError with the row for everything that a file can get wrong.
    """
    parts: dict[str, list[QuestionRow]] = {}
    about: dict[str, Any] = {}
    for part, path in files.items():
        if is_squad_file(Path(path)):
            parts[part], about[part] = read_squad(path)
            continue
        table = read_table(path, reading)
        parts[part], about[part] = rows_of_table(table, columns), dict(table.about)
        if columns["id"] is None and len(files) > 1:
            parts[part] = renamed(part, parts[part])
    return parts, about


def rows_of_table(table: Table, columns: Mapping[str, str | None]) -> list[QuestionRow]:
    """The rows of a table by the names of its columns."""
    return question_rows(
        table,
        str(columns["question"]),
        str(columns["context"]),
        columns["answers"],
        columns["id"],
        columns["title"],
    )


def rows_of_parts(
    parts: Mapping[str, Sequence[QuestionRow]], options: Any, source: Mapping[str, Any]
) -> Rows:
    """The parts as examples.

    Raises: DataError where an id stands in two parts, or no question can be answered.
    """
    made: dict[str, list[Example]] = {}
    seen: dict[str, str] = {}
    for part, rows in parts.items():
        items = examples_of(rows, options.lowercase)
        for item in items:
            if seen.setdefault(item.id, part) != part:
                raise DataError(
                    f"{part} part",
                    f"the id {item.id!r} also stands in {seen[item.id]}.",
                    do="Make the ids unique over all files.",
                )
        made[part] = items
    kinds = {item.label for items in made.values() for item in items}
    if 0 not in kinds:
        raise DataError(str(source["name"]), "no question has an answer.", do="Is answers: the right column?")
    changes = {"changes": "lower-cased"} if options.lowercase else {}
    return Rows(
        parts=made, labels=LABELS if 1 in kinds else LABELS[:1], source={**source, **changes}, grouped=True
    )


def read(options: QuestionsOptions) -> Rows:
    """The file as one part ("all"), or train, dev and test as named.

    Raises: DataError with the row for everything that a file can get wrong.
    """
    named = {"train": options.path, "dev": options.dev, "test": options.test}
    files = {part: path for part, path in named.items() if path}
    if len(files) == 1:
        files = {"all": options.path}
    columns = {name: getattr(options, name) for name in ("question", "context", "answers", "id", "title")}
    reading = Reading(options.encoding, options.delimiter, options.quotes)
    parts, about = read_parts(files, options, columns, reading)
    source = {"name": options.path, "parts": about, "licence": _LICENCE}
    return rows_of_parts(parts, options, source)


def prompt(options: QuestionsOptions, labels: Sequence[str]) -> QuestionPrompt:
    """The words around a question, as the options say."""
    usual = question_prompt(options, labels)
    instruction = options.instruction or usual.instruction.replace(usual.no_answer, options.no_answer)
    return QuestionPrompt(instruction, options.template, options.no_answer)


TASK = Task(
    name="questions",
    version=1,
    kind="questions",
    title="Own questions file",
    options=QuestionsOptions,
    read=read,
    prompt=prompt,
    metrics=METRICS,
    paper="none: the user's own data",
    licence=_LICENCE,
    overlaps=same_paragraph,
)

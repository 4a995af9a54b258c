"""The user's own file of texts and written answers: any table, or `messages` of hosted fine-tuning.

In: the user's own files. Out: rows and a prompt. Knows nothing of: splits, models, scores.

An answer is a text of its own: a reply, a summary, a translation, a line of JSON. Nothing is looked for in
the text, and every text has an answer.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

import tuneproof.tasks.label_columns as label_columns
from tuneproof.errors import DataError
from tuneproof.tasks.contexts import Contexts
from tuneproof.tasks.id_column import find_id_column
from tuneproof.tasks.messages import has_messages, read_conversations
from tuneproof.tasks.question_rows import LABELS
from tuneproof.tasks.tables import Sheet, Table, TextFormat, read_table
from tuneproof.tasks.task import (
    Example,
    GoldAnswer,
    Question,
    QuestionPrompt,
    Remark,
    Rows,
    Task,
    TaskOptions,
    contains_once,
)
from tuneproof.tasks.whole_characters import check_whole_characters

_LICENCE = "the user's own"


class AnswersOptions(TaskOptions):
    """The user's own file of texts, each with the answer that a model should write."""

    path: str = Field(min_length=1)
    """The file: .csv, .tsv, .xlsx, .jsonl, .json or .parquet with a row for each text, or .jsonl of messages;
    the train part if test is set."""
    dev: str | None = None
    """A second file for dev, which chooses; needs test."""
    test: str | None = None
    """A second file for test, which reports."""
    text: str = Field("text", min_length=1)
    """The column of texts; of messages, the turns before the last."""
    answer: str = Field("answer", min_length=1)
    """The column of answers: a text, or a list of accepted texts, of which the first is learnt; of messages,
    the assistant's last turn."""
    id: str | None = Field(None, min_length=1)
    """The column of unique ids (default: one of that name, else the row's number)."""
    group: str | None = Field(None, min_length=1)
    """A column of groups: a group stays on one side of a split and counts as a whole in intervals."""
    instruction: str | None = Field(None, min_length=1)
    """The prompt's first lines (default: the system turn that all messages share, else a plain one)."""
    template: Annotated[str, contains_once("{text}")] = "Text: {text}\nAnswer:"
    """The prompt of an item; contains {text} once."""
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
    def _check_parts(self) -> Self:
        if self.dev and not self.test:
            raise ValueError("dev also needs test")
        return self


def read(options: AnswersOptions) -> Rows:
    """One part ("all"), or train, dev and test as named.

    Raises: DataError with the rows of an empty text or answer, or a repeated id.
    """
    text_format = TextFormat(options.encoding, options.delimiter, options.quotes, options.sheet)
    paths = {"train": options.path, "dev": options.dev, "test": options.test}
    tables = {part: read_table(path, text_format.of_part(part)) for part, path in paths.items() if path}
    if len(tables) == 1:
        tables = {"all": tables["train"]}
    instruction = None
    if any(has_messages(table, options.text) for table in tables.values()):
        tables, instruction = read_conversations(tables, options.text, options.answer, is_label=False)
    remarks: list[Remark] = []
    if options.id is None:
        name, remarks = find_id_column(tables, (options.text, options.answer, options.group))
        options = options.model_copy(update={"id": name})
    parts = {
        part: read_items(table, options, part if part != "all" else "row") for part, table in tables.items()
    }
    label_columns.check_unique_ids(parts)
    return Rows(
        parts=parts,
        labels=LABELS[:1],
        source={
            "name": options.path,
            "parts": {part: dict(table.about) for part, table in tables.items()},
            "licence": _LICENCE,
        },
        dropped={"blank line": blank}
        if (blank := sum(table.blank_lines for table in tables.values()))
        else {},
        grouped=True,
        remarks=tuple(remarks),
        instruction=instruction,
    )


def read_items(table: Table, options: AnswersOptions, prefix: str) -> list[Example]:
    """Every row as an item; equal texts are one group. prefix: of the ids where no column holds them.

    Raises: DataError with the rows of an empty text or answer.
    """
    texts = label_columns.read_texts(table, options.text)
    label_columns.check_no_empty_text(table, texts, "Fill them in, or remove these rows.")
    cells = table.column(options.answer, "answer")
    ids = label_columns.read_ids(table, options.id, prefix)
    groups = label_columns.read_groups(table, options.group) if options.group else [""] * len(ids)
    contexts = Contexts(lowercase=False)
    items = []
    for index, (text, cell) in enumerate(zip(texts, cells, strict=True)):
        where = table.locate(index)
        answers = _answers(where, cell)
        check_whole_characters(where, (ids[index], groups[index], answers))
        items.append(item_of(where, ids[index], text, contexts, answers, groups[index]))
    return items


def item_of(
    where: str, id: str, text: str, contexts: Contexts, answers: Sequence[str] = (), group: str = ""
) -> Example:
    """A text as an item. Raises: DataError if the texts of all items are too long together."""
    context = contexts.context(where, text)
    golds = tuple(GoldAnswer(answer, -1, "absent") for answer in answers)
    question = Question("", context.text, golds, context.paragraph)
    return Example(id, context.text, 0, group or f"text {context.paragraph}", question=question)


def _answers(where: str, cell: Any) -> tuple[str, ...]:
    """The accepted answers. Raises: DataError where there is none, or one is no text."""
    values = cell if isinstance(cell, list | tuple) else [cell]
    if isinstance(cell, int | float) and not isinstance(cell, bool) and cell == cell:
        values = [str(cell)]
    if not values or not all(isinstance(value, str) and value.strip() for value in values):
        problem = "the answer is empty." if cell in ("", None, []) else f"the answer is {cell!r:.60}."
        allowed = "An answer is a text, or a list of accepted texts."
        raise DataError(where, problem, allowed, "Fill it in, or remove the row.")
    return tuple(value.strip() for value in values)


def prompt(options: AnswersOptions, labels: Sequence[str]) -> QuestionPrompt:
    """The prompt for a text, as the options set it."""
    instruction = options.instruction or "Write the answer to the text."
    return QuestionPrompt(instruction, options.template.replace("{text}", "{context}"), no_answer="")


TASK = Task(
    name="answers",
    version=1,
    kind="questions",
    title="Your own file of texts and written answers",
    options=AnswersOptions,
    read=read,
    prompt=prompt,
    metrics=("squad_f1", "identical", "squad_exact", "rougeL", "rouge1", "rouge2", "bleu", "meteor"),
    paper="none: the user's own data",
    licence=_LICENCE,
    written=True,
)

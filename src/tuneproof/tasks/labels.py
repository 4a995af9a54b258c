"""The user's own labels file: any table with a text column and a label column.

In: the user's own files, or any data set on the hub. Out: rows and a prompt.
Knows nothing of: splits, models, scores.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

import tuneproof.tasks.label_columns as label_columns
from tuneproof.errors import DataError, RecipeError
from tuneproof.tasks.corrections import read_corrections
from tuneproof.tasks.hub import read_hub
from tuneproof.tasks.id_column import find_id_column
from tuneproof.tasks.label_cells import remark_joined_labels, remark_missing_words
from tuneproof.tasks.label_spellings import merge_spellings
from tuneproof.tasks.messages import has_messages, read_conversations
from tuneproof.tasks.several_labels import read_one_vs_rest, refuse_indicator_columns, refuse_several_labels
from tuneproof.tasks.tables import Sheet, Table, TextFormat, read_table
from tuneproof.tasks.task import Example, Prompt, Remark, Rows, Task, TaskOptions, contains_once

_LICENCE = "the user's own"


class LabelsOptions(TaskOptions):
    """The user's own file (or a data set on the hub) with one text and one label per row."""

    path: str | None = None
    """The file: .csv, .tsv, .xlsx, .jsonl, .json or .parquet; the train part if test is set."""
    dev: str | None = None
    """A second file for dev, which chooses; needs test."""
    test: str | None = None
    """A second file for test, which reports."""
    hub: str | None = None
    """Instead of path: a data set on the hub, such as fancyzhx/ag_news."""
    revision: str | None = None
    """The hub data set's commit; without it results cannot be reproduced."""
    config: str | None = None
    """The hub data set's configuration."""
    text: str = Field("text", min_length=1)
    """The column of the texts."""
    label: str = Field("label", min_length=1)
    """The column of the labels."""
    id: str | None = Field(None, min_length=1)
    """The column of the ids (default: a column called id, uid or the like that holds each id once, else the
    row's number)."""
    group: str | None = Field(None, min_length=1)
    """The column of what items belong to (author, product, document): a group stays on one side of a split
    and counts as a whole in intervals."""
    slices: tuple[str, ...] = Field((), max_length=8)
    """Further columns (source, language, year) by which the report slices the scores."""
    labels: tuple[str, ...] | None = Field(None, min_length=2)
    """The labels in order; of two, the second is the positive class. Default: those in the file, sorted."""
    one_vs_rest: str | None = Field(None, min_length=1)
    """Of items with several labels (a list, or names with a sign such as ; between them): the one label that
    is told from all others. The classes are it, the positive one, and "not" and it."""
    positive: str | None = Field(None, min_length=1)
    """Of two labels, the positive class: precision, recall and F1 are of it. Default: the second."""
    words: tuple[str, ...] | None = None
    """What a model says for each label, in the order of labels (default: the labels)."""
    instruction: str | None = Field(None, min_length=1)
    """The prompt's first line (default: one that names the words)."""
    template: Annotated[str, contains_once("{text}")] = "Text: {text}\nLabel:"
    """The prompt of an item; contains {text} once."""
    cloze: Annotated[str, contains_once("{text}"), contains_once("{mask}")] = "{text} This is {mask}."
    """An encoder's prompt; contains {text} and {mask} once each."""
    drop_empty: bool = False
    """Leave out rows with an empty text and count them; false: an error."""
    corrections: tuple[str, ...] = Field((), max_length=100)
    """A file of corrected labels, or several, such as a study's label_errors.csv with its column corrected
    filled in: items are matched by id and stay in their part; path itself stays as it is."""
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

    @field_validator("corrections", mode="before")
    @classmethod
    def _as_list(cls, paths: Any) -> Any:
        return (paths,) if isinstance(paths, str) else paths or ()

    @field_validator("labels", "words", "slices")
    @classmethod
    def _check_unique(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names and (len(set(names)) < len(names) or not all(name.strip() for name in names)):
            raise ValueError("one is repeated or empty")
        return names

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if (self.path is None) == (self.hub is None):
            raise ValueError("name either a file with path, or a data set with hub")
        if self.hub is None and (self.revision or self.config):
            raise ValueError("revision and config need hub")
        if self.hub and not self.revision:
            raise ValueError("hub needs a revision (the commit), so that the rows stay the same")
        return self

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        if self.hub and (self.dev or self.test):
            raise ValueError("dev and test need path; a data set on the hub has its own parts")
        if self.dev and not self.test:
            raise ValueError("dev also needs test")
        if self.one_vs_rest and (self.labels or self.positive):
            raise ValueError("one_vs_rest makes its own two labels; leave labels and positive out")
        if self.positive and self.labels and self.positive != self.labels[-1]:
            raise ValueError("labels ends with another label than positive; leave one of both out")
        if self.words and (self.labels is None or len(self.words) != len(self.labels)):
            raise ValueError("words needs labels of the same length, in the same order")
        return self


def _read_tables(options: LabelsOptions) -> dict[str, Table]:
    if options.hub is not None:
        hub_tables = read_hub(options.hub, str(options.revision), options.config)
        parts = {"train": "train", "validation": "dev", "dev": "dev", "test": "test"}
        tables = {parts[name]: table for name, table in hub_tables.items() if name in parts}
        if "train" not in tables:
            names = ", ".join(hub_tables)
            raise DataError(options.hub, "has no train part.", f"Its parts are {names}.", "Use a file.")
        if "test" not in tables and "dev" in tables:  # the hub's only held-out part reports
            tables["test"] = tables.pop("dev")
    else:
        text_format = TextFormat(options.encoding, options.delimiter, options.quotes, options.sheet)
        paths = {"train": options.path, "dev": options.dev, "test": options.test}
        tables = {part: read_table(path, text_format.of_part(part)) for part, path in paths.items() if path}
    return {"all": tables["train"]} if len(tables) == 1 else tables


def _build_part(
    table: Table,
    part: str,
    texts: Sequence[str],
    column: Sequence[str],
    labels: Sequence[str],
    options: LabelsOptions,
) -> list[Example]:
    """The examples of one table, those with an empty text too; `column` holds their labels."""
    if not options.drop_empty:
        label_columns.check_no_empty_text(table, texts)
    label_columns.check_labels(table, column, labels)
    numbers = {label: number for number, label in enumerate(labels)}
    ids = label_columns.read_ids(table, options.id, part if part != "all" else "row")
    groups = label_columns.read_groups(table, options.group) if options.group else ids
    slices = [label_columns.read_slice_values(table, name) for name in options.slices]
    values = list(zip(*slices, strict=True)) if slices else [()] * len(ids)
    return [
        Example(*item)
        for item in zip(ids, texts, [numbers[label] for label in column], groups, values, strict=True)
    ]


def read(options: LabelsOptions) -> Rows:
    """The file as one part ("all"), or train, dev and test as named.

    Ids come from the id column (`tasks/id_column.py`), or are "row-17" for one file and "train-17" for
    several.

    Raises: DataError with the rows for everything that a file can get wrong.
    """
    tables, instruction = _read_tables(options), None
    if any(has_messages(table, options.text) for table in tables.values()):
        tables, instruction = read_conversations(tables, options.text, options.label)
    options, id_remarks = _with_id_column(options, tables)
    texts = {part: label_columns.read_texts(table, options.text) for part, table in tables.items()}
    columns, remarks = _read_labels(options, tables)
    labels = options.labels or label_columns.collect_label_names(tables, columns)
    labels = label_columns.put_positive_last(labels, options.one_vs_rest or options.positive)
    parts: dict[str, list[Example]] = {}
    dropped: dict[str, int] = {}
    for part, table in tables.items():
        items = _build_part(table, part, texts[part], columns[part], labels, options)
        parts[part] = [item for item in items if item.text]
        _count(dropped, "empty text", len(items) - len(parts[part]))
        _count(dropped, "blank line", table.blank_lines)
    label_columns.check_unique_ids(parts)
    label_columns.check_label_counts(tables, _label_names(parts, labels), labels)
    remarks += [*id_remarks, *_remark_cells(options, tables, parts, labels)]
    about = {part: dict(table.about) for part, table in tables.items()}
    source: dict[str, Any] = {"name": options.hub or str(options.path), "parts": about, "licence": _LICENCE}
    corrected: Mapping[str, int] = {}
    if options.corrections:
        corrections = read_corrections(options.corrections, parts, labels)
        corrected, source["corrections"] = corrections.labels, list(corrections.files)
    return Rows(
        parts,
        labels,
        source,
        dropped,
        options.group is not None,
        options.slices,
        remarks=tuple(remarks),
        instruction=instruction,
        corrected=corrected,
    )


def _read_labels(
    options: LabelsOptions, tables: Mapping[str, Table]
) -> tuple[dict[str, list[str]], list[Remark]]:
    """Each part's labels, spelled alike, and what reading them changed."""
    for table in tables.values():
        refuse_indicator_columns(table, options.label)
    if options.one_vs_rest is not None:
        pairs = {
            part: read_one_vs_rest(table, options.label, options.one_vs_rest)
            for part, table in tables.items()
        }
        remarks = [remark for _, part_remarks in pairs.values() for remark in part_remarks]
        return {part: column for part, (column, _) in pairs.items()}, remarks
    spelled = {part: label_columns.read_labels(table, options.label) for part, table in tables.items()}
    columns, remarks = merge_spellings(spelled, options.labels)
    if options.labels is None:
        refuse_several_labels(tables, columns)
    return columns, [*remarks, *label_columns.remark_lists(tables.values(), options.label)]


def _with_id_column(
    options: LabelsOptions, tables: Mapping[str, Table]
) -> tuple[LabelsOptions, list[Remark]]:
    """The options with the column of ids of the user's own files, where none is named."""
    if options.id is not None or options.hub is not None:
        return options, []
    name, remarks = find_id_column(tables, (options.text, options.label, options.group))
    return options.model_copy(update={"id": name}), remarks


def _label_names(parts: Mapping[str, Sequence[Example]], labels: Sequence[str]) -> dict[str, list[str]]:
    return {part: [labels[item.label] for item in items] for part, items in parts.items()}


def _remark_cells(
    options: LabelsOptions,
    tables: Mapping[str, Table],
    parts: Mapping[str, Sequence[Example]],
    labels: Sequence[str],
) -> list[Remark]:
    items = [item for part in parts.values() for item in part]
    column = [] if options.labels else [labels[item.label] for item in items]
    return [
        *remark_missing_words("label", column),
        *remark_missing_words("text", [item.text for item in items]),
        *remark_missing_words("group", [item.group for item in items] if options.group else []),
        *remark_joined_labels(column),
    ]


def _count(dropped: dict[str, int], reason: str, count: int) -> None:
    if count:
        dropped[reason] = dropped.get(reason, 0) + count


def prompt(options: LabelsOptions, labels: Sequence[str]) -> Prompt:
    """The prompt; its words default to the labels. Raises: RecipeError if the numbers of both differ."""
    words = tuple(options.words or labels)
    if len(words) != len(labels):
        problem = f"there are {len(words)} words for {len(labels)} labels."
        allowed = f"The labels are {', '.join(labels)}."
        raise RecipeError("task.labels.words", problem, allowed, "Write one word for each label.")
    instruction = options.instruction or f"Choose the label of the text: {', '.join(words)}."
    return Prompt(instruction, options.template, words, options.cloze, cloze_words=words)


TASK = Task(
    name="labels",
    version=1,
    kind="labels",
    title="Your own labels file",
    options=LabelsOptions,
    read=read,
    prompt=prompt,
    metrics=(
        *("accuracy", "f1", "precision", "recall", "f1_macro", "precision_macro", "recall_macro"),
        *("f1_weighted", "brier", "expected_calibration_error"),
    ),
    paper="none: the user's own data",
    licence=_LICENCE,
)

"""Own labels file: any table with a text column and a label column.

In: files of the user's own, or any data set on the hub. Out: rows and a prompt.
Knows nothing of: splits, models, scores.
"""

from collections.abc import Sequence
from typing import Self

from pydantic import Field, field_validator, model_validator

from tuneproof.errors import DataError, RecipeError
from tuneproof.tasks.hub import read_hub
from tuneproof.tasks.label_columns import (
    group_column,
    id_column,
    label_column,
    label_names,
    refuse_empty,
    refuse_rare,
    refuse_unknown,
    slice_column,
    text_column,
)
from tuneproof.tasks.tables import Reading, Table, read_table
from tuneproof.tasks.task import Example, Prompt, Rows, Task, TaskOptions

_LICENCE = "the user's own"


class LabelsOptions(TaskOptions):
    """An own file (or a data set on the hub) with a text and a label a row."""

    path: str | None = Field(
        None, description="The file: .csv, .tsv, .jsonl, .json or .parquet. Train, if test is named."
    )
    dev: str | None = Field(None, description="A second file that chooses (with test).")
    test: str | None = Field(None, description="A second file that reports.")
    hub: str | None = Field(
        None, description="Instead of path: a data set on the hub, such as fancyzhx/ag_news."
    )
    revision: str | None = Field(
        None, description="The hub data set's commit, without which results cannot be repeated."
    )
    config: str | None = Field(None, description="The hub data set's configuration.")
    text: str = Field("text", min_length=1, description="The column of the texts.")
    label: str = Field("label", min_length=1, description="The column of the labels.")
    id: str | None = Field(
        None, min_length=1, description="The column of the ids (default: the row's number)."
    )
    group: str | None = Field(
        None,
        min_length=1,
        description="The column of what items belong to (author, product, document): a group stays "
        "on one side of a split, and is resampled whole.",
    )
    slices: tuple[str, ...] = Field(
        (),
        max_length=8,
        description="Further columns (source, language, year) by which the report slices the scores.",
    )
    labels: tuple[str, ...] | None = Field(
        None,
        min_length=2,
        description="The labels in order; of two, the second is the positive class. Default: "
        "those found, sorted.",
    )
    words: tuple[str, ...] | None = Field(
        None, description="What a model says for each label, in the order of labels (default: they)."
    )
    instruction: str | None = Field(
        None, min_length=1, description="The prompt's first line (default: names the words)."
    )
    template: str = Field("Text: {text}\nLabel:", description="The prompt around an item; holds {text} once.")
    cloze: str = Field(
        "{text} This is {mask}.", description="An encoder's prompt; holds {text} and {mask} once each."
    )
    drop_empty: bool = Field(
        False, description="Leave rows with an empty text out, and count them. false: an error."
    )
    encoding: str = Field("utf-8-sig", min_length=1, description="The text files' encoding.")
    delimiter: str | None = Field(
        None, description="What separates cells (default: comma for .csv, tab for .tsv)."
    )
    quotes: bool = Field(
        True, description="Quotation marks quote cells; false: they are ordinary characters."
    )

    @field_validator("labels", "words", "slices")
    @classmethod
    def _no_twins(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names and (len(set(names)) < len(names) or not all(name.strip() for name in names)):
            raise ValueError("one stands twice or is empty")
        return names

    @field_validator("template", "cloze")
    @classmethod
    def _holes(cls, template: str) -> str:
        if template.count("{text}") != 1:
            raise ValueError("it must hold {text} once")
        return template

    @field_validator("cloze")
    @classmethod
    def _mask(cls, cloze: str) -> str:
        if cloze.count("{mask}") != 1:
            raise ValueError("it must hold {mask} once")
        return cloze

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.path is None) == (self.hub is None):
            raise ValueError("name a file with path, or a data set with hub (one of the two)")
        if self.hub is None and (self.revision or self.config):
            raise ValueError("revision and config go with hub")
        if self.hub and not self.revision:
            raise ValueError("hub needs a revision (the commit), so that the rows stay the same")
        if self.hub and (self.dev or self.test):
            raise ValueError("dev and test go with path; the hub's own parts are used")
        if self.dev and not self.test:
            raise ValueError("dev needs test beside it")
        if self.words and (self.labels is None or len(self.words) != len(self.labels)):
            raise ValueError("words needs labels of the same length, in the same order")
        return self


def _tables(options: LabelsOptions) -> dict[str, Table]:
    if options.hub is not None:
        found = read_hub(options.hub, str(options.revision), options.config)
        parts = {"train": "train", "validation": "dev", "dev": "dev", "test": "test"}
        named = {parts[name]: table for name, table in found.items() if name in parts}
        if "train" not in named:
            raise DataError(
                options.hub, "has no train part.", f"Its parts are {', '.join(found)}.", "Use a file."
            )
        if "test" not in named and "dev" in named:  # the hub's only held-out part reports
            named["test"] = named.pop("dev")
        return {"all": named["train"]} if len(named) == 1 else named
    reading = Reading(options.encoding, options.delimiter, options.quotes)
    paths = {"train": options.path, "dev": options.dev, "test": options.test}
    tables = {part: read_table(path, reading) for part, path in paths.items() if path}
    return {"all": tables["train"]} if len(tables) == 1 else tables


def _part(
    table: Table,
    part: str,
    texts: Sequence[str],
    found: Sequence[str],
    labels: Sequence[str],
    options: LabelsOptions,
) -> list[Example]:
    """The examples of one table, those with an empty text too."""
    if not options.drop_empty:
        refuse_empty(table, texts)
    refuse_unknown(table, found, labels)
    place = {label: index for index, label in enumerate(labels)}
    ids = id_column(table, options.id, part if part != "all" else "row")
    groups = group_column(table, options.group) if options.group else ids
    own = [slice_column(table, name) for name in options.slices]
    values = list(zip(*own, strict=True)) if own else [()] * len(ids)
    return [
        Example(*item)
        for item in zip(ids, texts, [place[label] for label in found], groups, values, strict=True)
    ]


def _refuse_shared_ids(parts: dict[str, list[Example]]) -> None:
    seen: dict[str, str] = {}
    for part, items in parts.items():
        for item in items:
            if seen.setdefault(item.id, part) != part:
                raise DataError(
                    f"{part} file",
                    f"the id {item.id!r} also stands in the {seen[item.id]} file.",
                    do="Make the ids unique over all files, or leave out id.",
                )


def read(options: LabelsOptions) -> Rows:
    """The file as one part ("all"), or train, dev and test as named.

    Ids are the id column's, or "row-17" for one file and "train-17" for several.

    Raises: DataError with the rows for everything that a file can get wrong.
    """
    tables = _tables(options)
    texts = {part: text_column(table, options.text) for part, table in tables.items()}
    found = {part: label_column(table, options.label) for part, table in tables.items()}
    labels = options.labels or label_names(list(tables.values()), list(found.values()))
    parts: dict[str, list[Example]] = {}
    dropped: dict[str, int] = {}
    for part, table in tables.items():
        items = _part(table, part, texts[part], found[part], labels, options)
        parts[part] = [item for item in items if item.text]
        _count(dropped, "empty text", len(items) - len(parts[part]))
        _count(dropped, "blank line", table.blank)
    _refuse_shared_ids(parts)
    first = next(iter(parts))
    kept = [labels[item.label] for item in parts[first]]
    refuse_rare(tables[first].name, kept, labels)
    return Rows(
        parts=parts,
        labels=labels,
        source={
            "name": options.hub or str(options.path),
            "parts": {part: dict(table.about) for part, table in tables.items()},
            "licence": _LICENCE,
        },
        dropped=dropped,
        grouped=options.group is not None,
        columns=options.slices,
    )


def _count(dropped: dict[str, int], reason: str, count: int) -> None:
    if count:
        dropped[reason] = dropped.get(reason, 0) + count


def prompt(options: LabelsOptions, labels: Sequence[str]) -> Prompt:
    """The words around an item; the label words are the labels' names unless `words` says others.

    Raises: RecipeError where `words` are not as many as the labels.
    """
    words = tuple(options.words or labels)
    if len(words) != len(labels):
        raise RecipeError(
            "task.labels.words",
            f"there are {len(words)} words for {len(labels)} labels.",
            f"The labels are {', '.join(labels)}.",
            "Write one word a label.",
        )
    return Prompt(
        instruction=options.instruction or f"Choose the label of the text: {', '.join(words)}.",
        template=options.template,
        words=words,
        cloze=options.cloze,
        cloze_words=words,
    )


TASK = Task(
    name="labels",
    version=1,
    kind="labels",
    title="Own labels file",
    options=LabelsOptions,
    read=read,
    prompt=prompt,
    metrics=(
        "accuracy",
        "f1",
        "precision",
        "recall",
        "f1_macro",
        "precision_macro",
        "recall_macro",
        "f1_weighted",
        "expected_calibration_error",
    ),
    paper="none: the user's own data",
    licence=_LICENCE,
)

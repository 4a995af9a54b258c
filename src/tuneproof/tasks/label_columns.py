"""The columns of the user's own labels file, checked: every error names its rows.

In: tables. Out: texts, labels, ids and groups as strings, and the labels' names.
Knows nothing of: defaults of options, prompts, splits.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tuneproof.errors import DataError, RecipeError
from tuneproof.tasks.delimited import MAX_CELL_LENGTH
from tuneproof.tasks.label_cells import advise_one_vs_rest, is_object, list_items
from tuneproof.tasks.label_spellings import check_spellings, is_number, number_value, plain_spelling, visible
from tuneproof.tasks.tables import Table
from tuneproof.tasks.task import Example, Remark

MAX_LABELS = 1000
MAX_LABEL_LENGTH = 1000  # characters


def is_missing(value: Any) -> bool:
    """Whether a cell is null or not a number."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def as_name(value: Any) -> str | None:
    """A label, id or group as text: 1 and 1.0 are "1", true is "true"; None if it is missing."""
    if is_missing(value):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value).strip() or None


def read_texts(table: Table, name: str) -> list[str]:
    """The texts, stripped; an empty or missing one is "". Raises: DataError if the column is not text."""
    texts = []
    numbers = 0
    values = table.column(name, "text")
    for index, value in enumerate(values):
        if is_missing(value):
            texts.append("")
            continue
        if not isinstance(value, str):
            problem = f"the column {name} contains {_kind(value)}, not text."
            raise DataError(table.locate(index), problem, do="Set text: to the column of the texts.")
        if len(value) > MAX_CELL_LENGTH:
            problem = f"the column {name} has {len(value):,} characters."
            allowed = f"At most {MAX_CELL_LENGTH:,} are allowed."
            raise DataError(table.locate(index), problem, allowed, "Split the text into several rows.")
        texts.append(value.strip())
        numbers += is_number(value)
    filled = sum(1 for text in texts if text)
    if filled and numbers == filled:
        problem = f"the column {name} contains numbers, not text (the first is {next(filter(None, texts))})."
        raise DataError(table.name, problem, do="Set text: to the column of the texts.")
    return texts


def _kind(value: Any) -> str:
    if isinstance(value, (bool, int, float)):
        return "numbers"
    kinds = {"list": "lists", "dict": "objects", "bytes": "bytes"}
    return kinds.get(type(value).__name__, type(value).__name__)


DROP_OR_FILL = "Fill them in, or set drop_empty: true to leave these rows out."


def check_no_empty_text(table: Table, texts: Sequence[str], do: str = DROP_OR_FILL) -> None:
    """Raises DataError if a text is empty, with what to do."""
    empty = [index for index, text in enumerate(texts) if not text]
    if empty:
        subject = "text is" if len(empty) == 1 else "texts are"
        raise DataError(table.name, f"{len(empty):,} {subject} empty ({table.list_rows(empty)}).", do=do)


def read_slice_values(table: Table, name: str) -> list[str]:
    """A further column as text; a missing value is "". Raises: DataError if there is no such column."""
    return [as_name(value) or "" for value in table.column(name, "slices")]


def read_labels(table: Table, name: str) -> list[str]:
    """The labels as text; a list of one label is its label.

    Raises: DataError if one is missing, or if the column contains lists of several, or objects.
    """
    labels: list[str] = []
    missing: list[int] = []
    for index, value in enumerate(table.column(name, "label")):
        label = as_name(_one_label(table, name, index, value))
        if label is None or not visible(label):
            missing.append(index)
        labels.append(label or "")
    if missing:
        subject = "row has" if len(missing) == 1 else "rows have"
        problem = f"{len(missing):,} {subject} no label ({table.list_rows(missing)})."
        raise DataError(table.name, problem, do="Fill them in, or remove these rows.")
    return labels


def _one_label(table: Table, name: str, index: int, value: Any) -> Any:
    items = list_items(value)
    if items is None:
        return value
    if is_object(value) or len(items) > 1 or any(isinstance(item, (list, dict)) for item in items):
        if is_object(value) or any(isinstance(item, (list, dict)) for item in items):
            problem, do = (
                f"the column {name} contains objects, not names.",
                "Write a name into each cell, or a list of names.",
            )
        else:
            labels = [str(as_name(item)) for item in items]
            problem = f"the column {name} contains lists of several labels, such as {', '.join(labels[:4])}."
            do = advise_one_vs_rest(labels[0])
        raise DataError(table.locate(index), problem, "Each item has one label.", do)
    return items[0] if items else None


def remark_lists(tables: Iterable[Table], name: str) -> list[Remark]:
    """A note if labels are read from lists of one."""
    count = sum(list_items(value) is not None for table in tables for value in table.column(name, "label"))
    if not count:
        return []
    subject = "row holds a list of one label" if count == 1 else "rows hold a list of one label"
    return [Remark("label_lists", "note", f"{count:,} {subject}; the label is read.", count)]


def collect_label_names(tables: Mapping[str, Table], columns: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The labels of all tables, sorted: by value if all are numbers, else by name.

    Raises: DataError for too many, only one, or two that are probably one class.
    """
    counts: Counter[str] = Counter()
    for column in columns.values():
        counts.update(column)
    name = next(iter(tables.values())).name
    if len(counts) > MAX_LABELS:
        problem = f"the label column contains {len(counts):,} different values."
        allowed = f"At most {MAX_LABELS:,} labels are allowed."
        raise DataError(name, problem, allowed, "Check that label: names the right column.")
    longest = max(counts, key=len, default="")
    if len(longest) > MAX_LABEL_LENGTH:
        problem = f"a label has {len(longest):,} characters; it begins {longest[:30]!r}."
        allowed = f"At most {MAX_LABEL_LENGTH:,} are allowed."
        raise DataError(name, problem, allowed, "Check that label: names the right column.")
    check_spellings(tables, columns)
    if len(counts) < 2:
        problem = f"every row has the label {next(iter(counts))!r}."
        allowed = "Two or more labels are needed."
        raise DataError(name, problem, allowed, "Check that label: names the right column.")
    if all(is_number(label) for label in counts):
        return tuple(sorted(counts, key=lambda label: (number_value(label), label)))
    return tuple(sorted(counts))


def put_positive_last(labels: tuple[str, ...], positive: str | None) -> tuple[str, ...]:
    """The labels with the positive class last. Raises: RecipeError if it is none of two labels."""
    if positive is None:
        return labels
    names = ", ".join(labels[:10])
    if len(labels) != 2:
        problem = f"there are {len(labels):,} labels; a positive class is one of two."
        raise RecipeError("task.labels.positive", problem, f"The labels are {names}.", "Leave it out.")
    if positive not in labels:
        problem = f"{positive!r} is not a label."
        raise RecipeError("task.labels.positive", problem, f"The labels are {names}.", "Name one of them.")
    return (*(label for label in labels if label != positive), positive)


def check_labels(table: Table, column: Sequence[str], labels: Sequence[str]) -> None:
    """Raises DataError with the first rows whose label is not one of `labels`."""
    allowed = set(labels)
    wrong = [index for index, label in enumerate(column) if label not in allowed]
    if not wrong:
        return
    first = column[wrong[0]]
    count = f" {len(wrong):,} rows have such a label ({table.list_rows(wrong)})." if len(wrong) > 1 else ""
    names = ", ".join(labels[:10]) + (f" and {len(labels) - 10:,} more" if len(labels) > 10 else "")
    problem = f'the label "{first}" is not one of {names}.{count}'
    raise DataError(table.locate(wrong[0]), problem, do="Fix the row, or name the labels with labels: [...].")


def check_label_counts(
    tables: Mapping[str, Table], columns: Mapping[str, Sequence[str]], labels: Sequence[str]
) -> None:
    """Raises DataError if a label has fewer than two of the items that were read in the first part."""
    first, *others = columns
    counts = Counter(columns[first])
    rare = next((label for label in labels if counts[label] < 2), None)
    if rare is None:
        return
    name = tables[first].name
    allowed = "Every label needs at least two items: one for train, one for another part."
    amount = "no item" if counts[rare] == 0 else "one item"
    problem, do = f"the label {rare!r} has {amount}.", "Add items, or remove the label."
    for part in others:
        count = columns[part].count(rare)
        if count and not counts[rare]:
            amount = f"{count:,} {'item' if count == 1 else 'items'}"
            problem = f"the label {rare!r} has no item; {tables[part].name} has {amount} of it."
            do = f"Spell the labels of both files alike, add items, or remove the label from {part}."
            break
    raise DataError(name, problem, allowed, do)


def read_ids(table: Table, name: str | None, part: str) -> list[str]:
    """The ids, from the column or as part and row number. Raises: DataError if missing or repeated."""
    if name is None:
        return [f"{part}-{number}" for number in table.numbers]
    ids: list[str] = []
    seen: dict[str, int] = {}
    repeated: list[int] = []
    for index, value in enumerate(table.column(name, "id")):
        identity = as_name(value)
        if identity is None:
            raise DataError(table.locate(index), "the id is missing.", do="Fill it in, or leave out id.")
        if identity in seen:
            repeated.append(index)
        seen.setdefault(identity, index)
        ids.append(identity)
    if repeated:
        first = ids[repeated[0]]
        count = f"{len(repeated):,} ids are" if len(repeated) > 1 else "one id is"
        problem = (
            f"the id {first!r} is also in {table.noun} {table.numbers[seen[first]]}; "
            f"{count} repeated ({table.list_rows(repeated)})."
        )
        raise DataError(table.locate(repeated[0]), problem, do="Make the ids unique, or leave out id.")
    return ids


def read_groups(table: Table, name: str) -> list[str]:
    """The groups as text. Raises: DataError if one is missing."""
    groups = []
    for index, value in enumerate(table.column(name, "group")):
        group = as_name(value)
        if group is None:
            message = "the group is missing."
            raise DataError(table.locate(index), message, do="Fill it in, or leave out group.")
        groups.append(plain_spelling(group) or group)
    return groups


def check_unique_ids(parts: Mapping[str, Sequence[Example]]) -> None:
    """Raises: DataError if two files of a study share an id."""
    seen: dict[str, str] = {}
    for part, items in parts.items():
        for item in items:
            if seen.setdefault(item.id, part) != part:
                problem = f"the id {item.id!r} is also in the {seen[item.id]} file."
                do = "Make the ids unique across all files, or leave out id."
                raise DataError(f"{part} file", problem, do=do)

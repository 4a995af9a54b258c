"""The columns of an own labels file, checked: every problem with its rows.

In: tables. Out: texts, labels, ids and groups as strings, and the names of the labels.
Knows nothing of: options' defaults, prompts, splits.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tuneproof.errors import DataError
from tuneproof.tasks.delimited import LONGEST_CELL
from tuneproof.tasks.tables import Table

MOST_LABELS = 1000
LONGEST_LABEL = 1000  # characters


def as_name(value: Any) -> str | None:
    """A label, id or group as text: 1 and 1.0 are "1", true is "true"; None where it is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value).strip() or None


def text_column(table: Table, name: str) -> list[str]:
    """The texts, stripped; an empty or missing one is "".

    Raises: DataError where the column is not text.
    """
    texts = []
    numbers = 0
    values = table.column(name, "text")
    for index, value in enumerate(values):
        if value is None or (isinstance(value, float) and math.isnan(value)):
            texts.append("")
            continue
        if not isinstance(value, str):
            raise DataError(
                table.at(index),
                f"the column {name} holds {_kind(value)}, not text.",
                do="Name the column of the texts with text:.",
            )
        if len(value) > LONGEST_CELL:
            raise DataError(
                table.at(index),
                f"the column {name} has {len(value):,} characters.",
                f"At most {LONGEST_CELL:,} are read.",
                "Cut the text into several rows.",
            )
        texts.append(value.strip())
        numbers += _is_number(value)
    filled = sum(1 for text in texts if text)
    if filled and numbers == filled:
        raise DataError(
            table.name,
            f"the column {name} holds numbers, not text (the first is {next(filter(None, texts))}).",
            do="Name the column of the texts with text:.",
        )
    return texts


def _kind(value: Any) -> str:
    if isinstance(value, (bool, int, float)):
        return "numbers"
    kinds = {"list": "lists", "dict": "objects", "bytes": "bytes"}
    return kinds.get(type(value).__name__, type(value).__name__)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def refuse_empty(table: Table, texts: Sequence[str]) -> None:
    """Raises DataError where a text is empty."""
    empty = [index for index, text in enumerate(texts) if not text]
    if empty:
        holds = "text is" if len(empty) == 1 else "texts are"
        raise DataError(
            table.name,
            f"{len(empty):,} {holds} empty ({table.rows(empty)}).",
            do="Fill them in, or set drop_empty: true to leave these rows out.",
        )


def slice_column(table: Table, name: str) -> list[str]:
    """The values of a further column as text; a missing one is "".

    Raises: DataError where there is no such column.
    """
    return [as_name(value) or "" for value in table.column(name, "slices")]


def label_column(table: Table, name: str) -> list[str]:
    """The labels as text.

    Raises: DataError where one is missing, or where the column holds no classes.
    """
    labels: list[str] = []
    missing: list[int] = []
    for index, value in enumerate(table.column(name, "label")):
        if isinstance(value, (list, dict)):
            raise DataError(
                table.at(index),
                f"the column {name} holds {_kind(value)}, not names.",
                "One label an item is read.",
            )
        label = as_name(value)
        if label is None:
            missing.append(index)
        labels.append(label or "")
    if missing:
        holds = "row has" if len(missing) == 1 else "rows have"
        raise DataError(
            table.name,
            f"{len(missing):,} {holds} no label ({table.rows(missing)}).",
            do="Fill them in, or take these rows out.",
        )
    return labels


def label_names(tables: Sequence[Table], columns: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The labels found in all tables, in order: by value where all are numbers, else by name.

    Raises: DataError for too many, only one, or two that differ in case or spaces alone.
    """
    counts: Counter[str] = Counter()
    for column in columns:
        counts.update(column)
    name = tables[0].name
    if len(counts) > MOST_LABELS:
        raise DataError(
            name,
            f"the label column holds {len(counts):,} different values.",
            f"At most {MOST_LABELS:,} labels are allowed.",
            "Does label: name the right column?",
        )
    longest = max(counts, key=len, default="")
    if len(longest) > LONGEST_LABEL:
        raise DataError(
            name,
            f"a label has {len(longest):,} characters; it begins {longest[:30]!r}.",
            f"At most {LONGEST_LABEL:,} are allowed.",
            "Does label: name the right column?",
        )
    folded: dict[str, str] = {}
    for label in counts:
        key = "".join(unicodedata.normalize("NFKC", label).casefold().split())
        if key in folded:
            first, second = sorted((folded[key], label))
            raise DataError(
                name,
                f"the labels {first!r} ({counts[first]:,} rows) and {second!r} "
                f"({counts[second]:,} rows) differ in case or spaces alone.",
                do="Write them alike, or name every label with labels: [...].",
            )
        folded[key] = label
    if len(counts) < 2:
        raise DataError(
            name,
            f"every row has the label {next(iter(counts))!r}.",
            "Two or more labels are needed.",
            "Does label: name the right column?",
        )
    if all(_is_number(label) for label in counts):
        return tuple(sorted(counts, key=lambda label: (float(label), label)))
    return tuple(sorted(counts))


def refuse_unknown(table: Table, column: Sequence[str], labels: Sequence[str]) -> None:
    """Raises DataError with the first rows whose label is not one of `labels`."""
    known = set(labels)
    wrong = [index for index, label in enumerate(column) if label not in known]
    if not wrong:
        return
    first = column[wrong[0]]
    others = f" So it is in {len(wrong):,} rows ({table.rows(wrong)})." if len(wrong) > 1 else ""
    shown = ", ".join(labels[:10]) + (f" and {len(labels) - 10:,} more" if len(labels) > 10 else "")
    raise DataError(
        table.at(wrong[0]),
        f'the label "{first}" is not one of {shown}.{others}',
        do="Mend the row, or name the labels with labels: [...].",
    )


def refuse_rare(name: str, column: Sequence[str], labels: Sequence[str]) -> None:
    """Raises DataError where a label has fewer than two items."""
    counts = Counter(column)
    rare = [label for label in labels if counts[label] < 2]
    if rare:
        amount = "no item" if counts[rare[0]] == 0 else "one item"
        raise DataError(
            name,
            f"the label {rare[0]!r} has {amount}.",
            "Every label needs two or more, to be in train and in another part.",
            "Add items, or take the label out.",
        )


def id_column(table: Table, name: str | None, part: str) -> list[str]:
    """The ids: the column's, else the part's name and the row.

    Raises: DataError where one is missing or stands twice.
    """
    if name is None:
        return [f"{part}-{number}" for number in table.numbers]
    ids: list[str] = []
    seen: dict[str, int] = {}
    twins: list[int] = []
    for index, value in enumerate(table.column(name, "id")):
        identity = as_name(value)
        if identity is None:
            raise DataError(table.at(index), "the id is missing.", do="Fill it in, or leave out id.")
        if identity in seen:
            twins.append(index)
        seen.setdefault(identity, index)
        ids.append(identity)
    if twins:
        first = ids[twins[0]]
        many = f"{len(twins):,} ids stand" if len(twins) > 1 else "an id stands"
        raise DataError(
            table.at(twins[0]),
            f"the id {first!r} also stands in {table.noun} {table.numbers[seen[first]]}; "
            f"{many} twice ({table.rows(twins)}).",
            do="Make the ids unique, or leave out id.",
        )
    return ids


def group_column(table: Table, name: str) -> list[str]:
    """The groups as text.

    Raises: DataError where one is missing.
    """
    groups = []
    for index, value in enumerate(table.column(name, "group")):
        group = as_name(value)
        if group is None:
            raise DataError(table.at(index), "the group is missing.", do="Fill it in, or leave out group.")
        groups.append(group)
    return groups

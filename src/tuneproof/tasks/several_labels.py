"""Items with several labels: recognised and refused, or read as one label against all others.

In: tables. Out: an error that says how to study one label at a time; the two classes of such a study.
Knows nothing of: defaults of options, prompts, splits.

A cell holds several labels as a list, or as names with a sign between them. A sign alone proves nothing, for
a name may hold it ("research, development"). Only where the parts of such cells are labels themselves are
they taken for several labels.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from tuneproof.errors import DataError, did_you_mean
from tuneproof.tasks.label_cells import advise_one_vs_rest, is_object, list_items
from tuneproof.tasks.label_columns import as_name
from tuneproof.tasks.tables import Table
from tuneproof.tasks.task import Remark

SEPARATORS = (";", "|", "#", "\n", ",", "/", "&", "+")
MIN_ALONE = 0.8  # share of the parts that are also labels of their own
MIN_JOINED = 2  # different joined labels
MAX_LISTED = 8
MAX_COLUMNS = 200


def refuse_several_labels(tables: Mapping[str, Table], columns: Mapping[str, Sequence[str]]) -> None:
    """Raises DataError with the first row whose label joins several labels of the column."""
    labels = {label for column in columns.values() for label in column}
    separator = next((sign for sign in SEPARATORS if _joins_labels(labels, sign)), None)
    if separator is None:
        return
    for part, column in columns.items():
        rows = [row for row, label in enumerate(column) if len(_split(label, separator)) > 1]
        if rows:
            names = sorted({name for label in labels for name in _split(label, separator)})
            cell = column[rows[0]]
            problem = f"{len(rows):,} rows hold several labels, such as {cell!r}: {_listed(names)}."
            do = advise_one_vs_rest(_split(cell, separator)[0])
            do = f"{do} If each is a class, name all with labels: [...]."
            raise DataError(tables[part].locate(rows[0]), problem, "Each item has one label.", do)


def _joins_labels(labels: Collection[str], separator: str) -> bool:
    """Whether the parts between the signs are labels: each is in several, and nearly all stand alone."""
    joined = [parts for label in labels if len(parts := _split(label, separator)) > 1]
    counts = Counter(name for label in labels for name in set(_split(label, separator)))
    names = {name for parts in joined for name in parts}
    alone = sum(name in labels for name in names)
    is_repeated = all(counts[name] > 1 for name in names)
    return len(joined) >= MIN_JOINED and is_repeated and alone >= MIN_ALONE * len(names)


def _split(label: str, separator: str) -> list[str]:
    """The parts of a label; the label itself where one of them is empty."""
    parts = [part.strip() for part in label.split(separator)]
    return parts if all(parts) else [label]


def read_one_vs_rest(table: Table, column: str, name: str) -> tuple[list[str], list[Remark]]:
    """For each row the label `name`, or "not" and it; rows without any label are counted.

    Raises: DataError where no row has it.
    """
    values = table.column(column, "label")
    for row, value in enumerate(values):
        if is_object(value):
            problem = f"the column {column} contains objects, not names."
            do = "Write a name into each cell, or a list of names."
            raise DataError(table.locate(row), problem, do=do)
    cells = [_cell_names(value) for value in values]
    separator = _separator(cells, name)
    names = [[part for text in cell for part in _parts(text, separator)] for cell in cells]
    if not any(name in row for row in names):
        every = sorted({part for row in names for part in row})
        problem = f"no cell of the column {column} holds the label {name!r}."
        raise DataError(table.name, problem, f"Its labels: {_listed(every)}.", did_you_mean(name, every[:50]))
    labels = [name if name in row else f"not {name}" for row in names]
    empty = sum(not row for row in names)
    subject = "row has no label at all; it counts" if empty == 1 else "rows have no label at all; they count"
    message = f"{empty:,} {subject} as {f'not {name}'!r}."
    return labels, [Remark("rows_without_label", "note", message, empty)] if empty else []


def _cell_names(value: Any) -> list[str]:
    items = list_items(value)
    return [label for item in ([value] if items is None else items) if (label := as_name(item))]


def _parts(text: str, separator: str | None) -> list[str]:
    return [text] if separator is None else _split(text, separator)


def _separator(cells: Sequence[Sequence[str]], name: str) -> str | None:
    """The sign that separates this label from others in some cell; None where it always stands alone."""
    texts = {cell[0] for cell in cells if len(cell) == 1}
    others = {text for text in texts if name in text and text != name}
    signs = (sign for sign in SEPARATORS if any(name in _split(text, sign) for text in others))
    return next(signs, None) or next((sign for sign in SEPARATORS if _joins_labels(texts, sign)), None)


def refuse_indicator_columns(table: Table, label: str) -> None:
    """Raises DataError where `label` is no column, but several columns hold 0 and 1, one for each label."""
    if label in table.columns:
        return
    named = [part.strip() for part in label.split(",")]
    columns = list(_indicators(table))
    if len(columns) < MIN_JOINED or (len(named) > 1 and not set(named) <= set(table.columns)):
        return
    problem = f"there is no column {label}, but {len(columns)} columns hold 0 and 1: {_listed(columns)}."
    first = next((name for name in named if name in columns), columns[0])
    do = f"Name one with label: {first}; if they are labels, run a study for each of them."
    raise DataError(table.name, problem, "Each item has one label.", do)


def _indicators(table: Table) -> Iterator[str]:
    """The columns that hold 0 and 1, or true and false, and nothing else."""
    for name in list(table.columns)[:MAX_COLUMNS]:
        values = {
            as_name(value) for value in table.columns[name][:1000] if not isinstance(value, (list, dict))
        }
        if any({str(value).lower() for value in values} == pair for pair in ({"0", "1"}, {"true", "false"})):
            yield name


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_LISTED:,} more" if len(names) > MAX_LISTED else ""
    return ", ".join(name[:60] for name in names[:MAX_LISTED]) + more

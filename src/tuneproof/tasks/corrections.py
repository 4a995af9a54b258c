"""Corrected labels from a file, matched to items by id: the user's own file stays as it is.

In: a file such as label_errors.csv with its column `corrected` filled in, the items. Out: the labels to use.
Knows nothing of: splits, how errors are suspected.

The labels change after the split, so that every item stays in its part and a study on corrected labels has
the items of the one before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuneproof.errors import DataError, did_you_mean
from tuneproof.tasks.label_columns import as_name
from tuneproof.tasks.label_spellings import plain_spelling
from tuneproof.tasks.tables import Table, TextFormat, read_table
from tuneproof.tasks.task import Example
from tuneproof.tasks.text_file import read_bytes

ID, LABEL, TEXT, CORRECTED = "id", "label", "text", "corrected"
_GUARDED = ("=", "+", "-", "@", "\t", "\r", "\0")  # texts that CSV for spreadsheets writes after a '


@dataclass(frozen=True)
class Corrections:
    """`labels`: the number of the right label of each item that changes, by id; `files` as in provenance."""

    labels: Mapping[str, int]
    files: Sequence[Mapping[str, Any]]


def read_corrections(
    paths: Sequence[str], parts: Mapping[str, Sequence[Example]], labels: Sequence[str]
) -> Corrections:
    """The corrections of several files, each to the labels that those before it give.

    Raises: DataError as `_read_file`.
    """
    items = {item.id: item for part in parts.values() for item in part}
    corrected: dict[str, int] = {}
    files = []
    for path in paths:
        table = read_corrections_table(path)
        changed = _read_file(table, items, labels)
        items |= {id: replace(items[id], label=number) for id, number in changed.items()}
        corrected |= changed
        files.append({**table.about, "rows": len(changed)})
    return Corrections(corrected, files)


def _read_file(table: Table, items: Mapping[str, Example], labels: Sequence[str]) -> dict[str, int]:
    """The labels that one file changes; rows with an empty cell correct nothing.

    Raises: DataError with the row for an id or a label that the data have not, an item that is another one
    now, or where nothing is corrected.
    """
    _check_columns(table)
    number_of = {plain_spelling(label): number for number, label in enumerate(labels)}
    corrected: dict[str, int] = {}
    for row, cell in enumerate(table.columns[CORRECTED]):
        name = as_name(cell)
        if name is None:
            continue
        item = _item(table, row, items)
        number = number_of.get(plain_spelling(name), number_of.get(plain_spelling(unguarded(name))))
        if number is None:
            problem = f"corrects {item.id} to {name!r}, which is not a label."
            listed = f"The labels are {', '.join(labels[:10])}."
            raise DataError(table.locate(row), problem, listed, did_you_mean(name, labels[:50]))
        _check_same(table, row, item, labels, number)
        if corrected.setdefault(item.id, number) != number:
            raise DataError(table.locate(row), f"corrects {item.id} a second time, to another label.")
    changed = {id: number for id, number in corrected.items() if number != items[id].label}
    if not changed:
        do = "Write the right label of each wrong item into the column corrected, or leave the file out."
        raise DataError(table.name, "corrects no label.", do=do)
    return changed


def _check_columns(table: Table) -> None:
    for name in (ID, CORRECTED):
        if name not in table.columns:
            problem = f"has no column {name}."
            listed = f"Its columns: {', '.join(list(table.columns)[:12])}."
            do = "Write the right label of each wrong item into the column corrected, beside its id."
            raise DataError(table.name, problem, listed, do)


def read_corrections_table(path: str) -> Table:
    """The file as a table; a spreadsheet may have saved it with semicolons."""
    file = Path(path).expanduser()
    header = read_bytes(file).data.partition(b"\n")[0] if file.suffix.lower() == ".csv" else b""
    return read_table(file, TextFormat(delimiter=";" if header.count(b";") > header.count(b",") else None))


def _item(table: Table, row: int, items: Mapping[str, Example]) -> Example:
    identity = as_name(table.columns[ID][row])
    if identity is None:
        raise DataError(table.locate(row), "corrects an item without an id.", do="Fill in its id.")
    item = items.get(identity) or items.get(unguarded(identity))
    if item is None:
        do = "Correct the id, or name the file of the study on these data."
        raise DataError(table.locate(row), f"the id {identity!r} is of no item.", do=do)
    return item


def _check_same(table: Table, row: int, item: Example, labels: Sequence[str], number: int) -> None:
    """Raises DataError where the row was written for another item: its text or label is not the item's."""
    do = "Name the file of a study on these data, or remove the row."
    text = as_name(table.columns[TEXT][row]) if TEXT in table.columns else None
    if text is not None and _words(item.text) not in (_words(text), _words(unguarded(text))):
        problem = f"the text of {item.id} is another one in the data."
        raise DataError(table.locate(row), problem, do=do)
    label = as_name(table.columns[LABEL][row]) if LABEL in table.columns else None
    if label is None or item.label == number:
        return
    own = plain_spelling(labels[item.label])
    if own not in (plain_spelling(label), plain_spelling(unguarded(label))):
        problem = f"the label of {item.id} is {labels[item.label]!r} in the data, not {label!r}."
        raise DataError(table.locate(row), problem, do=do)


def _words(text: str) -> list[str]:
    return text.split()


def unguarded(text: str) -> str:
    """A text without the ' that keeps a spreadsheet from running it."""
    return text[1:] if text.startswith("'") and text[1:2] in _GUARDED else text

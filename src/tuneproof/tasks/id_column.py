"""The column of ids that nobody named.

In: tables. Out: the column's name, and a note for the reader. Knows nothing of: options, prompts, splits.
"""

from collections.abc import Collection, Mapping

from tuneproof.tasks.label_columns import as_name
from tuneproof.tasks.tables import Table
from tuneproof.tasks.task import Remark

NAMES = ("id", "_id", "uid", "uuid", "guid", "item_id", "row_id", "example_id", "sample_id", "doc_id")


def find_id_column(
    tables: Mapping[str, Table], used: Collection[str | None]
) -> tuple[str | None, list[Remark]]:
    """The column that all tables have under a name of ids, if it holds each id once.

    `used`: columns that are something else. With repeated or missing ids rows are numbered, and the note
    says so.
    """
    name = _candidate(tables, used)
    if name is None:
        return None, []
    ids = [as_name(value) for table in tables.values() for value in table.columns[name]]
    if None in ids or len(set(ids)) < len(ids):
        problem = "has cells without an id" if None in ids else "repeats an id"
        message = f"The column {name} {problem}, so rows are known by their numbers."
        return None, [Remark("id_column", "note", message, len(ids))]
    message = f"The column {name} holds a unique id for every row, by which items are known."
    return name, [Remark("id_column", "note", message, len(ids))]


def _candidate(tables: Mapping[str, Table], used: Collection[str | None]) -> str | None:
    """The first name of `NAMES` by which all tables have a column, in any case."""
    first, *others = [table.columns for table in tables.values()]
    for id_name in NAMES:
        for name in first:
            is_name = name.strip().lower() == id_name and name not in used
            if is_name and all(name in columns for columns in others):
                return name
    return None

"""Public data sets: their tables, from local files or the hub, and rows of labelled texts.

In: a PublicSource; a folder, or None for the hub. Out: a table for each part; rows.
Knows nothing of: splits, models, the user's own files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuneproof.errors import DataError
from tuneproof.tasks.hub import read_hub
from tuneproof.tasks.tables import EXTENSIONS, Table, read_table
from tuneproof.tasks.task import Example, PublicSource, Rows


def read_tables(source: PublicSource, path: str | None) -> dict[str, Table]:
    """Train and test from a folder, or from the hub if `path` is None. Raises: DataError if one is gone."""
    if path is None:
        tables = read_hub(source.hub, source.revision)
        return {"train": tables["train"], "test": tables[source.hub_test]}
    return {part: read_table(file) for part, file in find_files(source, path, EXTENSIONS).items()}


def find_files(source: PublicSource, path: str, endings: Sequence[str]) -> dict[str, Path]:
    """The train and test files in a folder, by name and ending. Raises: DataError if one is missing."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        problem = "is a file, not a folder." if folder.exists() else "does not exist."
        files = f"{source.train_files[0]} and {source.test_files[0]}"
        raise DataError(str(folder), problem, do=f"Name the folder that holds the files {files}.")
    names = {"train": source.train_files, "test": source.test_files}
    return {part: _find_file(folder, part_names, endings) for part, part_names in names.items()}


def _find_file(folder: Path, names: Sequence[str], endings: Sequence[str]) -> Path:
    for name in names:
        for stem in (name, f"{name}-00000-of-00001"):
            for ending in endings:
                if (folder / f"{stem}{ending}").is_file():
                    return folder / f"{stem}{ending}"
    problem = f"has no {' or '.join(names)} file."
    do = "Name another folder, or leave path out to download the data from the hub."
    raise DataError(str(folder), problem, f"Allowed endings: {', '.join(endings)}.", do)


def read_labelled_rows(
    source: PublicSource,
    labels: Sequence[str],
    path: str | None,
    aliases: Mapping[str, str] | None = None,
    id_digits: int = 6,
) -> Rows:
    """The train and test parts of a data set with one text and one label per row.

    A label is its number, its name in any case, or one of the `aliases` (alias to name). Ids are the
    part's name on the hub and the row from 0, such as train-000123. Each row is its own group.

    Raises: DataError for missing files, and with the row for an empty text or an unknown label.
    """
    tables = read_tables(source, path)
    numbers = _label_numbers(labels, aliases or {})
    parts = {}
    for part, table in tables.items():
        examples = []
        prefix = source.hub_test if part == "test" else part
        values = table.column(source.label, "label")
        for index, text in enumerate(table.column(source.text, "text")):
            number = numbers.get(str(values[index]).strip().lower())
            row_id = f"{prefix}-{index:0{id_digits}d}"
            clean = read_text(table, index, text)
            if number is None:
                allowed = ", ".join(f"{n} ({label})" for n, label in enumerate(labels))
                problem = f"the label {values[index]!r} is not one of {allowed}."
                raise DataError(table.locate(index), problem, do="Fix the row.")
            examples.append(Example(row_id, clean, number, row_id))
        parts[part] = examples
    about = {part: dict(table.about) for part, table in tables.items()}
    return Rows(parts, tuple(labels), {"name": source.name, "parts": about, "licence": source.licence})


def _label_numbers(labels: Sequence[str], aliases: Mapping[str, str]) -> dict[str, int]:
    """The number of every label, by its number, name and alias as text in lower case."""
    numbers = {str(number): number for number in range(len(labels))}
    numbers |= {label.lower(): number for number, label in enumerate(labels)}
    return numbers | {alias.lower(): numbers[label.lower()] for alias, label in aliases.items()}


def read_text(table: Table, index: int, value: Any) -> str:
    """The stripped text of a cell. Raises: DataError with the row if it is empty or not text."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    is_empty = value is None or isinstance(value, str)
    problem = "the text is empty." if is_empty else f"the text is {type(value).__name__}, not text."
    raise DataError(table.locate(index), problem, do="Fix the row or remove it.")


def with_groups(examples: Sequence[Example], groups: Sequence[str]) -> list[Example]:
    """The examples with these groups."""
    return [replace(example, group=group) for example, group in zip(examples, groups, strict=True)]

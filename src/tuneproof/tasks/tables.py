"""Tables: CSV, TSV, JSONL, JSON and Parquet files as columns, with row numbers for errors.

In: a path. Out: a table. Knows nothing of: labels, prompts, splits.

A row's number is the one that the user sees: the spreadsheet's row for CSV and TSV (the header is
row 1), the line of a JSONL file, the position from 1 in a JSON or Parquet file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneproof.errors import DataError, did_you_mean
from tuneproof.tasks.delimited import MAX_COLUMNS, declared_delimiter, read_delimited, suggest_delimiter
from tuneproof.tasks.lazy_columns import LazyColumns
from tuneproof.tasks.parquet_columns import read_parquet
from tuneproof.tasks.size_limits import check_cells, check_json, check_rows
from tuneproof.tasks.text_file import FileBytes, decode, read_bytes
from tuneproof.tasks.whole_characters import check_whole_characters, may_hold_halves

EXTENSIONS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
_UNSUPPORTED = {
    ".pkl": "a pickle can run code when it is read",
    ".pickle": "a pickle can run code when it is read",
    ".pt": "such a file can run code when it is read",
    ".joblib": "such a file can run code when it is read",
    ".npy": "it has no named columns",
    ".xlsx": "it is a workbook, not a table",
    ".xls": "it is a workbook, not a table",
    ".gz": "it is compressed",
    ".zip": "it is compressed",
}


@dataclass(frozen=True)
class TextFormat:
    """How to read a text file; Parquet needs none of it."""

    encoding: str = "utf-8-sig"
    delimiter: str | None = None
    quotes: bool | None = None


@dataclass(frozen=True)
class Table:
    """N rows as columns. `numbers[i]` is row i's number; `blank_lines` counts lines without content."""

    name: str
    columns: Mapping[str, Sequence[Any]]
    numbers: Sequence[int]
    noun: str = "row"
    blank_lines: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)

    def locate(self, index: int) -> str:
        """'reviews.csv, row 1042'."""
        return f"{self.name}, {self.noun} {self.numbers[index]}"

    def list_rows(self, indices: Sequence[int]) -> str:
        """'rows 3, 8, 9, 12, 40 and 7 more'."""
        first = ", ".join(str(self.numbers[index]) for index in indices[:5])
        more = f" and {len(indices) - 5:,} more" if len(indices) > 5 else ""
        return f"{self.noun}{'s' if len(indices) > 1 else ''} {first}{more}"

    def column(self, name: str, setting: str) -> Sequence[Any]:
        """The column that the setting names. Raises: DataError with the closest name if it is missing."""
        if name in self.columns:
            return self.columns[name]
        names = list(self.columns)
        hint = did_you_mean(name, names)
        have = "" if hint.startswith("Allowed") else f"The columns are {', '.join(names[:12])}."
        if hint.startswith("Allowed"):
            hint = f"Name one of its columns with {setting}: {', '.join(names[:12])}."
        if suggestion := suggest_delimiter(names):
            have, hint = f"Its only column is {names[0]!r}.", suggestion
        raise DataError(self.name, f"there is no column {name}.", have, hint)


def read_table(path: str | Path, text_format: TextFormat | None = None) -> Table:
    """Read one file by its extension. Raises: DataError with the row if it is not what its name says."""
    path, text_format = Path(path).expanduser(), text_format or TextFormat()
    ending = path.suffix.lower()
    if ending in _UNSUPPORTED and not path.is_dir():
        problem = f"{ending} files are not supported: {_UNSUPPORTED[ending]}."
        raise DataError(str(path), problem, do="Save the rows as CSV, JSONL or Parquet.")
    file = read_bytes(path)
    if ending == ".parquet":
        columns, rows = read_parquet(file)
        table = Table(file.name, columns, range(1, rows + 1))
    elif ending in (".csv", ".tsv"):
        text = decode(file, text_format.encoding)
        default = declared_delimiter(text) or {".csv": ",", ".tsv": "\t"}[ending]
        cells = read_delimited(file.name, text, text_format.delimiter or default, text_format.quotes)
        table = Table(file.name, cells.columns, cells.numbers, blank_lines=cells.blank_lines)
    elif ending == ".jsonl":
        table = _json_lines(file, text_format.encoding)
    elif ending == ".json":
        table = _json_list(file, text_format.encoding)
    else:
        problem = f"{ending or 'a file without an ending'} is not a supported file type."
        raise DataError(str(path), problem, f"Supported: {', '.join(EXTENSIONS)}.")
    if not len(table.numbers):
        raise DataError(str(path), "has a header but no rows.", do="Add rows.")
    about = {"path": str(path), "sha256": file.sha256, "rows": len(table.numbers)}
    return Table(table.name, table.columns, table.numbers, table.noun, table.blank_lines, about)


def _json_lines(file: FileBytes, encoding: str) -> Table:
    values: list[Any] = []
    numbers: list[int] = []
    text = decode(file, encoding).rstrip("\r\n")
    check_rows(file.name, text.count("\n") + 1)
    check_json(file.name, text)
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            do = 'Each line is one object such as {"text": "…", "label": "…"}.'
            raise DataError(f"{file.name}, line {number}", f"is not JSON: {error}.", do=do) from None
        numbers.append(number)
    _check_halves(file.name, text, values, numbers, "line")
    return _objects(file.name, values, numbers, "line", len(lines) - len(numbers))


def _json_list(file: FileBytes, encoding: str) -> Table:
    text = decode(file, encoding)
    check_json(file.name, text)
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        problem = f"is not JSON: {error}."
        raise DataError(file.name, problem, do="If it has one object per line, name it .jsonl.") from None
    if isinstance(values, dict) and isinstance(values.get("data"), list):
        values = values["data"]
    if not isinstance(values, list):
        raise DataError(file.name, "is not a list of objects.", do="Write [{…}, {…}], or JSONL.")
    numbers = range(1, len(values) + 1)
    _check_halves(file.name, text, values, numbers, "row")
    return _objects(file.name, values, numbers, "row", 0)


def _check_halves(name: str, text: str, values: Sequence[Any], numbers: Sequence[int], noun: str) -> None:
    if may_hold_halves(text):
        for number, value in zip(numbers, values, strict=True):
            check_whole_characters(f"{name}, {noun} {number}", value)


def _objects(name: str, values: Sequence[Any], numbers: Sequence[int], noun: str, blank_lines: int) -> Table:
    names: dict[str, None] = {}
    for number, value in zip(numbers, values, strict=True):
        if not isinstance(value, dict):
            problem = f"is not an object but {type(value).__name__}."
            do = "Each row is one object with the columns as its keys."
            raise DataError(f"{name}, {noun} {number}", problem, do=do)
        names.update(dict.fromkeys(value))
        if len(names) > MAX_COLUMNS:
            problem = f"the rows up to this one use {len(names):,} different keys."
            allowed = f"At most {MAX_COLUMNS:,} columns are allowed."
            raise DataError(f"{name}, {noun} {number}", problem, allowed, "Use the same keys in every row.")
    check_rows(name, len(values))
    check_cells(name, len(names) * len(values))
    columns = LazyColumns(names, lambda key: [value.get(key) for value in values])
    return Table(name, columns, numbers, noun, blank_lines)

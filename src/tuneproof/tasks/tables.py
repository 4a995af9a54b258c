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
from tuneproof.tasks.delimited import MAX_COLUMNS, check_header, read_delimited
from tuneproof.tasks.text_file import FileBytes, decode, read_bytes

MAX_UNPACKED = 16_000_000_000  # bytes of a Parquet file's rows in memory
ROWS_PER_READ = 4096
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
    quotes: bool = True


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
        if len(names) == 1 and any(sign in names[0] for sign in ";\t|,"):
            sign = next(sign for sign in ";\t|," if sign in names[0])
            delimiter = "\\t" if sign == "\t" else sign
            have = f"Its only column is {names[0]!r}."
            hint = f'If {delimiter} separates its cells, set delimiter: "{delimiter}".'
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
        table = _parquet(file)
    elif ending in (".csv", ".tsv"):
        delimiter = text_format.delimiter or {".csv": ",", ".tsv": "\t"}[ending]
        cells = read_delimited(file.name, decode(file, text_format.encoding), delimiter, text_format.quotes)
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
    lines = decode(file, encoding).rstrip("\r\n").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            do = 'Each line is one object such as {"text": "…", "label": "…"}.'
            raise DataError(f"{file.name}, line {number}", f"is not JSON: {error}.", do=do) from None
        numbers.append(number)
    return _objects(file.name, values, numbers, "line", len(lines) - len(numbers))


def _json_list(file: FileBytes, encoding: str) -> Table:
    try:
        values = json.loads(decode(file, encoding))
    except (ValueError, RecursionError) as error:
        problem = f"is not JSON: {error}."
        raise DataError(file.name, problem, do="If it has one object per line, name it .jsonl.") from None
    if not isinstance(values, list):
        raise DataError(file.name, "is not a list of objects.", do="Write [{…}, {…}], or JSONL.")
    return _objects(file.name, values, range(1, len(values) + 1), "row", 0)


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
    columns = {key: [value.get(key) for value in values] for key in names}
    return Table(name, columns, numbers, noun, blank_lines)


def _parquet(file: FileBytes) -> Table:
    """The rows, unpacked batch by batch, so that a small file cannot fill the memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    batches, size = [], 0
    try:
        parquet = pq.ParquetFile(pa.BufferReader(file.data))
        check_header(file.name, parquet.schema_arrow.names)
        for batch in parquet.iter_batches(ROWS_PER_READ):
            size += batch.nbytes
            if size > MAX_UNPACKED:
                raise DataError(file.name, f"unpacks to more than {MAX_UNPACKED:,} bytes.")
            batch.validate(full=True)  # its texts are UTF-8, and no offset points outside
            batches.append(batch)
        table = pa.Table.from_batches(batches, parquet.schema_arrow)
        columns = {name: table.column(name).to_pylist() for name in table.column_names}
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        problem = f"cannot be read as Parquet: {reason}."
        raise DataError(file.name, problem, do="Check the file's ending, or write the file again.") from None
    return Table(file.name, columns, range(1, table.num_rows + 1))

"""A file of rows as columns, with row numbers for errors: CSV, TSV, JSONL, JSON, Parquet.

In: a path. Out: a table.
Knows nothing of: labels, prompts, splits.

A row's number is the one that the user sees: the spreadsheet's row for CSV and TSV (the header is
row 1), the line of a JSONL file, the place in the list of a JSON or Parquet file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneproof.errors import DataError, did_you_mean
from tuneproof.tasks.delimited import MOST_COLUMNS, read_cells, refuse_twins
from tuneproof.tasks.text_file import FileBytes, decode, read_bytes

MOST_UNPACKED = 16_000_000_000  # bytes of a Parquet file's rows in memory
ROWS_AT_ONCE = 4096
EXTENSIONS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
_REFUSED = {
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
class Reading:
    """How a text file is read; Parquet needs none of it."""

    encoding: str = "utf-8-sig"
    delimiter: str | None = None
    quotes: bool = True


@dataclass(frozen=True)
class Table:
    """N rows as columns. `numbers[i]` is row i's number; `blank` counts lines without content."""

    name: str
    columns: Mapping[str, Sequence[Any]]
    numbers: Sequence[int]
    noun: str = "row"
    blank: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)

    def at(self, index: int) -> str:
        """'reviews.csv, row 1042'."""
        return f"{self.name}, {self.noun} {self.numbers[index]}"

    def rows(self, indices: Sequence[int]) -> str:
        """'rows 3, 8, 9, 12, 40 and 7 more'."""
        shown = ", ".join(str(self.numbers[index]) for index in indices[:5])
        more = f" and {len(indices) - 5:,} more" if len(indices) > 5 else ""
        return f"{self.noun}{'s' if len(indices) > 1 else ''} {shown}{more}"

    def column(self, name: str, setting: str) -> Sequence[Any]:
        """The column that the setting names.

        Raises: DataError with the nearest column where it is missing.
        """
        if name in self.columns:
            return self.columns[name]
        names = list(self.columns)
        hint = did_you_mean(name, names)
        have = "" if hint.startswith("Allowed") else f"The columns are {', '.join(names[:12])}."
        if hint.startswith("Allowed"):
            hint = f"Name one of its columns with {setting}: {', '.join(names[:12])}."
        if len(names) == 1 and any(sign in names[0] for sign in ";\t|,"):
            sign = next(sign for sign in ";\t|," if sign in names[0])
            shown = "\\t" if sign == "\t" else sign
            have, hint = (
                f"Its only column is {names[0]!r}.",
                f'Are its cells separated by {shown}? Then set delimiter: "{shown}".',
            )
        raise DataError(self.name, f"there is no column {name}.", have, hint)


def read_table(path: str | Path, reading: Reading | None = None) -> Table:
    """Read one file by its extension.

    Raises: DataError with the row where the file is not what its name says.
    """
    path, reading = Path(path).expanduser(), reading or Reading()
    ending = path.suffix.lower()
    if ending in _REFUSED and not path.is_dir():
        raise DataError(
            str(path),
            f"{ending} files are not read: {_REFUSED[ending]}.",
            do="Save the rows as CSV, JSONL or Parquet.",
        )
    file = read_bytes(path)
    if ending == ".parquet":
        table = _parquet(file)
    elif ending in (".csv", ".tsv"):
        delimiter = reading.delimiter or {".csv": ",", ".tsv": "\t"}[ending]
        cells = read_cells(file.name, decode(file, reading.encoding), delimiter, reading.quotes)
        table = Table(file.name, cells.columns, cells.numbers, blank=cells.blank)
    elif ending == ".jsonl":
        table = _json_lines(file, reading.encoding)
    elif ending == ".json":
        table = _json_list(file, reading.encoding)
    else:
        raise DataError(
            str(path),
            f"{ending or 'a file without an ending'} is not a kind of file that is read.",
            f"Read are {', '.join(EXTENSIONS)}.",
        )
    if not len(table.numbers):
        raise DataError(str(path), "has a header but no rows.", do="It needs rows.")
    about = {"path": str(path), "sha256": file.sha256, "rows": len(table.numbers)}
    return Table(table.name, table.columns, table.numbers, table.noun, table.blank, about)


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
            raise DataError(
                f"{file.name}, line {number}",
                f"is not JSON: {error}.",
                do='Each line is one object such as {"text": "…", "label": "…"}.',
            ) from None
        numbers.append(number)
    return _objects(file.name, values, numbers, "line", len(lines) - len(numbers))


def _json_list(file: FileBytes, encoding: str) -> Table:
    try:
        values = json.loads(decode(file, encoding))
    except (ValueError, RecursionError) as error:
        raise DataError(
            file.name, f"is not JSON: {error}.", do="One object a line? Name it .jsonl."
        ) from None
    if not isinstance(values, list):
        raise DataError(file.name, "is not a list of objects.", do="Write [{…}, {…}], or JSONL.")
    return _objects(file.name, values, range(1, len(values) + 1), "row", 0)


def _objects(name: str, values: Sequence[Any], numbers: Sequence[int], noun: str, blank: int) -> Table:
    names: dict[str, None] = {}
    for number, value in zip(numbers, values, strict=True):
        if not isinstance(value, dict):
            raise DataError(
                f"{name}, {noun} {number}",
                f"is not an object but {type(value).__name__}.",
                do="Each row is one object with the columns as its keys.",
            )
        names.update(dict.fromkeys(value))
        if len(names) > MOST_COLUMNS:
            raise DataError(
                f"{name}, {noun} {number}",
                f"with it there are {len(names):,} different keys.",
                f"At most {MOST_COLUMNS:,} columns are read.",
                "Use the same keys in every row.",
            )
    columns = {key: [value.get(key) for value in values] for key in names}
    return Table(name, columns, numbers, noun, blank)


def _parquet(file: FileBytes) -> Table:
    """The rows, unpacked piece by piece, so that a small file cannot fill the memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pieces, size = [], 0
    try:
        opened = pq.ParquetFile(pa.BufferReader(file.data))
        refuse_twins(file.name, opened.schema_arrow.names)
        for piece in opened.iter_batches(ROWS_AT_ONCE):
            size += piece.nbytes
            if size > MOST_UNPACKED:
                raise DataError(file.name, f"unpacks to more than {MOST_UNPACKED:,} bytes.")
            piece.validate(full=True)  # that its texts are UTF-8, and no offset leads outside
            pieces.append(piece)
        table = pa.Table.from_batches(pieces, opened.schema_arrow)
        columns = {name: table.column(name).to_pylist() for name in table.column_names}
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise DataError(
            file.name, f"cannot be read as Parquet: {said}.", do="Is its ending right? Or write it anew."
        ) from None
    return Table(file.name, columns, range(1, table.num_rows + 1))

"""Tables: CSV, TSV, JSONL, JSON, Parquet and Excel files as columns, with row numbers for errors.

In: a path. Out: a table. Knows nothing of: labels, prompts, splits.

A row's number is the one that the user sees: the spreadsheet's row for CSV, TSV and .xlsx (the header
is row 1), the line of a JSONL file, the position from 1 in a JSON or Parquet file.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from tuneproof.errors import DataError, did_you_mean
from tuneproof.tasks.delimited import MAX_COLUMNS, declared_delimiter, read_delimited, suggest_delimiter
from tuneproof.tasks.lazy_columns import LazyColumns
from tuneproof.tasks.parquet_columns import read_parquet
from tuneproof.tasks.size_limits import check_cells, check_json, check_rows
from tuneproof.tasks.text_file import FileBytes, decode, read_bytes
from tuneproof.tasks.whole_characters import check_whole_characters, may_hold_halves
from tuneproof.tasks.workbook import read_workbook

EXTENSIONS = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".xlsx")
_UNSUPPORTED = {
    ".pkl": "a pickle can run code when it is read",
    ".pickle": "a pickle can run code when it is read",
    ".pt": "such a file can run code when it is read",
    ".joblib": "such a file can run code when it is read",
    ".npy": "it has no named columns",
    ".xls": "it is a workbook in an old form; .xlsx is read",
    ".xlsb": "it is a workbook in a binary form; .xlsx is read",
    ".ods": "it is a workbook in another form; .xlsx is read",
    ".numbers": "it is a workbook in another form; .xlsx is read",
    ".gz": "it is compressed",
    ".zip": "it is compressed",
}


def _check_sheet(value: Any) -> Any:
    names = list(value.items()) if isinstance(value, dict) else [("train", value)]
    is_named = all(
        part in ("train", "dev", "test") and isinstance(name, str) and name for part, name in names
    )
    if value is not None and not is_named:
        raise ValueError("write the name of a sheet, or one for each part: {train: NAME, test: NAME}")
    return value


Sheet = Annotated[str | dict[Literal["train", "dev", "test"], str] | None, BeforeValidator(_check_sheet)]


@dataclass(frozen=True)
class TextFormat:
    """How to read a text file, and which sheet of a workbook; Parquet needs none of it."""

    encoding: str = "utf-8-sig"
    delimiter: str | None = None
    quotes: bool | None = None
    sheet: Sheet = None

    def of_part(self, part: str) -> "TextFormat":
        """How to read the file of train ("all": the only file), dev or test."""
        if not isinstance(self.sheet, dict):
            return self
        names = {str(name): sheet for name, sheet in self.sheet.items()}
        return replace(self, sheet=names.get("train" if part == "all" else part))


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
    _refuse_lock_file(path)
    if ending in _UNSUPPORTED and not path.is_dir():
        problem = f"{ending} files are not supported: {_UNSUPPORTED[ending]}."
        raise DataError(str(path), problem, do="Save the rows as CSV, JSONL, Parquet or .xlsx.")
    file = read_bytes(path)
    if ending not in _READERS:
        problem = f"{ending or 'a file without an ending'} is not a supported file type."
        raise DataError(str(path), problem, f"Supported: {', '.join(EXTENSIONS)}.")
    table = _READERS[ending](file, text_format)
    if not len(table.numbers):
        raise DataError(str(path), "has a header but no rows.", do="Add rows.")
    about = {"path": str(path), "sha256": file.sha256, "rows": len(table.numbers), **table.about}
    return Table(table.name, table.columns, table.numbers, table.noun, table.blank_lines, about)


def _refuse_lock_file(path: Path) -> None:
    """Raises DataError for the file that an office program leaves beside an open workbook."""
    for start, end in (("~$", ""), (".~lock.", "#")):
        if path.name.startswith(start) and path.name.endswith(end):
            name = path.name.removeprefix(start).removesuffix(end)
            problem = "is no table: an office program keeps it while the workbook is open."
            raise DataError(str(path), problem, do=f"Name {path.with_name(name)}.")


def _parquet(file: FileBytes, text_format: TextFormat) -> Table:
    columns, rows = read_parquet(file)
    return Table(file.name, columns, range(1, rows + 1))


def _workbook(file: FileBytes, text_format: TextFormat) -> Table:
    sheet = read_workbook(file, text_format.sheet if isinstance(text_format.sheet, str) else None)
    name = f"{file.name}, sheet {sheet.name}"
    return Table(
        name, sheet.columns, sheet.numbers, blank_lines=sheet.blank_lines, about={"sheet": sheet.name}
    )


def _delimited(delimiter: str, file: FileBytes, text_format: TextFormat) -> Table:
    text = decode(file, text_format.encoding)
    sign = text_format.delimiter or declared_delimiter(text) or delimiter
    cells = read_delimited(file.name, text, sign, text_format.quotes)
    return Table(file.name, cells.columns, cells.numbers, blank_lines=cells.blank_lines)


def _json_lines(file: FileBytes, text_format: TextFormat) -> Table:
    values: list[Any] = []
    numbers: list[int] = []
    text = decode(file, text_format.encoding).rstrip("\r\n")
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


def _json_list(file: FileBytes, text_format: TextFormat) -> Table:
    text = decode(file, text_format.encoding)
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


_READERS: Mapping[str, Callable[[FileBytes, TextFormat], Table]] = {
    ".parquet": _parquet,
    ".xlsx": _workbook,
    ".xlsm": _workbook,
    ".csv": partial(_delimited, ","),
    ".tsv": partial(_delimited, "\t"),
    ".jsonl": _json_lines,
    ".json": _json_list,
}

"""CSV and TSV as columns, read strictly: an error names the malformed row.

In: text, delimiter, whether quotation marks enclose cells. Out: columns and row numbers.
Knows nothing of: files, labels, prompts.
"""

import csv
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tuneproof.errors import DataError, RecipeError
from tuneproof.tasks.size_limits import check_rows
from tuneproof.tasks.swallowed_rows import LongRecord, check_swallowed_rows

MAX_CELL_LENGTH = 50_000_000  # characters
MAX_COLUMNS = 10_000
SHORT_CELL, MAX_SHARED = 24, 10_000  # characters of a cell, and cells, that rows share, such as labels
_DECLARATION = re.compile(r'"?sep=([^\w\s"]|\t)"?[\r\n]+')


@dataclass(frozen=True)
class DelimitedColumns:
    """Columns of N strings; `numbers` are row numbers as in a spreadsheet, where the header is row 1."""

    columns: Mapping[str, Sequence[str]]
    numbers: Sequence[int]
    blank_lines: int


def check_header(name: str, header: Sequence[str], row: int = 1) -> None:
    """Raises DataError if a header, in this row, repeats a column, or has more columns than are allowed."""
    if len(header) > MAX_COLUMNS:
        problem = f"the header names {len(header):,} columns."
        allowed = f"At most {MAX_COLUMNS:,} are allowed."
        raise DataError(f"{name}, row {row}", problem, allowed, "Keep only the columns that you need.")
    repeated = [column for column, count in Counter(header).items() if column and count > 1]
    if repeated:
        problem = f"the header names {repeated[0]} twice."
        raise DataError(f"{name}, row {row}", problem, do="Rename one of the columns.")


def declared_delimiter(text: str) -> str | None:
    """The delimiter that Excel's first line names, as in sep=; (no row of the table)."""
    match = _DECLARATION.match(text)
    return match[1] if match else None


def read_delimited(name: str, text: str, delimiter: str, quotes: bool | None) -> DelimitedColumns:
    """The columns of a CSV or TSV text; the first row with content is the header.

    quotes: whether quotation marks enclose cells. None: they do, but no cell may look like rows.

    Raises: RecipeError for an invalid delimiter; DataError for repeated columns or headers, a row with
    more or fewer cells than the header, or quotation marks that do not match.
    """
    _check_delimiter(delimiter)
    columns: list[list[str]] = []
    numbers = array("q")
    shared: dict[str, str] = {}
    long_records: list[LongRecord] = []
    header: list[str] = []
    blank_lines = 0
    limit = csv.field_size_limit(MAX_CELL_LENGTH)
    try:
        for row, first, last, record in _records(name, text, delimiter, quotes, header):
            if not any(cell.strip() for cell in record):
                blank_lines += 1
            elif not header:
                header += [cell.strip() for cell in record]
                check_header(name, header)
                columns = [[] for _ in header]
            elif len(record) != len(header):
                raise _ragged(name, row, len(record), header, delimiter)
            else:
                if last > first:
                    long_records.append(LongRecord(len(numbers), row, first, last))
                for column, cell in zip(columns, record, strict=True):
                    if len(cell) <= SHORT_CELL:
                        is_full = len(shared) >= MAX_SHARED
                        cell = shared.get(cell, cell) if is_full else shared.setdefault(cell, cell)
                    column.append(cell)
                numbers.append(row)
    finally:
        csv.field_size_limit(limit)
    if quotes is None:
        check_swallowed_rows(name, header, columns, long_records, delimiter)
    _check_repeated_header(name, header, columns, numbers)
    return DelimitedColumns(dict(zip(header, columns, strict=True)), numbers, blank_lines)


def _records(
    name: str, text: str, delimiter: str, quotes: bool | None, header: Sequence[str]
) -> Iterator[tuple[int, int, int, list[str]]]:
    """The number, first line, last line and cells of each record; `header` fills as the caller reads it."""
    declaration = _DECLARATION.match(text)
    rest, offset = (text[declaration.end() :], 1) if declaration else (text, 0)
    reader = csv.reader(
        _lines(rest),
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if quotes is False else csv.QUOTE_MINIMAL,
        strict=True,
    )
    row = line = 0
    try:
        for row, record in enumerate(reader, 1):
            check_rows(name, row - 1)
            yield row, line + 1 + offset, reader.line_num + offset, record
            line = reader.line_num
    except csv.Error as error:
        raise _malformed(name, row + 1, line + 1 + offset, str(error), header) from None


def _check_repeated_header(
    name: str, header: Sequence[str], columns: Sequence[Sequence[str]], numbers: Sequence[int]
) -> None:
    """Raises DataError where files were joined with their headers."""
    repeated = [
        numbers[index]
        for index, cell in enumerate(columns[-1] if len(header) > 1 else ())
        if cell.strip() == header[-1]
        if [column[index].strip().lstrip("\ufeff") for column in columns] == header
    ]
    if repeated:
        rows = "row" if len(repeated) == 1 else "rows"
        listed = ", ".join(map(str, repeated[:5])) + (", …" if len(repeated) > 5 else "")
        problem = f"{len(repeated):,} {rows} {'repeats' if len(repeated) == 1 else 'repeat'} the header"
        raise DataError(name, f"{problem} ({rows} {listed}).", do=f"Remove the {rows}.")


def suggest_delimiter(header: Sequence[str]) -> str:
    """What to set where the header's only cell contains a sign that may separate cells; else ""."""
    sign = next((sign for sign in ";\t|," if len(header) == 1 and sign in header[0]), "")
    name = "\\t" if sign == "\t" else sign
    return f'If {name} separates its cells, set delimiter: "{name}".' if sign else ""


def _check_delimiter(delimiter: str) -> None:
    if len(delimiter) != 1 or delimiter in '"\r\n':
        problem = f"{delimiter!r} is not one character."
        raise RecipeError("task.labels.delimiter", problem, 'Use "," or ";" or "\\t".')


def _lines(text: str) -> Iterator[str]:
    """Lines with their ends, split at line feeds only (splitlines would split inside texts)."""
    if "\n" not in text:
        text = text.replace("\r", "\n")
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


def _ragged(name: str, row: int, cells: int, header: Sequence[str], delimiter: str) -> DataError:
    sign = {",": "comma", "\t": "tab", ";": "semicolon"}.get(delimiter, delimiter)
    plural = "s" if cells != 1 else ""
    problem = f"has {cells} cell{plural}; the header has {len(header)}."
    if hint := suggest_delimiter(header):
        return DataError(f"{name}, row {row}", problem, f"Its only column is {header[0]!r}.", hint)
    more = f"Put quotation marks around a text that contains a {sign}."
    do = more if cells > len(header) else "Fill in the missing cells."
    return DataError(f"{name}, row {row}", problem, do=do)


def _malformed(name: str, row: int, line: int, message: str, header: Sequence[str]) -> DataError:
    do = 'Write a quotation mark inside quotes as "", or set quotes: false if they are ordinary characters.'
    if "unexpected end" in message:
        problem = "a quotation mark is opened and never closed."
    elif "larger than" in message:
        problem = f"a cell has more than {MAX_CELL_LENGTH:,} characters; is a quotation mark never closed?"
    elif "expected after" in message:
        problem = "text follows a closing quotation mark."
    else:
        problem = "a carriage return is inside the row."
        do = "Replace it by a space."
    where = f"{name}, row {row}" + (f" (line {line})" if line != row else "")
    return DataError(where, problem, do=suggest_delimiter(header) or do)

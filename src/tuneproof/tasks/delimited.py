"""CSV and TSV as columns, read strictly: an error names the malformed row.

In: text, delimiter, whether quotation marks enclose cells. Out: columns and row numbers.
Knows nothing of: files, labels, prompts.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tuneproof.errors import DataError, RecipeError

MAX_CELL_LENGTH = 50_000_000  # characters
MAX_COLUMNS = 10_000


@dataclass(frozen=True)
class DelimitedColumns:
    """Columns of N strings; `numbers` are row numbers as in a spreadsheet, where the header is row 1."""

    columns: Mapping[str, Sequence[str]]
    numbers: Sequence[int]
    blank_lines: int


def check_header(name: str, header: Sequence[str]) -> None:
    """Raises DataError if a header repeats a column, or has more columns than are allowed."""
    if len(header) > MAX_COLUMNS:
        problem = f"the header names {len(header):,} columns."
        allowed = f"At most {MAX_COLUMNS:,} are allowed."
        raise DataError(f"{name}, row 1", problem, allowed, "Keep only the columns that you need.")
    repeated = [column for column, count in Counter(header).items() if column and count > 1]
    if repeated:
        problem = f"the header names {repeated[0]} twice."
        raise DataError(f"{name}, row 1", problem, do="Rename one of the columns.")


def read_delimited(name: str, text: str, delimiter: str, quotes: bool) -> DelimitedColumns:
    """The columns of a CSV or TSV text; the first row with content is the header.

    Raises: RecipeError for an invalid delimiter; DataError for repeated columns, a row with more or
    fewer cells than the header, or quotation marks that do not match.
    """
    _check_delimiter(delimiter)
    records: list[list[str]] = []
    numbers: list[int] = []
    header: list[str] | None = None
    count, line, blank_lines = 0, 1, 0
    reader = csv.reader(
        _lines(text),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
        strict=True,
    )
    limit = csv.field_size_limit(MAX_CELL_LENGTH)
    try:
        for record in reader:
            count, line = count + 1, reader.line_num + 1
            if not any(cell.strip() for cell in record):
                blank_lines += 1
            elif header is None:
                header = [cell.strip() for cell in record]
                check_header(name, header)
            elif len(record) != len(header):
                raise _ragged(name, count, len(record), len(header), delimiter)
            else:
                records.append(record)
                numbers.append(count)
    except csv.Error as error:
        raise _malformed(name, count + 1, line, str(error)) from None
    finally:
        csv.field_size_limit(limit)
    return DelimitedColumns(_to_columns(header or [], records), numbers, blank_lines)


def _to_columns(header: Sequence[str], records: Sequence[Sequence[str]]) -> dict[str, Sequence[str]]:
    empty: list[tuple[str, ...]] = [()] * len(header)
    return dict(zip(header, zip(*records, strict=True) if records else empty, strict=True))


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


def _ragged(name: str, row: int, cells: int, expected: int, delimiter: str) -> DataError:
    sign = {",": "comma", "\t": "tab", ";": "semicolon"}.get(delimiter, delimiter)
    more = f"Put quotation marks around a text that contains a {sign}."
    plural = "s" if cells != 1 else ""
    do = more if cells > expected else "Fill in the missing cells."
    return DataError(f"{name}, row {row}", f"has {cells} cell{plural}; the header has {expected}.", do=do)


def _malformed(name: str, row: int, line: int, message: str) -> DataError:
    if "unexpected end" in message:
        problem = "a quotation mark is opened and never closed."
    elif "larger than" in message:
        problem = f"a cell has more than {MAX_CELL_LENGTH:,} characters; is a quotation mark never closed?"
    elif "expected after" in message:
        problem = "text follows a closing quotation mark."
    else:
        problem = f"is not CSV: {message}."
    where = f"{name}, row {row}" + (f" (line {line})" if line != row else "")
    do = 'Write a quotation mark inside quotes as "", or set quotes: false if they are ordinary characters.'
    return DataError(where, problem, do=do)

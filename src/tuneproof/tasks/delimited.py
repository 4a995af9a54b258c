"""CSV and TSV as columns, strictly: what is malformed is named with its row.

In: text, delimiter, whether quotation marks quote. Out: columns and row numbers.
Knows nothing of: files, labels, prompts.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tuneproof.errors import DataError, RecipeError

LONGEST_CELL = 50_000_000  # characters
MOST_COLUMNS = 10_000


@dataclass(frozen=True)
class Cells:
    """Columns of N strings; `numbers` counts records from the header's 1, as a spreadsheet does."""

    columns: Mapping[str, Sequence[str]]
    numbers: Sequence[int]
    blank: int


def refuse_twins(name: str, header: Sequence[str]) -> None:
    """Raises DataError where a header names a column twice, or more columns than a table has."""
    if len(header) > MOST_COLUMNS:
        raise DataError(
            f"{name}, row 1",
            f"the header names {len(header):,} columns.",
            f"At most {MOST_COLUMNS:,} are read.",
            "Keep the columns that are needed.",
        )
    twins = [column for column, times in Counter(header).items() if column and times > 1]
    if twins:
        raise DataError(
            f"{name}, row 1", f"the header names {twins[0]} twice.", do="Rename one of the columns."
        )


def read_cells(name: str, text: str, delimiter: str, quotes: bool) -> Cells:
    """The columns of a CSV or TSV text whose first row with content is the header.

    Raises: RecipeError for a delimiter that is none; DataError for twins in the header, a row with
    more or fewer cells than the header, or quotation marks that do not match.
    """
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise RecipeError(
            "task.labels.delimiter", f"{delimiter!r} is not one character.", 'Use "," or ";" or "\\t".'
        )
    records: list[list[str]] = []
    numbers: list[int] = []
    header: list[str] | None = None
    count, line, blank = 0, 1, 0
    reader = csv.reader(
        _lines(text),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
        strict=True,
    )
    limit = csv.field_size_limit(LONGEST_CELL)
    try:
        for record in reader:
            count, line = count + 1, reader.line_num + 1
            if not any(cell.strip() for cell in record):
                blank += 1
            elif header is None:
                header = [cell.strip() for cell in record]
                refuse_twins(name, header)
            elif len(record) != len(header):
                raise _ragged(name, count, len(record), len(header), delimiter)
            else:
                records.append(record)
                numbers.append(count)
    except csv.Error as error:
        raise _malformed(name, count + 1, line, str(error)) from None
    finally:
        csv.field_size_limit(limit)
    empty: list[tuple[str, ...]] = [()] * len(header or [])
    columns = dict(zip(header or [], zip(*records, strict=True) if records else empty, strict=True))
    return Cells(columns, numbers, blank)


def _lines(text: str) -> Iterator[str]:
    """Lines with their ends, split at line feeds alone (splitlines would split inside texts)."""
    if "\n" not in text:
        text = text.replace("\r", "\n")
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


def _ragged(name: str, row: int, found: int, wanted: int, delimiter: str) -> DataError:
    sign = {",": "comma", "\t": "tab", ";": "semicolon"}.get(delimiter, delimiter)
    more = f"Put quotation marks around a text that holds a {sign}."
    plural = "s" if found != 1 else ""
    return DataError(
        f"{name}, row {row}",
        f"has {found} cell{plural} where the header has {wanted}.",
        do=more if found > wanted else "Fill in the missing cells.",
    )


def _malformed(name: str, row: int, line: int, said: str) -> DataError:
    if "unexpected end" in said:
        found = "a quotation mark is opened and never closed."
    elif "larger than" in said:
        found = f"a cell has more than {LONGEST_CELL:,} characters; is a quotation mark never closed?"
    elif "expected after" in said:
        found = "text follows a closing quotation mark."
    else:
        found = f"is not CSV: {said}."
    where = f"{name}, row {row}" + (f" (line {line})" if line != row else "")
    return DataError(
        where,
        found,
        do='Write a quotation mark inside quotes as "", or set quotes: false where they are '
        "ordinary characters.",
    )

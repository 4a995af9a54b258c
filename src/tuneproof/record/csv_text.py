"""CSV that a spreadsheet opens without running anything.

In: rows. Out: text. Knows nothing of: what the cells mean, files.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\0")


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV in which no text starts like a spreadsheet formula; the columns are those of the first row."""
    stream = io.StringIO()
    plain = csv.writer(stream, lineterminator="\n")
    quoted = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in (list(rows[0]), *(list(row.values()) for row in rows)):
        cells = [_plain(value) for value in row]
        # Python before 3.13 leaves a carriage return unquoted, and readers end the row there.
        (quoted if any("\r" in str(cell) for cell in cells) else plain).writerow(cells)
    return stream.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(FORMULA_STARTS) and not _is_number(value):
        return f"'{value}"
    return "" if value is None else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

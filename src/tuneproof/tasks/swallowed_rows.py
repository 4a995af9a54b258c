"""Rows that a quotation mark swallowed: cells of several lines that look like rows.

In: the columns of a CSV or TSV. Out: an error that names the rows. Knows nothing of: files, labels.

Two texts that hold one half of a quotation each turn all rows between them into one cell. A poem or an
address also has several lines, but these do not have the cells of a row.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuneproof.errors import DataError

MIN_LINES = 4  # lines of this many with the cells of a row are rows, whatever their values


@dataclass(frozen=True)
class LongRecord:
    """A record of several lines: its position among the records, its row number, its first and last line."""

    index: int
    row: int
    first: int
    last: int


def check_swallowed_rows(
    name: str,
    header: Sequence[str],
    columns: Sequence[Sequence[str]],
    long_records: Sequence[LongRecord],
    delimiter: str,
) -> None:
    """Raises DataError with the lines of the first cell that looks like rows."""
    counts: dict[int, Counter[str]] = {}
    for record in long_records:
        own = [column[record.index] for column in columns]
        for column, cell in enumerate(own):
            lines = _split_lines(cell, delimiter)
            rest = _cells_of_other_columns(lines, column, len(header))
            for index in {index for index, _ in rest} - counts.keys():
                counts[index] = Counter(columns[index])
            if rest and (_is_long_table(lines, rest) or _repeats_values(rest, own, counts)):
                raise _swallowed(name, record, header[column])


def _split_lines(cell: str, delimiter: str) -> list[list[str]]:
    """The cells of each line but the blank ones between the first and the last."""
    first, *others = cell.split("\n")
    lines = [first, *(line for line in others[:-1] if line.strip()), *others[-1:]]
    return [line.rstrip("\r").split(delimiter) for line in lines]


def _cells_of_other_columns(lines: Sequence[Sequence[str]], column: int, width: int) -> list[tuple[int, str]]:
    """The cells beyond the quoted column, with their columns; [] where one line is no row.

    The first line begins in the quoted column, the last one ends there.
    """
    starts = [column, *(0 for _ in lines[1:])]
    ends = [*(width for _ in lines[1:]), column + 1]
    rest: list[tuple[int, str]] = []
    for cells, start, end in zip(lines, starts, ends, strict=True):
        if len(lines) < 2 or len(cells) != end - start:
            return []
        rest += [(index, value) for index, value in enumerate(cells, start) if index != column]
    return rest


def _is_long_table(lines: Sequence[Sequence[str]], rest: Sequence[tuple[int, str]]) -> bool:
    """Whether there are several lines, and no cell begins with a space, as after a comma of prose."""
    return len(lines) >= MIN_LINES and not any(value[:1].strip() == "" for _, value in rest)


def _repeats_values(
    rest: Sequence[tuple[int, str]], own: Sequence[str], counts: Mapping[int, Counter[str]]
) -> bool:
    """Whether a record other than the cells' `own` has one of the values in the same column."""
    return any(value.strip() and counts[index][value] > (own[index] == value) for index, value in rest)


def _swallowed(name: str, record: LongRecord, column: str) -> DataError:
    where = f"{name}, row {record.row} (lines {record.first} to {record.last})"
    problem = f"a quoted cell of the column {column} holds lines that look like rows."
    do = (
        "If quotation marks are ordinary characters, set quotes: false; quotes: true says that they enclose "
        "such a cell."
    )
    return DataError(where, problem, do=do)

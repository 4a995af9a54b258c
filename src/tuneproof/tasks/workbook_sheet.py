"""One sheet of a workbook as rows of texts, read cell by cell.

In: the parts of a workbook, how its cells are spelled. Out: rows with their numbers, what cannot be read.
Knows nothing of: which sheet is read, what its columns mean.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from tuneproof.tasks.delimited import MAX_COLUMNS
from tuneproof.tasks.size_limits import check_bytes, check_cells, check_rows
from tuneproof.tasks.workbook_cells import CellFormats, unescape
from tuneproof.tasks.workbook_parts import EnoughReadError, Handlers, WorkbookParts

MAX_ROW, MAX_COLUMN = 1_048_576, 16_384  # of Excel itself
NO_VALUE = "holds a formula without a stored value"
_NO_VALUE_CELL = "\0formula"
_VALUES = ("v", "t")
_CELL = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")


def column_name(column: int) -> str:
    """The column's letters: A for 0, AA for 26."""
    name = ""
    while column >= 0:
        column, rest = divmod(column, 26)
        name, column = chr(65 + rest) + name, column - 1
    return name


@lru_cache(MAX_COLUMN)
def _column_number(letters: str) -> int:
    """From 1."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number


def cell_position(reference: str) -> tuple[int, int]:
    """Row from 1 and column from 0 of a cell such as B7. Raises: ValueError."""
    match = _CELL.fullmatch(reference)
    if match is None:
        raise ValueError(f"{reference!r} names no cell")
    row, column = int(match[2]), _column_number(match[1])
    if column > MAX_COLUMN or not 1 <= row <= MAX_ROW:
        raise ValueError(f"a sheet has no cell {reference}")
    return row, column - 1


@dataclass
class SheetRows:
    """The rows with content: `numbers` as the spreadsheet shows them, `cells` by column, from 0.

    `flaws` names for each column its first cell without a usable value, and why; `merged` the ranges that
    share one value.
    """

    numbers: list[int] = field(default_factory=list)
    cells: list[dict[int, str]] = field(default_factory=list)
    flaws: dict[int, tuple[int, str]] = field(default_factory=dict)
    merged: list[str] = field(default_factory=list)


class _SheetHandlers:
    """What the elements of a sheet mean, in the order in which they come."""

    def __init__(self, name: str, formats: CellFormats) -> None:
        self.name, self.formats = name, formats
        self.rows = SheetRows()
        self.row, self.column = 0, -1
        self.row_cells: dict[int, str] = {}
        self.cell: Mapping[str, str] | None = None
        self.has_formula = self.has_value = self.in_value = False
        self.in_reading = False
        self.pieces: list[str] = []
        self.elements = self.size = 0

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        self.elements += 1
        check_cells(self.name, self.elements)
        if name == "row":
            self._start_row(attributes)
        elif name == "c":
            self._start_cell(attributes)
        elif self.cell is not None:
            self.has_formula |= name == "f"
            if name in _VALUES:
                self.in_value = self.has_value = True
            elif name == "rPh":
                self.in_reading = True
        elif name == "mergeCell":
            self.rows.merged.append(attributes.get("ref", ""))
            check_rows(self.name, len(self.rows.merged))

    def end(self, name: str) -> None:
        if name in _VALUES:
            self.in_value = False
        elif name == "rPh":
            self.in_reading = False
        elif name == "c":
            self._end_cell()
        elif name == "row":
            self._end_row()

    def text(self, piece: str) -> None:
        if self.in_value and not self.in_reading:
            self.pieces.append(piece)

    def _start_row(self, attributes: Mapping[str, str]) -> None:
        number = int(attributes.get("r", self.row + 1))
        if number > MAX_ROW:
            raise ValueError(f"a sheet has no row {number}")
        if number <= self.row:
            raise ValueError(f"row {number} follows row {self.row}")
        self.row, self.column, self.row_cells = number, -1, {}

    def _start_cell(self, attributes: Mapping[str, str]) -> None:
        reference = attributes.get("r")
        self.column = cell_position(reference)[1] if reference else self.column + 1
        if self.column >= MAX_COLUMN:
            raise ValueError(f"row {self.row} has more than {MAX_COLUMN:,} cells")
        self.cell, self.pieces = attributes, []
        self.has_formula = self.has_value = self.in_value = False

    def _end_cell(self) -> None:
        attributes, self.cell = self.cell, None
        if attributes is None:
            return
        value = self._value(attributes.get("t", "n"), attributes.get("s"), "".join(self.pieces))
        if value.strip():
            self.size += sys.getsizeof(value)
            check_bytes(self.name, self.size)
            self.row_cells[self.column] = value

    def _value(self, kind: str, style: str | None, content: str) -> str:
        """The cell's text; a flaw is noted."""
        if self.has_formula and not content and not (self.has_value and kind == "str"):
            self._note_flaw(NO_VALUE)
            return _NO_VALUE_CELL
        if kind in ("str", "inlineStr"):
            return unescape(content)
        content = content.strip()
        if not content:
            return ""
        if kind == "s":
            return self.formats.string(content)
        if kind == "b":
            return "true" if content == "1" else "false"
        if kind == "e":
            self._note_flaw(f"holds the error {content[:20]}")
            return content
        return content.removesuffix("T00:00:00") if kind == "d" else self.formats.number(content, style)

    def _note_flaw(self, problem: str) -> None:
        self.rows.flaws.setdefault(self.column, (self.row, problem))

    def _end_row(self) -> None:
        if self.row_cells:
            if len(self.row_cells) > MAX_COLUMNS:
                raise ValueError(f"row {self.row} has {len(self.row_cells):,} cells")
            self.rows.numbers.append(self.row)
            self.rows.cells.append(self.row_cells)


def read_sheet(parts: WorkbookParts, part: str, name: str, formats: CellFormats) -> SheetRows:
    """All rows with content. Raises: DataError if the sheet is damaged, or holds too much."""
    handlers = _SheetHandlers(name, formats)
    parts.parse(part, Handlers(handlers.start, handlers.end, handlers.text), is_large=True)
    return handlers.rows


def has_content(parts: WorkbookParts, part: str) -> bool:
    """Whether any cell of a sheet holds a value or a formula; reads no further than the first."""
    is_filled = False

    def start(name: str, attributes: Mapping[str, str]) -> None:
        nonlocal is_filled
        if name in ("v", "f", "is"):
            is_filled = True
            raise EnoughReadError
        if name == "mergeCells":
            raise EnoughReadError

    parts.parse(part, Handlers(start), is_large=True)
    return is_filled

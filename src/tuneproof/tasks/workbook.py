"""An Excel workbook (.xlsx) as a table: one sheet, whose first row with content is the header.

In: a file's bytes, the sheet's name. Out: columns of texts, and row numbers as the spreadsheet shows them.
Knows nothing of: labels, prompts, splits.

Nothing of a workbook runs: formulas stand for the values that were stored with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuneproof.errors import DataError, did_you_mean
from tuneproof.tasks.delimited import check_header
from tuneproof.tasks.lazy_columns import LazyColumns
from tuneproof.tasks.size_limits import check_cells
from tuneproof.tasks.text_file import FileBytes
from tuneproof.tasks.workbook_cells import CellFormats, read_date_kinds, read_strings
from tuneproof.tasks.workbook_parts import (
    SAVE_AGAIN,
    Handlers,
    WorkbookParts,
    as_data_error,
    local_name,
    refuse_other_files,
)
from tuneproof.tasks.workbook_sheet import (
    NO_VALUE,
    SheetRows,
    cell_position,
    column_name,
    has_content,
    read_sheet,
)

MAX_LISTED = 6
_OTHER_KINDS = (("xl/workbook.bin", ".xlsb"), ("content.xml", ".ods"), ("Index/Document.iwa", ".numbers"))


@dataclass(frozen=True)
class WorkbookColumns:
    """A sheet's columns of N texts; `numbers` are its rows' numbers, `blank_lines` those without content."""

    name: str
    columns: Mapping[str, Sequence[str]]
    numbers: Sequence[int]
    blank_lines: int


@dataclass(frozen=True)
class _Sheet:
    name: str
    part: str
    is_hidden: bool


def read_workbook(file: FileBytes, sheet: str | None) -> WorkbookColumns:
    """The columns of one sheet: the one that is named, else the only visible one with content.

    Raises: DataError if it is no workbook, if several sheets have content and none is named, or with the
    cell that cannot be read. A cell with an error is refused when its column is asked for.
    """
    refuse_other_files(file)
    parts = WorkbookParts(file)
    with as_data_error(file.name):
        workbook = _workbook_part(parts)
        relations = parts.relations(workbook)
        sheets, is_1904 = _read_sheets(parts, workbook, relations)
        chosen = _choose_sheet(parts, sheets, sheet)
        formats = _read_formats(parts, relations, is_1904)
        name = f"{file.name}, sheet {chosen.name}"
        rows = read_sheet(parts, chosen.part, name, formats)
    return _as_columns(name, chosen.name, rows)


def _workbook_part(parts: WorkbookParts) -> str:
    """The part that lists the sheets. Raises: DataError for another kind of file."""
    for part, ending in _OTHER_KINDS:
        if part in parts:
            raise DataError(parts.name, f"is a {ending} file, which is not supported.", do=SAVE_AGAIN)
    documents = [target for kind, target in parts.relations("").values() if kind == "officeDocument"]
    workbook = next((part for part in (*documents, "xl/workbook.xml") if part in parts), None)
    if workbook is None or not workbook.startswith("xl/"):
        raise DataError(parts.name, "is a zip archive, but no workbook.", do=SAVE_AGAIN)
    return workbook


def _read_sheets(
    parts: WorkbookParts, workbook: str, relations: Mapping[str, tuple[str, str]]
) -> tuple[list[_Sheet], bool]:
    """The sheets of cells in their order, and whether days are counted from 1904."""
    sheets: list[_Sheet] = []
    is_1904: list[bool] = []

    def start(name: str, attributes: Mapping[str, str]) -> None:
        if name == "sheet":
            plain = {local_name(key): value for key, value in attributes.items()}
            kind, part = relations.get(plain.get("id", ""), ("", ""))
            if kind == "worksheet" and part in parts:
                is_hidden = attributes.get("state", "visible") != "visible"
                sheets.append(_Sheet(attributes.get("name", ""), part, is_hidden))
        elif name == "workbookPr":
            is_1904.append(attributes.get("date1904") in ("1", "true"))

    parts.parse(workbook, Handlers(start))
    return sheets, any(is_1904)


def _choose_sheet(parts: WorkbookParts, sheets: Sequence[_Sheet], name: str | None) -> _Sheet:
    """The sheet with this name, else the only visible one with content. Raises: DataError."""
    if name is not None:
        chosen = next((sheet for sheet in sheets if sheet.name == name), None)
        if chosen is None:
            hint = did_you_mean(name, [sheet.name for sheet in sheets])
            have = "" if hint.startswith("Allowed") else f"Its sheets: {_listed(sheets)}."
            hint = f"Its sheets: {_listed(sheets)}." if hint.startswith("Allowed") else hint
            raise DataError(parts.name, f"has no sheet {name!r}.", have, hint)
        return chosen
    filled = [sheet for sheet in sheets if has_content(parts, sheet.part)]
    visible = [sheet for sheet in filled if not sheet.is_hidden]
    if len(visible) == 1:
        return visible[0]
    if len(visible) > 1:
        problem = f"has {len(visible)} sheets with content: {_listed(visible)}."
        raise DataError(parts.name, problem, "One is read.", f"Name it: set sheet: {visible[0].name}")
    if filled:
        problem = f"shows no sheet with content; hidden: {_listed(filled)}."
        raise DataError(parts.name, problem, do=f"To read it, set sheet: {filled[0].name}")
    raise DataError(parts.name, "has no sheet with content.", do="Add a header and rows.")


def _listed(sheets: Sequence[_Sheet]) -> str:
    more = f" and {len(sheets) - MAX_LISTED} more" if len(sheets) > MAX_LISTED else ""
    return ", ".join(sheet.name for sheet in sheets[:MAX_LISTED]) + more


def _read_formats(
    parts: WorkbookParts, relations: Mapping[str, tuple[str, str]], is_1904: bool
) -> CellFormats:
    part_of = {kind: part for kind, part in relations.values() if part in parts}
    strings = read_strings(parts, part_of["sharedStrings"]) if "sharedStrings" in part_of else []
    kinds = read_date_kinds(parts, part_of["styles"]) if "styles" in part_of else []
    return CellFormats(strings, kinds, is_1904)


def _as_columns(name: str, sheet: str, rows: SheetRows) -> WorkbookColumns:
    if not rows.numbers:
        raise DataError(name, "has no cell with content.", do="Add a header and rows.")
    header_row = rows.numbers[0]
    width = max(rows.cells[0]) + 1
    for column, (row, problem) in rows.flaws.items():
        if row == header_row:
            raise _flaw_error(name, column, row, problem)
    header = [rows.cells[0].get(column, "").strip() for column in range(width)]
    check_header(name, header, header_row)
    _check_width(name, rows, header)
    _check_merged(name, rows, header_row, width)
    check_cells(name, width * len(rows.numbers))
    cells, numbers = rows.cells[1:], rows.numbers[1:]

    def read(column_header: str) -> list[str]:
        column = header.index(column_header)
        if column in rows.flaws:
            raise _flaw_error(name, column, *rows.flaws[column])
        return [row.get(column, "") for row in cells]

    blank_lines = rows.numbers[-1] - len(rows.numbers)
    return WorkbookColumns(sheet, LazyColumns(header, read), numbers, blank_lines)


def _flaw_error(name: str, column: int, row: int, problem: str) -> DataError:
    where = f"{name}, cell {column_name(column)}{row}"
    if problem == NO_VALUE:
        do = "Open the file in Excel or LibreOffice and save it, which stores the values, or write the value."
        return DataError(where, f"{problem}; formulas are not computed here.", do=do)
    return DataError(where, f"{problem}, not a value.", do="Correct the cell, or remove the column.")


def _check_width(name: str, rows: SheetRows, header: Sequence[str]) -> None:
    """Raises DataError for a cell right of the header: of a table under a title, or a note beside it."""
    for number, cells in zip(rows.numbers, rows.cells, strict=True):
        column = max(cells)
        if column >= len(header):
            first = rows.numbers[0]
            problem = (
                f"has content, but row {first}, the header, ends at column {column_name(len(header) - 1)}."
            )
            do = (
                f"If row {first} is a title, delete the rows above the header; else name the column, or "
                "empty the cell."
            )
            raise DataError(f"{name}, cell {column_name(column)}{number}", problem, do=do)


def _check_merged(name: str, rows: SheetRows, header_row: int, width: int) -> None:
    """Raises DataError for merged cells within the table: all but the first have no value."""
    last_row = rows.numbers[-1]
    for reference in rows.merged:
        first, _, last = reference.partition(":")
        row, column = cell_position(first)
        end_row, _ = cell_position(last or first)
        if end_row >= header_row and row <= last_row and column < width:
            problem = f"the cells {reference} are merged, so only {first} has a value."
            do = "Unmerge them and write the value into each cell."
            raise DataError(name, problem, "Every row has cells of its own.", do)

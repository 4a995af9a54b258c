"""The cells of a workbook as texts: numbers, dates, booleans, escaped signs.

In: the parts of a workbook, a cell's kind, number format and content. Out: a text.
Knows nothing of: rows, columns, headers.

Numbers are spelled as short as they can be (1 for 1.0), dates as ISO 8601, booleans as true and false.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from tuneproof.tasks.size_limits import check_bytes, check_cells
from tuneproof.tasks.workbook_parts import Handlers, WorkbookParts

DateKind = Literal["", "date", "time", "duration"]
_DATES = {*range(14, 18), 22, *range(27, 32), 36, *range(50, 59)}  # number formats without a code
_TIMES = {*range(18, 22), *range(32, 36), 45, 47}
_DURATION = 46
_ESCAPE = re.compile(r"_x((?![dD][89a-fA-F])[0-9A-Fa-f]{4})_")
_NOT_SIGNS = re.compile(r'"[^"]*"|\\.|_.|\*.')
_ELAPSED = re.compile(r"\[(h+|m+|s+)\]", re.IGNORECASE)
_LEAP_DAY = 60  # 29 February 1900, which Excel has and the calendar has not
_LAST_DAY = 2_958_466


def unescape(text: str) -> str:
    """The text with signs that Excel writes as _x000D_ and the like; halves of characters stay escapes."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text) if "_x" in text else text


def spell_number(text: str) -> str:
    """1 for 1.0 and 0.3 for 3.0E-1. Raises: ValueError if it is no number."""
    if text.isascii() and text.isdigit() and (text == "0" or text[0] != "0"):
        return text
    number = float(text)
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def spell_date(serial: float, kind: DateKind, is_1904: bool) -> str:
    """A day's number as a date, a time or a duration; the number itself where it is no day."""
    if not 0 <= serial < _LAST_DAY:
        return spell_number(repr(serial))
    seconds = round(serial * 86_400)
    if kind == "duration" or (kind == "time" and serial < 1):
        hours, rest = divmod(seconds, 3600)
        return f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
    start = datetime(1904, 1, 1) if is_1904 else datetime(1899, 12, 30)
    offset = 1 if not is_1904 and serial < _LEAP_DAY else 0
    moment = start + timedelta(days=offset, seconds=seconds)
    is_midnight = seconds % 86_400 == 0
    return moment.date().isoformat() if is_midnight else moment.isoformat()


def date_kind(code: str) -> DateKind:
    """What a number format such as dd.mm.yyyy shows."""
    signs = _NOT_SIGNS.sub("", code.partition(";")[0])
    if _ELAPSED.search(signs):
        return "duration"
    signs = re.sub(r"\[[^\]]*\]", "", signs).lower()
    if "general" in signs:
        return ""
    if "y" in signs or "d" in signs:
        return "date"
    if "h" in signs or "s" in signs:
        return "time"
    return "date" if "m" in signs else ""


@dataclass
class CellFormats:
    """The texts that cells share, and which number formats are dates."""

    strings: list[str] = field(default_factory=list)
    kinds: list[DateKind] = field(default_factory=list)
    is_1904: bool = False

    def string(self, index: str) -> str:
        """A shared text. Raises: ValueError if there is none."""
        if not 0 <= int(index) < len(self.strings):
            raise ValueError(f"a cell names the text {index} of {len(self.strings):,}")
        return self.strings[int(index)]

    def number(self, text: str, style: str | None) -> str:
        """A number, or the date for which it stands."""
        index = int(style or 0)
        kind = self.kinds[index] if 0 <= index < len(self.kinds) else ""
        return spell_date(float(text), kind, self.is_1904) if kind else spell_number(text)


def read_strings(parts: WorkbookParts, part: str) -> list[str]:
    """The texts that cells share, without their formats and without readings of Japanese signs."""
    strings: list[str] = []
    pieces: list[str] = []
    depth = {"t": 0, "rPh": 0}
    elements = size = 0

    def start(name: str, attributes: Mapping[str, str]) -> None:
        nonlocal elements
        elements += 1
        check_cells(parts.name, elements)
        if name == "si":
            pieces.clear()
        elif name in depth:
            depth[name] += 1

    def end(name: str) -> None:
        nonlocal size
        if name == "si":
            strings.append(unescape("".join(pieces)))
            size += sys.getsizeof(strings[-1])
            check_bytes(parts.name, size)
        elif name in depth:
            depth[name] -= 1

    def text(piece: str) -> None:
        if depth["t"] and not depth["rPh"]:
            pieces.append(piece)

    parts.parse(part, Handlers(start, end, text), is_large=True)
    return strings


def read_date_kinds(parts: WorkbookParts, part: str) -> list[DateKind]:
    """For every style of cells, what its number format shows."""
    codes: dict[int, DateKind] = dict.fromkeys(_DATES, "date") | dict.fromkeys(_TIMES, "time")
    codes[_DURATION] = "duration"
    kinds: list[DateKind] = []
    is_of_cells = False

    def start(name: str, attributes: Mapping[str, str]) -> None:
        nonlocal is_of_cells
        if name == "numFmt":
            codes[int(attributes.get("numFmtId", -1))] = date_kind(attributes.get("formatCode", ""))
        elif name == "cellXfs":
            is_of_cells = True
        elif name == "xf" and is_of_cells:
            kinds.append(codes.get(int(attributes.get("numFmtId", 0)), ""))

    def end(name: str) -> None:
        nonlocal is_of_cells
        if name == "cellXfs":
            is_of_cells = False

    parts.parse(part, Handlers(start, end))
    return kinds

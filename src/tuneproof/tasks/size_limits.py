"""What a file may become in memory, estimated before the memory is taken.

In: counts, or the text of a file. Out: nothing, or an error with the limit. Knows nothing of: formats of
tables, columns, labels.
"""

from tuneproof.errors import DataError

MAX_ROWS = 10_000_000
MAX_CELLS = 100_000_000
MAX_BYTES = 4_000_000_000  # of Python values, texts aside for JSON
MAX_READ = 1_000_000_000  # characters of contexts, with a context counted for each of its questions
MAX_SEARCHED = 20_000_000_000  # characters of contexts in which answers are looked up
FEWER = "Keep fewer rows, or only the columns that you need."
_JSON_BYTES = {"{": 240, "[": 72, ",": 64}  # the most that Python makes of each


def check_rows(name: str, rows: int) -> None:
    """Raises DataError if a file has more rows than are allowed."""
    if rows > MAX_ROWS:
        raise DataError(name, f"has {rows:,} rows.", f"At most {MAX_ROWS:,} are allowed.", "Keep fewer rows.")


def check_cells(name: str, cells: int) -> None:
    """Raises DataError if rows times columns are more than are allowed."""
    if cells > MAX_CELLS:
        problem = f"has {cells:,} cells (rows times columns)."
        raise DataError(name, problem, f"At most {MAX_CELLS:,} are allowed.", FEWER)


def check_bytes(name: str, size: int) -> None:
    """Raises DataError if values would take more memory than is allowed."""
    if size > MAX_BYTES:
        problem = f"unpacks to {size:,} bytes or more."
        raise DataError(name, problem, f"At most {MAX_BYTES:,} are allowed.", FEWER)


def check_json(name: str, text: str) -> None:
    """Raises DataError if the lists, objects and values of a JSON text would take too much memory."""
    size = sum(text.count(sign) * cost for sign, cost in _JSON_BYTES.items())
    if size > MAX_BYTES:
        problem = f"contains so many lists, objects and values that they could take {size:,} bytes of memory."
        raise DataError(name, problem, f"At most {MAX_BYTES:,} are allowed.", FEWER)

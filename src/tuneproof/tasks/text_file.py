"""A file's bytes as text, or an error that says what kind of file it is.

In: a path and an encoding. Out: text, size and checksum. Knows nothing of: columns, labels, tasks.
"""

import codecs
import hashlib
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from tuneproof.errors import DataError, RecipeError
from tuneproof.tasks.whole_characters import check_whole_characters

MAX_BYTES = 8_000_000_000
_MAGIC = (
    (b"PAR1", "Parquet", "Name it .parquet."),
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "If it is a workbook, name it .xlsx."),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "Save the sheet as CSV."),
    (b"\x1f\x8b", "compressed with gzip", "Unpack it first."),
    (b"BZh", "compressed with bzip2", "Unpack it first."),
    (b"\xfd7zXZ", "compressed with xz", "Unpack it first."),
    (b"SQLite format 3", "an SQLite database", "Export the table as CSV."),
    (b"%PDF", "a PDF", "Export its table as CSV."),
    (b"\x80\x04", "a pickle, which can run code when it is read", "Save the rows as CSV."),
    (b"\x80\x05", "a pickle, which can run code when it is read", "Save the rows as CSV."),
)
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class FileBytes:
    """A file's content."""

    name: str
    data: bytes
    sha256: str


def read_bytes(path: Path) -> FileBytes:
    """The file's bytes. Raises: DataError if it is missing, irregular, too large, empty or unreadable."""
    name = str(path)
    if path.is_dir():
        raise DataError(name, "is a folder.", do="Name one file.")
    try:
        status = path.stat()
        if not S_ISREG(status.st_mode):
            raise DataError(name, "is a device or a pipe, not a regular file.", do="Name a file.")
        if status.st_size > MAX_BYTES:
            do = "Split the file, or keep only the columns that you need."
            raise DataError(name, f"has {status.st_size:,} bytes.", f"At most {MAX_BYTES:,} are allowed.", do)
        data = path.read_bytes()
    except FileNotFoundError:
        near = _closest_file(path)
        hint = f"Did you mean {near}?" if near else "Check the path; it is relative to the current folder."
        raise DataError(name, "does not exist.", do=hint) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        is_locked = isinstance(error, PermissionError)
        do = "Check its permissions, and close it in other programs." if is_locked else "Check the path."
        raise DataError(name, f"cannot be read: {reason}.", do=do) from None
    if not data.strip():
        raise DataError(name, "is empty.", do="Add a header and rows.")
    return FileBytes(name, data, hashlib.sha256(data).hexdigest())


def _closest_file(path: Path) -> str | None:
    from difflib import get_close_matches

    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return None
    near = get_close_matches(path.name, names, n=1, cutoff=0.7)
    return str(path.parent / near[0]) if near else None


def decode(file: FileBytes, encoding: str) -> str:
    """The bytes as text. Raises: RecipeError for an unknown encoding; DataError if they are not text."""
    try:
        codecs.lookup(encoding)
        "".encode(encoding)
    except (LookupError, ValueError):
        allowed = "Examples: utf-8-sig, cp1252, latin-1, utf-16."
        raise RecipeError("task.labels.encoding", f"{encoding!r} is not an encoding.", allowed) from None
    for magic, kind, do in _MAGIC:
        if file.data.startswith(magic):
            raise DataError(file.name, f"is not text: it is {kind}.", do=do)
    try:
        text = file.data.decode(encoding)
    except UnicodeDecodeError as error:
        offset = len(file.data) - len(error.object) + error.start  # a byte order mark is cut off
        raise _undecodable(file, encoding, offset) from None
    except UnicodeError as error:  # utf-16 without a mark, and the like
        problem = f"is not {encoding}: {error}."
        raise DataError(file.name, problem, do="Set encoding: to the file's encoding.") from None
    _check_no_halves(file.name, encoding, text)
    if "\0" in text:
        raise _zero_byte(file, text)
    return text


def _zero_byte(file: FileBytes, text: str) -> DataError:
    marked = next((name for mark, name in _MARKS if file.data.startswith(mark)), None)
    encoding = marked or _unmarked_encoding(file.data)
    hint = f"Set encoding: {encoding}." if encoding else "Name a CSV, TSV, JSONL or Parquet file."
    row = text.count("\n", 0, text.index("\0")) + 1
    return DataError(f"{file.name}, line {row}", "contains a zero byte: this is a binary file.", do=hint)


def _unmarked_encoding(data: bytes) -> str | None:
    """UTF-16 without a mark, by its zero bytes: text in Latin letters has one in nearly every character."""
    head = data[:4096]
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = head[first::2].count(0), head[1 - first :: 2].count(0)
        if others == 0 and zeros * 2 > len(head) // 2:
            return name
    return None


def _check_no_halves(name: str, encoding: str, text: str) -> None:
    """Some encodings (utf-7, raw_unicode_escape) can spell half of a character; UTF-8 cannot."""
    if not codecs.lookup(encoding).name.startswith("utf-8"):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            line = text.count("\n", 0, error.start) + 1
            check_whole_characters(f"{name}, line {line}", text[error.start])


def _undecodable(file: FileBytes, encoding: str, offset: int) -> DataError:
    line = file.data.count(b"\n", 0, offset) + 1
    problem = f"byte {offset} (0x{file.data[offset]:02x}) is not {encoding.removesuffix('-sig')}."
    marked = next((name for mark, name in _MARKS if file.data.startswith(mark)), None)
    if marked:
        return DataError(f"{file.name}, line {line}", problem, do=f"Set encoding: {marked}.")
    head = file.data[:65536]
    if b"\0" in head or sum(byte < 9 for byte in head) > len(head) // 100:
        problem = "is a binary file, not text."
        return DataError(file.name, problem, do="Name a CSV, TSV, JSONL or Parquet file.")
    start = max(offset - 15, file.data.rfind(b"\n", 0, offset) + 1)
    near = file.data[start : offset + 15].split(b"\n")[0].decode("cp1252", "replace").strip()
    do = f"Save it as UTF-8, or set encoding: cp1252 if “{near}” looks right."
    return DataError(f"{file.name}, line {line}", problem, do=do)

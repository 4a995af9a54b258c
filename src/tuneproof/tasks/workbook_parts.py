"""The parts of an .xlsx file, each read as a stream of XML, within a limit that a small file cannot evade.

In: a file's bytes. Out: calls for the elements and texts of a part. Knows nothing of: sheets, cells, columns.

An .xlsx file is a zip of XML: a few bytes of it can stand for any number of elements. No part is held in
memory, what is unpacked is counted, and declared entities are refused.
"""

import io
import posixpath
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from xml.parsers import expat

from tuneproof.errors import DataError
from tuneproof.tasks.text_file import FileBytes

MAX_UNPACKED = 1_000_000_000  # bytes of XML
MAX_SMALL = 20_000_000  # bytes of a part that holds no cells
CHUNK = 1 << 18
SAVE_AGAIN = "Open it in Excel or LibreOffice and save it as .xlsx, or save the sheet as CSV."
_OLD = b"\xd0\xcf\x11\xe0"
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_KINDS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True)
class Handlers:
    """What is called for the start of an element with its attributes, its end, and a text."""

    start: Callable[[str, Mapping[str, str]], None]
    end: Callable[[str], None] | None = None
    text: Callable[[str], None] | None = None


class EnoughReadError(Exception):
    """Raised by a handler that needs no more of a part."""


def refuse_other_files(file: FileBytes) -> None:
    """Raises DataError for what is not a zip: an encrypted or an old workbook, a text."""
    if file.data.startswith(_OLD):
        if _ENCRYPTED in file.data:
            do = "Remove the password in Excel (File, Info, Protect Workbook), or save the sheet as CSV."
            raise DataError(file.name, "is protected with a password.", do=do)
        raise DataError(file.name, "is an old workbook (.xls), whatever its ending says.", do=SAVE_AGAIN)
    if not file.data.startswith(b"PK"):
        is_text = b"\0" not in file.data[:4096]
        problem = "is a text file, not a workbook." if is_text else "is not a workbook."
        do = "Give it the ending of what it is, such as .csv or .tsv." if is_text else SAVE_AGAIN
        raise DataError(file.name, problem, do=do)


class WorkbookParts:
    """The zip of a workbook. `unpacked` counts the bytes that were read."""

    def __init__(self, file: FileBytes) -> None:
        self.name = file.name
        self.unpacked = 0
        with as_data_error(file.name):
            self._zip = zipfile.ZipFile(io.BytesIO(file.data))
        self._names = set(self._zip.namelist())

    def __contains__(self, part: str) -> bool:
        return part in self._names

    def parse(self, part: str, handlers: Handlers, is_large: bool = False) -> None:
        """Call the handlers with the names of elements, without namespaces, until one raises EnoughReadError.

        Raises: DataError if the part is damaged, or unpacks to more than is allowed.
        """
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        start, end = handlers.start, handlers.end
        parser.StartElementHandler = lambda name, attributes: start(local_name(name), attributes)
        parser.EndElementHandler = (lambda name: end(local_name(name))) if end else None
        parser.CharacterDataHandler = handlers.text
        parser.StartDoctypeDeclHandler = self._refuse_entities
        try:
            with as_data_error(self.name):
                for chunk in self._chunks(part, MAX_UNPACKED if is_large else MAX_SMALL):
                    parser.Parse(chunk, False)
                parser.Parse(b"", True)
        except EnoughReadError:
            pass

    def _chunks(self, part: str, limit: int) -> Iterator[bytes]:
        info = self._zip.getinfo(part)
        if info.flag_bits & 1 or info.compress_type not in _KINDS:
            raise zipfile.BadZipFile(f"{part} is encrypted, or compressed in an unusual way")
        self._check_size(info.file_size, limit)
        self._check_size(self.unpacked + info.file_size, MAX_UNPACKED)
        with self._zip.open(info) as stream:
            while chunk := stream.read(CHUNK):
                self.unpacked += len(chunk)
                self._check_size(self.unpacked, MAX_UNPACKED)
                yield chunk

    def _check_size(self, size: int, limit: int) -> None:
        if size > limit:
            problem = f"unpacks to {size:,} bytes or more."
            raise DataError(self.name, problem, f"At most {limit:,} are allowed.", "Save the sheet as CSV.")

    def _refuse_entities(self, *_: object) -> None:
        raise DataError(self.name, "declares a document type, which no workbook needs.", do=SAVE_AGAIN)

    def relations(self, part: str) -> dict[str, tuple[str, str]]:
        """What a part refers to: id → the kind's last word, and the path in the zip."""
        folder, name = posixpath.split(part)
        relations: dict[str, tuple[str, str]] = {}

        def start(element: str, attributes: Mapping[str, str]) -> None:
            if element == "Relationship" and attributes.get("TargetMode") != "External":
                kind = attributes.get("Type", "").rpartition("/")[2]
                target = posixpath.normpath(posixpath.join("/", folder, attributes.get("Target", "")))
                relations[attributes.get("Id", "")] = (kind, target.lstrip("/"))

        path = posixpath.join(folder, "_rels", f"{name}.rels")
        if path in self:
            self.parse(path, Handlers(start))
        return relations


@lru_cache(1000)
def local_name(name: str) -> str:
    """The name of an element or attribute without its namespace."""
    return name.rpartition(" ")[2]


@contextmanager
def as_data_error(name: str) -> Iterator[None]:
    """Turn an error of the library into a sentence."""
    try:
        yield
    except (
        *(zipfile.BadZipFile, zlib.error, expat.ExpatError, EOFError, OSError),
        *(KeyError, ValueError, IndexError, NotImplementedError, RuntimeError),
    ) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise DataError(name, f"cannot be read as a workbook: {reason}.", do=SAVE_AGAIN) from None

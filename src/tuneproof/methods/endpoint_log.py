"""Replies of a server on disk: each is there before it is used, so that none is paid twice.

In: a file; replies by the key of their request. Out: the same replies, also after a stop.
Knows nothing of: what is in a reply, servers, items.

A line of JSON for each reply, with a checksum. A line that was cut off while it was written is dropped, a
damaged file is renamed and its valid lines are written again.
"""

import json
import threading
from pathlib import Path
from typing import Any

from tuneproof.atomic import AppendFile, set_aside, sha256_of_text, write_text

REPLIES = "replies.jsonl"
BAD = "bad-"
Row = dict[str, Any]


class ReplyLog:
    """The replies so far; without a folder they live in memory alone. Threads may add to it."""

    def __init__(self, folder: Path | None) -> None:
        self.path = folder / REPLIES if folder is not None else None
        self.rows: dict[str, Row] = {}
        self.damaged = 0  # lines that are not used
        self._lock = threading.Lock()
        self._file: AppendFile | None = None
        if self.path is not None and self.path.is_file():
            self._is_whole = self._read(self.path)
        else:
            self._is_whole = True

    def add(self, key: str, row: Row) -> None:
        """Add a reply; it is on the disk on return. Raises: RunError where the system refuses."""
        with self._lock:
            if self.path is not None:
                self._open(self.path).write(_line(key, row), sync=True)
            self.rows[key] = row

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, path: Path) -> AppendFile:
        if self._file is None:
            if not self._is_whole:
                if self.damaged:
                    set_aside(path, BAD)
                write_text(path, "".join(_line(key, row) for key, row in self.rows.items()))
            self._file = AppendFile(path)
        return self._file

    def _read(self, path: Path) -> bool:
        """Read the valid lines. Returns whether there are no others."""
        *lines, rest = path.read_bytes().split(b"\n")
        for line in lines:
            try:
                row = json.loads(line)
                checksum, key = row.pop("sum"), row.pop("key")
                is_valid = isinstance(key, str) and checksum == _checksum(key, row)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                is_valid = False
            if is_valid:
                self.rows[key] = row
            else:
                self.damaged += 1
        return not rest and not self.damaged


def _line(key: str, row: Row) -> str:
    return json.dumps({"key": key, **row, "sum": _checksum(key, row)}) + "\n"


def _checksum(key: str, row: Row) -> str:
    return sha256_of_text(json.dumps([key, row], sort_keys=True))[:16]

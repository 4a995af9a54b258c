"""Finished batches of predictions on disk, from which an interrupted prediction resumes.

In: a folder, a fingerprint of the run, arrays batch by batch. Out: the same arrays, batch by batch.
Knows nothing of: what is predicted, models.

A file has one line of JSON per batch: indices of its items, the batch size, the array's bytes, and a
checksum over these and the previous line. Nothing after the first invalid line is used: a line cut off
while writing is dropped, a damaged file is renamed. A resumed prediction has the same batches in the same
order, so that the rest is computed to the same bits.
"""

import base64
import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.atomic import AppendFile, set_aside, sha256_of_text, write_with

BAD = "bad-"
FLUSH_INTERVAL_S = 5.0  # work that may be lost; shorter predictions write nothing
Indices = Sequence[int] | NDArray[np.int64]
DTYPES = {"float64", "float32", "int64"}


class ResumeLog:
    """The finished batches of one prediction; those of an earlier process come first."""

    def __init__(
        self,
        path: Path,
        fingerprint: str,
        every_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path, self.clock = path, clock
        self.every_s = FLUSH_INTERVAL_S if every_s is None else every_s
        self._log: AppendFile | None = None
        self._first = self._sum = sha256_of_text(fingerprint)
        self._unwritten: list[str] = []
        self._last_flush = clock()
        self._finished: deque[tuple[list[int], int, NDArray[Any]]] = deque()
        self._read()

    @property
    def next_size(self) -> int | None:
        """The batch size of the next finished batch; None where there is none."""
        return self._finished[0][1] if self._finished else None

    def pop(self, indices: Indices) -> NDArray[Any] | None:
        """The array of this batch if an earlier process finished it."""
        if not self._finished:
            return None
        expected, _, values = self._finished.popleft()
        if expected != [int(index) for index in indices]:  # other items: the rest is not used either
            self._finished.clear()
            self._sum = self._first
            self._set_aside()
            return None
        return values

    def add(self, indices: Indices, size: int, values: NDArray[Any]) -> None:
        """Add a finished batch; it is on the disk a few seconds later, or after `flush`."""
        if self._finished:  # an earlier process finished later batches already
            return
        body = {
            "indices": [int(index) for index in indices],
            "size": size,
            "dtype": str(values.dtype),
            "shape": list(values.shape),
            "data": base64.b64encode(np.ascontiguousarray(values).tobytes()).decode(),
        }
        self._sum = _chain(self._sum, body)
        self._unwritten.append(json.dumps({**body, "sum": self._sum}) + "\n")
        if self.clock() - self._last_flush >= self.every_s:
            self.flush()

    def flush(self) -> None:
        """Write the pending lines and sync them to the disk. Raises: RunError where the system refuses."""
        if self._unwritten:
            if self._log is None:
                self._log = AppendFile(self.path)
            self._log.write("".join(self._unwritten), sync=True)
            self._unwritten.clear()
        self._last_flush = self.clock()

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        self._close_log()

    def _close_log(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None

    def _read(self) -> None:
        if not self.path.is_file():
            return
        *lines, rest = self.path.read_bytes().split(b"\n")
        valid = 0
        for line in lines:
            try:
                body = json.loads(line)
                checksum = body.pop("sum")
                if checksum != _chain(self._sum, body) or body["dtype"] not in DTYPES:
                    break
                data = np.frombuffer(base64.b64decode(body["data"]), dtype=body["dtype"])
                self._finished.append((body["indices"], body["size"], data.reshape(body["shape"])))
            except (ValueError, KeyError, TypeError, AttributeError):
                break
            self._sum, valid = checksum, valid + 1
        if valid < len(lines) or rest:
            content = b"".join(line + b"\n" for line in lines[:valid])
            if valid < len(lines):
                self._set_aside()
            write_with(self.path, lambda file: file.write_bytes(content))

    def _set_aside(self) -> None:
        self._close_log()
        if self.path.exists():
            set_aside(self.path, BAD)


class ResumeLogs:
    """The logs of an arm's predictions, by name. Leaving the context flushes them, also on errors."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder, self.fingerprint = folder, fingerprint
        self._open: list[ResumeLog] = []

    def open(self, name: str) -> ResumeLog:
        """The log of one prediction."""
        self._open.append(ResumeLog(self.folder / f"{name}.jsonl", f"{self.fingerprint}|{name}"))
        return self._open[-1]

    def for_weights(self, chosen: dict[str, Any]) -> "ResumeLogs":
        """The same logs for a trained model, by the step and loss that dev chose."""
        self.fingerprint += f"|{chosen['step']}|{chosen['dev_loss']!r}"
        return self

    def __enter__(self) -> "ResumeLogs":
        return self

    def __exit__(self, *error: object) -> None:
        for resume_log in self._open:
            resume_log.close()


def remove_resume_logs(folder: Path) -> None:
    """Remove the logs of a complete arm; renamed damaged files stay."""
    if folder.is_dir():
        for path in folder.glob("*.jsonl"):
            if not path.name.startswith(BAD):
                path.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


def _chain(before: str, body: dict[str, Any]) -> str:
    return sha256_of_text(before + json.dumps(body, sort_keys=True))[:32]

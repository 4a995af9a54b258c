"""Finished batches of a prediction on disk, so that a long one that is cut short goes on.

In: a folder, what the predictions belong to, arrays as batches come. Out: the same arrays, batch by batch.
Knows nothing of: what is predicted, models.

A file has a line of JSON a batch: its items' places, how many were at once, the array's bytes, and a
checksum over these and the line before. What comes after the first line that is not whole is not used: a
line that was cut off in writing is dropped, a damaged file is set aside by name. Batches come again in
the same order and composition, so that the rest of them is computed to the same bits.
"""

import base64
import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.atomic import Appended, set_aside, sha256_of_text, write_with

BAD = "bad-"
EVERY_S = 5.0  # seconds of work that may be lost; what is shorter is not written at all
Places = Sequence[int] | NDArray[np.int64]
KINDS = {"float64", "float32", "int64"}


class Journal:
    """The finished batches of one prediction, those of an earlier process first."""

    def __init__(
        self,
        path: Path,
        belongs: str,
        every_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path, self.clock = path, clock
        self.every_s = EVERY_S if every_s is None else every_s
        self._log: Appended | None = None
        self._first = self._sum = sha256_of_text(belongs)
        self._unwritten: list[str] = []
        self._since = clock()
        self._known: deque[tuple[list[int], int, NDArray[Any]]] = deque()
        self._read()

    @property
    def next_size(self) -> int | None:
        """How many items were at once in the next batch that is known; None: none is."""
        return self._known[0][1] if self._known else None

    def take(self, places: Places) -> NDArray[Any] | None:
        """The array of this batch where an earlier process finished it."""
        if not self._known:
            return None
        known, _, values = self._known.popleft()
        if known != [int(place) for place in places]:  # of other items: none of the rest is used
            self._known.clear()
            self._sum = self._first
            self._set_aside()
            return None
        return values

    def add(self, places: Places, size: int, values: NDArray[Any]) -> None:
        """Keep a finished batch; it is on the disk a few seconds later, or after `flush`."""
        if self._known:  # an earlier process got further than its batches were asked for again
            return
        body = {
            "at": [int(place) for place in places],
            "size": size,
            "kind": str(values.dtype),
            "shape": list(values.shape),
            "data": base64.b64encode(np.ascontiguousarray(values).tobytes()).decode(),
        }
        self._sum = _chained(self._sum, body)
        self._unwritten.append(json.dumps({**body, "sum": self._sum}) + "\n")
        if self.clock() - self._since >= self.every_s:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet, and let it reach the disk.

        Raises: RunError where the system refuses.
        """
        if self._unwritten:
            if self._log is None:
                self._log = Appended(self.path)
            self._log.write("".join(self._unwritten), sync=True)
            self._unwritten.clear()
        self._since = self.clock()

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        if self._log is not None:
            self._log.close()
            self._log = None

    def _read(self) -> None:
        if not self.path.is_file():
            return
        *lines, rest = self.path.read_bytes().split(b"\n")
        good = 0
        for line in lines:
            try:
                found = json.loads(line)
                told = found.pop("sum")
                if told != _chained(self._sum, found) or found["kind"] not in KINDS:
                    break
                data = np.frombuffer(base64.b64decode(found["data"]), dtype=found["kind"])
                self._known.append((found["at"], found["size"], data.reshape(found["shape"])))
            except (ValueError, KeyError, TypeError, AttributeError):
                break
            self._sum, good = told, good + 1
        if good < len(lines) or rest:
            kept = b"".join(line + b"\n" for line in lines[:good])
            if good < len(lines):
                self._set_aside()
            write_with(self.path, lambda file: file.write_bytes(kept))

    def _set_aside(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None
        if self.path.exists():
            set_aside(self.path, BAD)


class Journals:
    """The journals of an arm's predictions, by name. Leaving the context flushes them, whatever happens."""

    def __init__(self, folder: Path, belongs: str) -> None:
        self.folder, self.belongs = folder, belongs
        self._open: list[Journal] = []

    def of(self, name: str) -> Journal:
        """The journal of one prediction."""
        path = self.folder / f"{name}.jsonl"
        self._open.append(Journal(path, f"{self.belongs}|{name}"))
        return self._open[-1]

    def of_weights(self, chosen: dict[str, Any]) -> "Journals":
        """The same for a model that was trained, by the step and loss that dev chose."""
        self.belongs += f"|{chosen['step']}|{chosen['dev_loss']!r}"
        return self

    def __enter__(self) -> "Journals":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for journal in self._open:
            journal.close()


def forget_journals(folder: Path) -> None:
    """Remove the journals of an arm that is complete; what was set aside stays."""
    if folder.is_dir():
        for path in folder.glob("*.jsonl"):
            if not path.name.startswith(BAD):
                path.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


def _chained(before: str, body: dict[str, Any]) -> str:
    return sha256_of_text(before + json.dumps(body, sort_keys=True))[:32]

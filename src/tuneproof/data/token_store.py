"""Stores the tokens of many items as one array: in memory at first, then in an unnamed file.

In: rows of token ids, as they come. Out: a sequence of them. Knows nothing of: tokenizers, what a row is for.
"""

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, overload

import numpy as np
from numpy.typing import NDArray

TOKENS_IN_MEMORY = 1 << 20  # 4 MiB of int32; more go to disk
IntArray = NDArray[np.int64]


class TokenRows(Sequence[IntArray]):
    """N rows of token ids, each read as an int64 array; `lengths_N` are their lengths.

    flat: the tokens; None: they are read from the file, of which nothing stays in this process.
    """

    def __init__(
        self, lengths_N: IntArray, flat: NDArray[np.int32] | None = None, file: IO[bytes] | None = None
    ) -> None:
        self._flat, self._file, self.lengths_N = flat, file, lengths_N
        self._ends_N = np.cumsum(lengths_N)

    def __len__(self) -> int:
        return len(self.lengths_N)

    @overload
    def __getitem__(self, index: int) -> IntArray: ...
    @overload
    def __getitem__(self, index: slice) -> list[IntArray]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        end, length = int(self._ends_N[index]), int(self.lengths_N[index])
        if self._flat is not None:
            return self._flat[end - length : end].astype(np.int64)
        assert self._file is not None
        read = os.pread(self._file.fileno(), 4 * length, 4 * (end - length))
        return np.frombuffer(read, dtype=np.int32).astype(np.int64)

    def __iter__(self) -> Iterator[IntArray]:
        return (self[row] for row in range(len(self)))

    @property
    def on_disk(self) -> bool:
        """Whether the tokens are in a file, which disappears with this object."""
        return self._file is not None


class TokenWriter:
    """Collects rows batch by batch; `rows` returns all of them."""

    def __init__(self, tokens_in_memory: int = TOKENS_IN_MEMORY) -> None:
        self._max_in_memory = tokens_in_memory
        self._pieces: list[NDArray[np.int32]] = []
        self._lengths: list[IntArray] = []
        self._tokens = 0
        self._file: IO[bytes] | None = None

    def add(self, rows: Iterable[Sequence[int]]) -> None:
        """Append these rows."""
        arrays = [np.asarray(row, dtype=np.int32) for row in rows]
        self._lengths.append(np.array([len(row) for row in arrays], dtype=np.int64))
        flat = np.concatenate([np.empty(0, dtype=np.int32), *arrays])
        self._tokens += len(flat)
        if self._file is None and self._tokens > self._max_in_memory:
            try:  # unnamed: it disappears with its last reader, however this process ends
                self._file = tempfile.TemporaryFile(prefix="tuneproof-tokens-")  # noqa: SIM115
                np.concatenate(self._pieces or [flat[:0]]).tofile(self._file)
                self._pieces.clear()
            except OSError:  # no folder to write to, or it is full: in memory, then
                self._file, self._max_in_memory = None, sys.maxsize
        if self._file is None:
            self._pieces.append(flat)
        else:
            flat.tofile(self._file)

    def rows(self) -> TokenRows:
        """All rows so far."""
        lengths_N = np.concatenate([np.empty(0, dtype=np.int64), *self._lengths])
        if self._file is None:
            flat = np.concatenate([np.empty(0, dtype=np.int32), *self._pieces])
            return TokenRows(lengths_N, flat)
        self._file.flush()
        mapped = {} if hasattr(os, "pread") else {"flat": np.memmap(self._file, dtype=np.int32, mode="r")}
        return TokenRows(lengths_N=lengths_N, file=self._file, **mapped)

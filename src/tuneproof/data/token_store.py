"""The tokens of many items as one array: in memory while they are few, in a nameless file after that.

In: rows of token ids, as they come. Out: a sequence of them. Knows nothing of: tokenizers, what a row is for.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, overload

import numpy as np
from numpy.typing import NDArray

KEPT_TOKENS = 1 << 24  # 64 MiB of int32; beyond, the tokens lie on disk
IntArray = NDArray[np.int64]


class TokenRows(Sequence[IntArray]):
    """N rows of token ids, each an int64 array when it is asked for; `lengths_N` are their lengths."""

    def __init__(self, flat: NDArray[np.int32], lengths_N: IntArray) -> None:
        self._flat, self.lengths_N = flat, lengths_N
        self._ends_N = np.cumsum(lengths_N)

    def __len__(self) -> int:
        return len(self.lengths_N)

    @overload
    def __getitem__(self, place: int) -> IntArray: ...
    @overload
    def __getitem__(self, place: slice) -> list[IntArray]: ...
    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        end = int(self._ends_N[place])
        return self._flat[end - int(self.lengths_N[place]) : end].astype(np.int64)

    def __iter__(self) -> Iterator[IntArray]:
        return (self[place] for place in range(len(self)))

    @property
    def on_disk(self) -> bool:
        """Whether the tokens lie in a file, which goes with this object."""
        return isinstance(self._flat, np.memmap)


class TokenWriter:
    """Takes rows piece by piece; `rows` gives all of them."""

    def __init__(self, kept_tokens: int = KEPT_TOKENS) -> None:
        self._kept = kept_tokens
        self._pieces: list[NDArray[np.int32]] = []
        self._lengths: list[IntArray] = []
        self._tokens = 0
        self._file: IO[bytes] | None = None

    def add(self, rows: Iterable[Sequence[int]]) -> None:
        """Take these rows."""
        known = [np.asarray(row, dtype=np.int32) for row in rows]
        self._lengths.append(np.array([len(row) for row in known], dtype=np.int64))
        flat = np.concatenate([np.empty(0, dtype=np.int32), *known])
        self._tokens += len(flat)
        if self._file is None and self._tokens > self._kept:
            # nameless: it goes with its last reader, however this process ends
            self._file = tempfile.TemporaryFile(prefix="tuneproof-tokens-")  # noqa: SIM115
            for piece in self._pieces:
                piece.tofile(self._file)
            self._pieces.clear()
        if self._file is None:
            self._pieces.append(flat)
        else:
            flat.tofile(self._file)

    def rows(self) -> TokenRows:
        """All rows so far."""
        lengths_N = np.concatenate([np.empty(0, dtype=np.int64), *self._lengths])
        if self._file is None:
            flat = np.concatenate([np.empty(0, dtype=np.int32), *self._pieces])
            return TokenRows(flat, lengths_N)
        self._file.flush()
        return TokenRows(np.memmap(self._file, dtype=np.int32, mode="r"), lengths_N)

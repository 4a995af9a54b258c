"""Items in a few arrays: a million take half the memory that Python's objects take.

In: splits. Out: the same items, each made when it is read. Knows nothing of: tokens, files.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from tuneproof.data.splits import PARTS, Splits
from tuneproof.tasks.task import Example

_UTF8 = "utf-8", "surrogatepass"


class CompactItems(Sequence[Example]):
    """N items with labels: ids, texts and groups as one run of bytes."""

    def __init__(self, items: Sequence[Example]) -> None:
        self._bytes, self._ends = bytearray(), array("q", [0])
        for item in items:
            for text in (item.id, item.text, item.group):
                self._bytes += text.encode(*_UTF8)
                self._ends.append(len(self._bytes))
        self._labels = array("q", (item.label for item in items))
        self._values = [item.values for item in items] if any(item.values for item in items) else None

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: Any) -> Any:
        row = range(len(self))[index]
        if isinstance(row, range):
            return self if row == range(len(self)) else list(map(self.__getitem__, row))
        bounds = pairwise(self._ends[3 * row : 3 * row + 4])
        id, text, group = (self._bytes[start:end].decode(*_UTF8) for start, end in bounds)
        group = id if group == id else group  # one string
        return Example(id, text, self._labels[row], group, self._values[row] if self._values else ())

    def __iter__(self) -> Iterator[Example]:
        return map(self.__getitem__, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


def compact_splits(splits: Splits) -> Splits:
    """The splits with their items in a few arrays; questions stay as they are."""
    if splits.test[0].question is not None:
        return splits
    train, dev, test = (CompactItems(splits.part(part)) for part in PARTS)
    return replace(splits, train=train, dev=dev, test=test)

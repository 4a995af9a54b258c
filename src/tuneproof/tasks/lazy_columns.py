"""Columns that are made when they are first asked for, so that the others take no memory.

In: the names, and a function that makes one column. Out: a mapping. Knows nothing of: files.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any


class LazyColumns(Mapping[str, Sequence[Any]]):
    """A mapping from names to columns."""

    def __init__(self, names: Iterable[str], read: Callable[[str], Sequence[Any]]) -> None:
        self._names = dict.fromkeys(names)
        self._read = read
        self._columns: dict[str, Sequence[Any]] = {}

    def __getitem__(self, name: str) -> Sequence[Any]:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._columns:
            self._columns[name] = self._read(name)
        return self._columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

"""Sets of numbers, one a text, and how many numbers the sets of two texts share.

In: numbers. Out: counts, pair by pair. Knows nothing of: what the numbers stand for, what counts as similar.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NUMBERS_AT_ONCE = 4_000_000  # of both texts of the pairs compared at a time


class NumberSets(NamedTuple):
    """The sets of N texts, ascending: text i has `numbers[starts[i]:starts[i + 1]]`."""

    numbers: NDArray[np.int64] | NDArray[np.int32]
    starts: NDArray[np.int64]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The size of each set [N]."""
        return np.diff(self.starts)

    def part(self, start: int, end: int) -> "NumberSets":
        """The sets of the texts from `start` to `end`."""
        starts = self.starts[start : end + 1]
        return NumberSets(self.numbers[starts[0] : starts[-1]], starts - starts[0])


def split_pairs(sizes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Indices of pairs, as many at a time as memory should hold; sizes: of both sets of each pair."""
    total = np.cumsum(sizes)
    ends = np.arange(NUMBERS_AT_ONCE, total[-1] if len(total) else 0, NUMBERS_AT_ONCE)
    cuts = np.searchsorted(total, ends) + 1
    return iter(np.split(np.arange(len(sizes)), np.unique(cuts)))


def count_shared(
    a: NumberSets, a_M: NDArray[np.int64], b: NumberSets, b_M: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many numbers the two sets of each of M pairs share [M]."""
    codes = []
    width = 1 + int(max(a.numbers.max(initial=0), b.numbers.max(initial=0)))
    for sets, texts in ((a, a_M), (b, b_M)):
        sizes = sets.sizes[texts]
        offsets = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        numbers = sets.numbers[np.repeat(sets.starts[texts], sizes) + offsets]
        codes.append(np.repeat(np.arange(len(texts)), sizes) * width + numbers)
    both = np.concatenate(codes)
    both.sort(kind="stable")  # merges two sorted runs
    shared = both[1:][both[1:] == both[:-1]] // width
    return np.bincount(shared, minlength=len(a_M))

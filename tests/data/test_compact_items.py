"""Items in a few arrays: the same items, in less memory."""

import tracemalloc

import numpy as np
import pytest

from tuneproof.data.compact_items import CompactItems, compact_splits
from tuneproof.data.splits import Splits
from tuneproof.tasks.question_rows import QuestionRow, build_examples
from tuneproof.tasks.task import Example

ITEMS = [
    Example("row 1", "naïve 🎬, and\na second line", 1, "row 1", ("web", "1999")),
    Example("row 2", "", 0, "Group of several", ("", "2001")),
    Example("row 3", "half a character: \ud83c", 2, "row 3", ("app", "2001")),
]


@pytest.mark.parametrize("items", [ITEMS, [Example(f"{i}", "short", i, f"{i}") for i in range(5)], []])
def test_items_come_back_as_they_were(items):
    compact = CompactItems(items)
    assert list(compact) == items
    assert len(compact) == len(items)
    for rows in (slice(None), slice(1, 3), slice(None, None, -1), slice(-2, None), slice(9, 12)):
        assert list(compact[rows]) == items[rows]
    for row in (0, 1, -1):
        if items:
            assert compact[row] == compact[np.int64(row)] == items[row]
    with pytest.raises(IndexError):
        compact[len(items)]


def test_a_slice_of_all_makes_no_item():
    compact = CompactItems(ITEMS)
    assert compact[:None] is compact
    assert compact[: len(ITEMS)] is compact


def test_an_id_that_is_the_group_is_one_string():
    item = CompactItems([Example("row 1", "text", 0, "row 1")])[0]
    assert item.id is item.group


def test_they_take_less_than_half_of_the_memory():
    def items():
        return [
            Example(f"row {i}", f"a short text with number {i}", i % 2, f"row {i}") for i in range(20_000)
        ]

    sizes = []
    for make in (items, lambda: CompactItems(items())):
        tracemalloc.start()
        made = make()
        sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert len(made) == 20_000
    assert sizes[1] < sizes[0] / 2


def test_questions_stay_as_they_are():
    rows = [QuestionRow("row 1", "q1", "", "It was she.", "Who was it?", ("she",), (7,))]
    items = build_examples(rows, lowercase=False)
    splits = Splits(items, items, items, ("answerable",), False, {})
    assert compact_splits(splits) is splits

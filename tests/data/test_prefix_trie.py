"""Rows that begin alike stand together, and no token of theirs stands twice.

In: made-up rows. Out: nothing. Knows nothing of: models.
"""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneproof.data.prefix_trie import batch_by_prefix, build_prefix_tries, common_prefix_of_all, group_tries

ROWS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=12).map(np.array), min_size=1, max_size=12)


def paragraphs(sizes, length=40, question=6):
    """Rows of groups: each group's own tokens, then a row's own."""
    draw = np.random.default_rng(0)
    return [
        np.concatenate([np.full(length, group), 100 + draw.integers(0, 900, question)])
        for group, size in enumerate(sizes)
        for _ in range(size)
    ]


@settings(max_examples=200, deadline=None)
@given(ROWS, st.integers(1, 40))
def test_every_row_can_be_read_off_its_pack(rows, most):
    packs = build_prefix_tries(rows, most)
    assert sorted(np.concatenate([pack.rows_R for pack in packs])) == list(range(len(rows)))
    for pack in packs:
        for at, (place, columns) in enumerate(zip(pack.rows_R, pack.columns, strict=True)):
            assert pack.ids_K[columns].tolist() == rows[place].tolist()
            assert pack.positions_K[columns].tolist() == list(range(len(rows[place])))
            assert (np.diff(columns) > 0).all(), "a token stands after those that it follows"
            own = np.flatnonzero(pack.owner_K == at)
            assert set(own) <= set(columns)
        assert set(np.concatenate(pack.columns)) == set(range(len(pack.ids_K)))


def test_what_kin_have_in_common_stands_once():
    rows = paragraphs([10, 10])
    assert sum(len(pack.ids_K) for pack in build_prefix_tries(rows)) == 2 * (40 + 10 * 6)
    sizes = [len(pack.ids_K) for pack in build_prefix_tries(rows, 64)]
    assert sizes == [40 + 10 * 6] * 2, "kin stay in one pack, of more tokens too"
    sizes = [len(pack.ids_K) for pack in build_prefix_tries(rows, 30)]
    assert sum(sizes) == 4 * 40 + 20 * 6, "none has more than 30 tokens of others beside it"


def test_packs_have_about_one_size():
    draw = np.random.default_rng(0)
    rows = [draw.integers(0, 1000, size) for size in draw.integers(20, 60, 100)]
    sizes = [len(pack.ids_K) for pack in build_prefix_tries(rows, 256)]
    assert max(sizes) <= 256 + 60
    assert max(sizes) - min(sizes) <= 60


def test_the_common_start_leaves_each_row_a_token():
    assert common_prefix_of_all([np.array([1, 2, 3]), np.array([1, 2, 4])]) == 2
    assert common_prefix_of_all([np.array([1, 2]), np.array([1, 2])]) == 1
    assert common_prefix_of_all([np.array([1, 2, 3]), np.array([1, 2])]) == 1
    assert common_prefix_of_all([np.array([5, 2]), np.array([1, 2])]) == 0
    assert common_prefix_of_all([np.array([5, 2])]) == 0
    assert common_prefix_of_all([]) == 0


def test_kin_stay_in_one_batch_and_none_is_too_large():
    rows = paragraphs([7, 6, 5, 20])
    batches = batch_by_prefix(rows, 0, 12)
    assert sorted(np.concatenate(batches)) == list(range(len(rows)))
    assert max(map(len, batches)) <= 12
    groups = [{int(rows[place][0]) for place in batch} for batch in batches]
    for group in (0, 1, 2):
        assert sum(group in found for found in groups) == 1
    assert sum(3 in found for found in groups) == 2, "20 kin need two batches of 12"


def test_the_longest_come_first_and_weights_bound_a_batch():
    draw = np.random.default_rng(0)
    rows = [draw.integers(0, 1000, size) for size in (3, 9, 5, 7)]
    assert [batch.tolist() for batch in batch_by_prefix(rows, 0, 2)] == [[1, 3], [2, 0]]
    batches = batch_by_prefix(rows, 0, 4, [5, 1, 20, 1], 6)
    assert [batch.tolist() for batch in batches] == [[1, 3], [2], [0]]


def test_turns_waste_at_most_half_of_their_places():
    packs = build_prefix_tries(paragraphs([1] * 12 + [20]), 40)
    turns = group_tries(packs)
    assert len(turns) > 1
    assert sum(len(turn) for turn in turns) == len(packs)
    for turn in turns:
        rows = [len(pack.rows_R) for pack in turn]
        assert rows[0] == max(rows)
        assert len(rows) * rows[0] <= 2 * sum(rows)


def test_packs_are_as_many_as_cost_least():
    three = paragraphs([10, 10, 10], 240)
    assert [len(pack.ids_K) for pack in build_prefix_tries(three)] == [300] * 3, "not 600 and 300"

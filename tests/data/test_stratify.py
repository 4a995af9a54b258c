import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneproof.data.stratify import assign_parts, keep_units_whole, stratified_order


def counts(part_N, labels_N, parts=3):
    return [np.bincount(labels_N[part_N == part], minlength=2).tolist() for part in range(parts)]


def test_single_items_fill_the_shares_of_every_label_exactly():
    labels = np.array([0] * 700 + [1] * 300)
    parts = assign_parts(labels, np.arange(1000), [70, 10, 20], np.random.default_rng(0))
    assert counts(parts, labels) == [[490, 210], [70, 30], [140, 60]]


def test_groups_stay_whole_and_labels_nearly_in_their_shares():
    random = np.random.default_rng(1)
    groups = random.integers(0, 200, 2000)
    labels = (random.random(2000) < 0.3).astype(np.int64)
    parts = assign_parts(labels, groups, [70, 10, 20], random)
    for group in range(200):
        assert len(np.unique(parts[groups == group])) == 1
    for part, share in enumerate((0.7, 0.1, 0.2)):
        chosen = parts == part
        assert abs(chosen.mean() - share) < 0.01
        assert abs(labels[chosen].mean() - labels.mean()) < 0.03


def test_a_label_of_three_items_reaches_all_three_parts():
    labels = np.array([0] * 97 + [1] * 3)
    parts = assign_parts(labels, np.arange(100), [70, 10, 20], np.random.default_rng(0))
    assert [row[1] for row in counts(parts, labels)] == [1, 1, 1]


def test_the_same_seed_gives_the_same_parts_and_another_seed_others():
    labels = np.array([0, 1] * 100)
    first, again, other = (
        assign_parts(labels, np.arange(200), [80, 20], np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert (first == again).all()
    assert (first != other).any()


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8)), min_size=1, max_size=60),
    st.lists(st.floats(0.5, 99), min_size=2, max_size=3),
    st.integers(0, 99),
)
def test_every_item_gets_one_part_and_every_group_one(items, shares, seed):
    labels = np.array([label for label, _ in items])
    groups = np.array([group for _, group in items])
    parts = assign_parts(labels, groups, shares, np.random.default_rng(seed))
    assert ((parts >= 0) & (parts < len(shares))).all()
    for group in set(groups.tolist()):
        assert len(set(parts[groups == group].tolist())) == 1


@given(st.lists(st.integers(0, 3), min_size=1, max_size=80), st.integers(0, 99))
def test_every_prefix_of_the_order_is_stratified(labels, seed):
    labels = np.array(labels)
    order = stratified_order(labels, np.random.default_rng(seed))
    assert sorted(order.tolist()) == list(range(len(labels)))
    classes = len(np.unique(labels))
    assert len(np.unique(labels[order[:classes]])) == classes
    for size in range(classes, len(labels) + 1):
        for label in np.unique(labels):
            wanted = size * (labels == label).mean()
            assert abs((labels[order[:size]] == label).sum() - wanted) <= classes


def test_units_stay_whole_in_the_order_of_their_first_items_and_within_the_size():
    order = np.array([4, 0, 1, 5, 2, 3])
    units = ["a", "b", "a", "b", "c", "a"]  # a: 0, 2, 5; b: 1, 3; c: 4
    assert keep_units_whole(order, units, 6).tolist() == [4, 0, 5, 2, 1, 3]
    assert keep_units_whole(order, units, 3).tolist() == [4, 1, 3], "a does not fit behind c, b does"
    assert keep_units_whole(order, units, 1).tolist() == [4]
    assert keep_units_whole(np.array([1, 3]), units, 1).tolist() == []


def test_a_large_group_among_small_ones_is_not_always_in_train():
    labels = np.arange(1000) % 2
    groups = np.concatenate([np.zeros(315, dtype=np.int64), np.arange(1, 686)])
    parts = [
        assign_parts(labels, groups, (0.7, 0.1, 0.2), np.random.default_rng(seed))[0] for seed in range(300)
    ]
    shares = np.bincount(parts, minlength=3) / 300
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.08)

"""Which items make up which batch."""

import numpy as np
import pytest

from tuneproof.data.batches import (
    batch_by_length,
    collate_epoch,
    count_batches,
    padding_share,
    plan_batches,
    shard_batch,
    split_micro,
)


def test_every_item_comes_once_an_epoch_and_the_smaller_last_batch_is_kept():
    batches = plan_batches(23, 5, seed=3, epoch=1)
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3]
    assert sorted(np.concatenate(batches)) == list(range(23))
    assert len(batches) == count_batches(23, 5)


def test_batches_depend_on_seed_and_epoch_alone():
    first = np.concatenate(plan_batches(50, 8, seed=1, epoch=2))
    np.random.seed(99)
    np.random.default_rng(1).permutation(10)
    assert np.array_equal(first, np.concatenate(plan_batches(50, 8, seed=1, epoch=2)))
    for other in ((1, 3), (2, 2), (2, 1)):
        assert not np.array_equal(first, np.concatenate(plan_batches(50, 8, *other)))


def test_the_order_of_items_is_the_same_for_every_batch_size():
    orders = [np.concatenate(plan_batches(17, size, 0, 0)).tolist() for size in (1, 4, 17, 100)]
    assert all(order == orders[0] for order in orders)


def test_the_permutation_is_the_one_that_older_studies_used():
    assert np.concatenate(plan_batches(8, 8, seed=0, epoch=0)).tolist() == [2, 4, 3, 6, 5, 0, 1, 7]


def test_items_sorted_by_label_are_mixed_in_every_batch():
    labels = np.repeat([0, 1], 2000)
    for epoch in range(3):
        assert all(len(set(labels[b])) == 2 for b in plan_batches(4000, 32, 0, epoch))


def test_grouping_by_length_keeps_items_and_sizes_and_leaves_little_padding():
    lengths = np.random.default_rng(0).integers(1, 100, 1003).tolist()
    plain, grouped = plan_batches(1003, 8, 0, 0), plan_batches(1003, 8, 0, 0, lengths)
    assert sorted(np.concatenate(grouped)) == list(range(1003))
    assert sorted(map(len, grouped)) == sorted(map(len, plain))
    assert padding_share(lengths, grouped) < 0.1 * padding_share(lengths, plain)
    again = plan_batches(1003, 8, 0, 0, lengths)
    assert all(np.array_equal(a, b) for a, b in zip(grouped, again, strict=True))
    other = plan_batches(1003, 8, 0, 1, lengths)
    assert {tuple(sorted(b)) for b in grouped} != {tuple(sorted(b)) for b in other}
    longest = [max(lengths[i] for i in batch) for batch in grouped]
    assert longest != sorted(longest)
    assert longest != sorted(longest, reverse=True)


@pytest.mark.parametrize(("items", "size"), [(0, 4), (4, 0), (-1, 1)])
def test_nothing_to_batch_is_an_error(items, size):
    with pytest.raises(ValueError, match="at least 1"):
        plan_batches(items, size, 0, 0)


def test_micro_batches_hold_the_same_items_as_their_batch():
    batch = np.array([7, 3, 9, 1, 5])
    for micro in (1, 2, 3, 5, 8, None):
        parts = split_micro(batch, micro)
        assert np.concatenate(parts).tolist() == batch.tolist()
        assert all(len(part) <= (micro or 5) for part in parts)


def test_micro_batches_by_length_pad_less_and_hold_the_same_items():
    lengths = np.random.default_rng(0).integers(3, 60, size=256)
    batches = plan_batches(256, 32, 0, 0)
    plain = [part for batch in batches for part in split_micro(batch, 8)]
    sorted_ = [part for batch in batches for part in split_micro(batch, 8, lengths)]
    assert padding_share(lengths, sorted_) < 0.5 * padding_share(lengths, plain)
    for i, batch in enumerate(batches):
        assert sorted(np.concatenate(sorted_[4 * i : 4 * i + 4])) == sorted(batch)


def test_padding_share_is_the_share_of_padding():
    assert padding_share([2, 4], [np.array([0, 1])]) == pytest.approx(0.25)
    assert padding_share([2, 4], [np.array([0]), np.array([1])]) == 0
    assert padding_share([], []) == 0


def test_evaluation_goes_from_long_to_short_and_can_be_put_back_in_order():
    lengths = [3, 9, 1, 9, 5]
    batches = batch_by_length(lengths, 2)
    assert [batch.tolist() for batch in batches] == [[1, 3], [4, 0], [2]]
    order = np.concatenate(batches)
    results = np.empty(5)
    results[order] = np.array(lengths)[order]
    assert results.tolist() == lengths


def test_micro_batches_are_collated_when_their_batch_is_asked_for():
    collated = []

    def collate(part):
        collated.append(part.tolist())
        return part.tolist()

    ids = [f"row-{i}" for i in range(10)]
    batches = collate_epoch(ids, collate, batch_size=4, seed=0, epoch=0, micro_batch=2)
    assert collated == []
    first = next(batches)
    assert len(collated) == 2
    assert list(first.micro_batches) == collated
    assert first.ids == tuple(f"row-{i}" for part in collated for i in part)
    rest = [first, *batches]
    assert sorted(i for batch in rest for i in batch.ids) == sorted(ids)


def test_skipped_batches_keep_their_ids_and_are_not_collated() -> None:
    made: list = []
    ids = [f"i{place}" for place in range(10)]
    whole = list(collate_epoch(ids, lambda part: part.tolist(), 4, seed=1, epoch=0))
    rest = list(collate_epoch(ids, lambda part: made.append(1) or part.tolist(), 4, seed=1, epoch=0, skip=2))
    assert [batch.ids for batch in rest] == [batch.ids for batch in whole]
    assert rest[2].micro_batches == whole[2].micro_batches
    assert len(made) == 1


@pytest.mark.parametrize("of", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [1, 2, 7, 16])
def test_a_batch_is_dealt_whole_and_evenly(size, of):
    batch = np.random.default_rng(0).permutation(40)[:size]
    lengths = np.random.default_rng(1).integers(3, 90, 40)
    hands = [shard_batch(batch, (which, of), lengths) for which in range(of)]
    assert sorted(np.concatenate(hands)) == sorted(batch)
    assert max(map(len, hands)) - min(map(len, hands)) <= 1
    if size >= of:
        most, least = (int(lengths[hands[which]].sum()) for which in (0, -1))
        assert most - least <= lengths[batch].max(), "no process has a long item more than another"


def test_of_several_processes_each_collates_its_hand_alone():
    ids = [f"item {place}" for place in range(11)]
    seen = [
        [batch.ids for batch in collate_epoch(ids, list, 4, 0, 0, 2, range(11), shard=(which, 2))]
        for which in (0, 1)
    ]
    whole = [batch.ids for batch in collate_epoch(ids, list, 4, 0, 0, 2, range(11))]
    assert [sorted(a + b) for a, b in zip(*seen, strict=True)] == [sorted(ids) for ids in whole]
    assert (
        max(
            len(part)
            for batch in collate_epoch(ids, list, 4, 0, 0, 2, range(11), shard=(0, 2))
            for part in batch.parts
        )
        == 2
    )

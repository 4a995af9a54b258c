"""Which items make up which batch: a pure function of seed and epoch.

In: a number of items, a seed, an epoch, lengths in tokens. Out: index arrays; batches on the host.
Knows nothing of: what an item is, models, devices.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Indices = np.ndarray  # int64, into the list of items
CHUNK_BATCHES = 50  # batches whose shuffled items are sorted by length together


@dataclass(frozen=True)
class Batch:
    """One effective batch, still on the host: the ids of its items and its collated micro-batches.

    `parts` are the item indices of each micro-batch; `collate` makes a micro-batch of them.
    """

    ids: tuple[str, ...]
    micro_batches: tuple[Any, ...]
    parts: tuple[Indices, ...] = ()
    collate: Callable[[Indices], Any] | None = None

    def halved(self) -> "Batch | None":
        """The same items in twice as many micro-batches; None if they cannot be cut further."""
        if self.collate is None or all(len(part) < 2 for part in self.parts):
            return None
        parts = [half for part in self.parts for half in _cut(part, max(1, -(-len(part) // 2)))]
        return _collate_parts(self.ids, parts, self.collate)


def plan_batches(
    n_items: int, batch_size: int, seed: int, epoch: int, grouped_by: Sequence[int] | None = None
) -> list[Indices]:
    """One epoch: a random permutation of all items, cut into batches.

    The last batch may be smaller; nothing is dropped. Equal (seed, epoch) give equal batches on
    every machine, whatever was drawn before, so that a stopped run can resume.

    grouped_by: every item's length; batches then hold items of similar length. The items of 50 batches
    are sorted at a time, and the order of the batches is random. Batches then depend on the lengths;
    their size does not.

    Raises: ValueError if n_items or batch_size is below 1.
    Source: transformers, `get_length_grouped_indices`.
    """
    _at_least_one(n_items=n_items, batch_size=batch_size)
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(n_items)
    if grouped_by is None:
        return _cut(order, batch_size)
    lengths = np.asarray(grouped_by)
    batches = [
        batch
        for chunk in _cut(order, CHUNK_BATCHES * batch_size)
        for batch in _cut(chunk[_longest_first(lengths[chunk])], batch_size)
    ]
    return [batches[index] for index in random.permutation(len(batches))]


def count_batches(n_items: int, batch_size: int) -> int:
    """The number of batches in an epoch, including a smaller last one."""
    _at_least_one(n_items=n_items, batch_size=batch_size)
    return -(-n_items // batch_size)


def split_micro(
    batch: Indices, micro_batch: int | None = None, lengths: Sequence[int] | None = None
) -> list[Indices]:
    """Cut an effective batch into micro-batches of at most `micro_batch` items (None: one micro-batch).

    With `lengths` (tokens of every item) the batch is first sorted by length, so that short items
    are not padded to long ones. The update is a sum over the batch, so the order does not matter.
    """
    if micro_batch is None:
        return [batch]
    _at_least_one(micro_batch=micro_batch)
    if lengths is not None:
        batch = batch[_longest_first(np.asarray(lengths)[batch])]
    return _cut(batch, micro_batch)


def shard_batch(batch: Indices, shard: tuple[int, int], lengths: Sequence[int] | None = None) -> Indices:
    """Every `world_size`-th item of a batch, sorted by length, from `rank` on; shard: (rank, world_size)."""
    rank, world_size = shard
    if world_size == 1:
        return batch
    if lengths is not None:
        batch = batch[_longest_first(np.asarray(lengths)[batch])]
    return batch[rank::world_size]


def batch_by_length(lengths: Sequence[int], batch_size: int) -> list[Indices]:
    """Batches, longest items first; restore the order by `results[np.concatenate(batches)] = outputs`."""
    _at_least_one(batch_size=batch_size)
    return _cut(_longest_first(np.asarray(lengths)), batch_size)


def padding_share(lengths: Sequence[int], batches: Sequence[Indices]) -> float:
    """Share of padding, from 0 to below 1, in batches that are padded to their longest item."""
    tokens = np.asarray(lengths)
    real = sum(int(tokens[batch].sum()) for batch in batches)
    padded = sum(int(tokens[batch].max()) * len(batch) for batch in batches if len(batch))
    return 1 - real / padded if padded else 0.0


def collate_epoch(
    ids: Sequence[str],
    collate: Callable[[Indices], Any],
    batch_size: int,
    seed: int,
    epoch: int,
    micro_batch: int | None = None,
    lengths: Sequence[int] | None = None,
    grouped: bool = False,
    skip: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> Iterator[Batch]:
    """The batches of one epoch, each collated when it is needed; the first `skip` are not collated.

    `collate` makes one micro-batch from item indices; `lengths` as in `split_micro`; with `grouped`,
    batches hold items of similar length, as in `plan_batches`. shard: (rank, world_size) of this
    process, which gets its share of every batch; the share may be empty.
    """
    planned = plan_batches(len(ids), batch_size, seed, epoch, lengths if grouped else None)
    for number, batch in enumerate(planned):
        if number < skip:
            yield Batch(tuple(ids[i] for i in batch), ())
            continue
        own = shard_batch(batch, shard, lengths)
        parts = split_micro(own, micro_batch, lengths) if len(own) else []
        yield _collate_parts(tuple(ids[i] for part in parts for i in part), parts, collate)


def _collate_parts(
    ids: tuple[str, ...], parts: Sequence[Indices], collate: Callable[[Indices], Any]
) -> Batch:
    return Batch(ids, tuple(collate(part) for part in parts), tuple(parts), collate)


def _cut(order: Indices, size: int) -> list[Indices]:
    return [order[start : start + size] for start in range(0, len(order), size)]


def _longest_first(lengths: np.ndarray) -> Indices:
    return np.argsort(-lengths, kind="stable")


def _at_least_one(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} is {number}; it must be at least 1")

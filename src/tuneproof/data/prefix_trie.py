"""Rows that begin alike, grouped into batches, or stored as prefix tries that hold shared tokens once.

In: rows of token ids. Out: batches of row indices, tries. Knows nothing of: models, what rows are for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuneproof.data.batches import Indices

IntArray = NDArray[np.int64]

MAX_TRIE_TOKENS = 512  # attention compares every pair of a trie's tokens
PAIRS_PER_TOKEN = 3000  # pairs that cost as much as a token's linear layers: six times a small model's width


@dataclass(frozen=True)
class PrefixTrie:
    """R rows as K tokens, each after its predecessors in a row.

    rows_R: the rows' indices. columns[r]: where row r's tokens are among the K, from left to right.
    owner_K: the first row (of the R) that a token belongs to. positions_K: its position in the row.
    """

    rows_R: Indices
    columns: tuple[IntArray, ...]
    ids_K: IntArray
    owner_K: IntArray
    positions_K: IntArray


def common_prefix(first: Sequence[int] | IntArray, second: Sequence[int] | IntArray) -> int:
    """The length of two rows' common prefix."""
    length = min(len(first), len(second))
    differ = np.flatnonzero(np.asarray(first[:length]) != np.asarray(second[:length]))
    return int(differ[0]) if len(differ) else length


def sort_by_tokens(rows: Sequence[IntArray]) -> list[int]:
    """The rows' indices in the order of their tokens, so that rows with a common prefix are neighbours."""
    return sorted(range(len(rows)), key=lambda row: rows[row].astype(">u8").tobytes())


def common_prefix_of_all(rows: Sequence[IntArray]) -> int:
    """The length of all rows' common prefix, shorter than the shortest row; 0 for less than two rows."""
    if len(rows) < 2:
        return 0
    order = sort_by_tokens(rows)
    shortest = min(map(len, rows))
    return max(0, min(common_prefix(rows[order[0]], rows[order[-1]]), shortest - 1))


def batch_by_prefix(
    rows: Sequence[IntArray], start: int, size: int, weights: Sequence[int] | None = None, max_weight: int = 0
) -> list[Indices]:
    """Batches of at most `size` rows; rows that share most tokens after `start` stay together.

    Longest first. weights: one for each row; those of a batch of several rows sum to at most `max_weight`.
    """
    row_weights = [0] * len(rows) if weights is None else weights
    batches: list[list[int]] = []
    room, weight_left = 0, 0
    for group in _group_by_prefix(rows, start):
        fits = len(group) <= room and sum(row_weights[index] for index in group) <= weight_left
        room = room if fits else 0
        for index in group:
            if room < 1 or row_weights[index] > weight_left:
                batches.append([])
                room, weight_left = size, max_weight
            batches[-1].append(index)
            room, weight_left = room - 1, weight_left - row_weights[index]
    return [np.array(batch, dtype=np.int64) for batch in batches]


def _group_by_prefix(rows: Sequence[IntArray], start: int) -> list[list[int]]:
    """Indices of rows that share most tokens after `start`, the group of the longest row first."""
    order = sort_by_tokens(rows)
    groups: list[list[int]] = []
    for rank, index in enumerate(order):
        row = rows[index]
        if rank and 2 * (common_prefix(rows[order[rank - 1]], row) - start) >= len(row) - start:
            groups[-1].append(index)
        else:
            groups.append([index])
    return sorted(groups, key=lambda group: -max(len(rows[index]) for index in group))


def build_prefix_tries(rows: Sequence[IntArray], max_tokens: int = MAX_TRIE_TOKENS) -> list[PrefixTrie]:
    """The rows as tries of about `max_tokens` tokens and roughly one size.

    A prefix group, rows that share most of their tokens, stays in one trie and its common prefix is stored
    once, as long as no row has more than `max_tokens` tokens of others beside it. A longer row is a trie
    of its own.
    """
    if not rows:
        return []
    prefix_groups = _build_prefix_groups(rows, max_tokens)
    fewest = -(-sum(prefix_group.size for prefix_group in prefix_groups) // max_tokens)
    numbers = {fewest, fewest + 1, 3 * fewest // 2, 2 * fewest, 3 * fewest, len(prefix_groups)}
    candidates = [
        _distribute(prefix_groups, number) for number in numbers if fewest <= number <= len(prefix_groups)
    ]
    best = min(candidates or [_distribute(prefix_groups, len(prefix_groups))], key=_cost)
    return [_merge_groups(group) for group in best]


def _build_prefix_groups(rows: Sequence[IntArray], max_tokens: int) -> list["_PrefixGroup"]:
    prefix_groups: list[_PrefixGroup] = []
    for index in sort_by_tokens(rows):
        row = rows[index]
        shared = common_prefix(prefix_groups[-1].last, row) if prefix_groups else 0
        if not prefix_groups or 2 * shared < len(row) or prefix_groups[-1].size - shared > max_tokens:
            prefix_groups.append(_PrefixGroup())
            shared = 0
        prefix_groups[-1].add(index, row, shared)
    return prefix_groups


def group_tries(tries: Sequence[PrefixTrie]) -> list[list[PrefixTrie]]:
    """Group tries of similar row counts: at most half of a group's new columns stay empty."""
    groups: list[list[PrefixTrie]] = []
    rows = 0
    for trie in sorted(tries, key=lambda trie: -len(trie.rows_R)):
        rows += len(trie.rows_R)
        if not groups or (len(groups[-1]) + 1) * len(groups[-1][0].rows_R) > 2 * rows:
            groups.append([])
            rows = len(trie.rows_R)
        groups[-1].append(trie)
    return groups


class _PrefixGroup:
    """Rows that share most of their tokens, as they are added."""

    def __init__(self) -> None:
        self.size = 0
        self.last: IntArray = np.empty(0, dtype=np.int64)
        self.rows: list[int] = []
        self.columns: list[IntArray] = []
        self.parts: list[tuple[IntArray, int, int]] = []  # tokens, their row, position of the first

    def add(self, index: int, row: IntArray, shared: int) -> None:
        new = np.arange(self.size, self.size + len(row) - shared)
        before = self.columns[-1][:shared] if self.columns else new[:0]
        self.columns.append(np.concatenate([before, new]))
        self.parts.append((row[shared:], len(self.rows), shared))
        self.rows.append(index)
        self.last, self.size = row, self.size + len(new)


def _distribute(prefix_groups: Sequence[_PrefixGroup], number: int) -> list[list[_PrefixGroup]]:
    """The prefix groups in `number` groups of about one size."""
    groups: list[list[_PrefixGroup]] = [[] for _ in range(number)]
    sizes = [0] * number
    for prefix_group in sorted(prefix_groups, key=lambda prefix_group: -prefix_group.size):
        smallest = sizes.index(min(sizes))
        groups[smallest].append(prefix_group)
        sizes[smallest] += prefix_group.size
    return groups


def _cost(groups: Sequence[Sequence[_PrefixGroup]]) -> int:
    """What reading the groups costs, all padded to the widest."""
    width = max(sum(prefix_group.size for prefix_group in group) for group in groups)
    return len(groups) * width * (PAIRS_PER_TOKEN + width)


def _merge_groups(prefix_groups: Sequence[_PrefixGroup]) -> PrefixTrie:
    columns: list[IntArray] = []
    owners = []
    tokens, rows = 0, 0
    for prefix_group in prefix_groups:
        columns += [tokens + own for own in prefix_group.columns]
        owners += [np.full(len(part), rows + row) for part, row, _ in prefix_group.parts]
        tokens, rows = tokens + prefix_group.size, rows + len(prefix_group.rows)
    parts = [part for prefix_group in prefix_groups for part in prefix_group.parts]
    return PrefixTrie(
        np.array([row for prefix_group in prefix_groups for row in prefix_group.rows], dtype=np.int64),
        tuple(columns),
        np.concatenate([ids for ids, _, _ in parts]),
        np.concatenate(owners),
        np.concatenate([np.arange(first, first + len(ids)) for ids, _, first in parts]),
    )

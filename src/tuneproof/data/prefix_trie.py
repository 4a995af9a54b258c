"""Rows that begin alike: which belong together, and several as one row in which no token stands twice.

In: rows of token ids. Out: batches of positions, packs. Knows nothing of: models, what rows are for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuneproof.data.batches import Indices

IntArray = NDArray[np.int64]

PACKED = 512  # tokens of a pack; attention looks at every pair of them
LINEAR = 3000  # so many looks cost what a token's linear layers do: six times a small model's width


@dataclass(frozen=True)
class Pack:
    """R rows as one of K tokens, each after those that it follows in a row.

    rows_R: positions of the rows among those that were packed. columns[r]: where row r's tokens stand,
    from left to right. owner_K: the first row (of the R) that a token belongs to. positions_K: its place
    in the row.
    """

    rows_R: Indices
    columns: tuple[IntArray, ...]
    ids_K: IntArray
    owner_K: IntArray
    positions_K: IntArray


def common_tokens(one: Sequence[int] | IntArray, other: Sequence[int] | IntArray) -> int:
    """How many tokens two rows begin with in common."""
    length = min(len(one), len(other))
    differ = np.flatnonzero(np.asarray(one[:length]) != np.asarray(other[:length]))
    return int(differ[0]) if len(differ) else length


def lexical_order(rows: Sequence[IntArray]) -> list[int]:
    """Positions of the rows in the order of their tokens: what begins alike stands together."""
    return sorted(range(len(rows)), key=lambda place: rows[place].astype(">u8").tobytes())


def common_start(rows: Sequence[IntArray]) -> int:
    """How many tokens all rows begin with in common, at most all but one of the shortest.

    0 for less than two rows.
    """
    if len(rows) < 2:
        return 0
    order = lexical_order(rows)
    shortest = min(map(len, rows))
    return max(0, min(common_tokens(rows[order[0]], rows[order[-1]]), shortest - 1))


def batches_of_kin(
    rows: Sequence[IntArray], start: int, size: int, weights: Sequence[int] | None = None, most: int = 0
) -> list[Indices]:
    """Batches of `size` rows at most; rows that have most tokens after `start` in common stay together.

    Longest first. weights: what each row weighs; a batch of several weighs `most` at most.
    """
    order = lexical_order(rows)
    groups: list[list[int]] = []
    for at, place in enumerate(order):
        row = rows[place]
        if at and 2 * (common_tokens(rows[order[at - 1]], row) - start) >= len(row) - start:
            groups[-1].append(place)
        else:
            groups.append([place])
    groups.sort(key=lambda group: -max(len(rows[place]) for place in group))
    weigh = [0] * len(rows) if weights is None else weights
    batches: list[list[int]] = []
    room, left = 0, 0
    for group in groups:
        fits = len(group) <= room and sum(weigh[place] for place in group) <= left
        room = room if fits else 0
        for place in group:
            if room < 1 or weigh[place] > left:
                batches.append([])
                room, left = size, most
            batches[-1].append(place)
            room, left = room - 1, left - weigh[place]
    return [np.array(batch, dtype=np.int64) for batch in batches]


def make_packs(rows: Sequence[IntArray], most: int = PACKED) -> list[Pack]:
    """The rows as packs of about `most` tokens of one size, roughly; kin (alike for the most part) together.

    What kin have in common stands once, as long as none has more than `most` tokens of others beside it.
    A longer row is a pack of its own.
    """
    if not rows:
        return []
    kin: list[_Growing] = []
    for place in lexical_order(rows):
        row = rows[place]
        same = kin[-1].same(row) if kin else 0
        if not kin or 2 * same < len(row) or kin[-1].size - same > most:
            kin.append(_Growing())
            same = 0
        kin[-1].add(place, row, same)
    least = -(-sum(each.size for each in kin) // most)
    numbers = {least, least + 1, 3 * least // 2, 2 * least, 3 * least, len(kin)}
    tried = [_shared_out(kin, number) for number in numbers if least <= number <= len(kin)]
    best = min(tried or [_shared_out(kin, len(kin))], key=_cost)
    return [_joined(pack) for pack in best]


def _shared_out(kin: Sequence["_Growing"], number: int) -> list[list["_Growing"]]:
    """Groups of kin in so many packs of about one size."""
    packs: list[list[_Growing]] = [[] for _ in range(number)]
    sizes = [0] * number
    for each in sorted(kin, key=lambda each: -each.size):
        smallest = sizes.index(min(sizes))
        packs[smallest].append(each)
        sizes[smallest] += each.size
    return packs


def _cost(packs: Sequence[Sequence["_Growing"]]) -> int:
    """What reading the packs costs, all as wide as the widest."""
    width = max(sum(each.size for each in pack) for pack in packs)
    return len(packs) * width * (LINEAR + width)


def even_turns(packs: Sequence[Pack]) -> list[list[Pack]]:
    """Packs that go together while their rows are added to, one token each at a time.

    Each pack of a turn has as many places for new tokens as its largest; at most half of them stay empty.
    """
    turns: list[list[Pack]] = []
    rows = 0
    for pack in sorted(packs, key=lambda pack: -len(pack.rows_R)):
        rows += len(pack.rows_R)
        if not turns or (len(turns[-1]) + 1) * len(turns[-1][0].rows_R) > 2 * rows:
            turns.append([])
            rows = len(pack.rows_R)
        turns[-1].append(pack)
    return turns


class _Growing:
    def __init__(self) -> None:
        self.size = 0
        self.last: IntArray = np.empty(0, dtype=np.int64)
        self.places: list[int] = []
        self.columns: list[IntArray] = []
        self.parts: list[tuple[IntArray, int, int]] = []  # tokens, their row, position of the first

    def same(self, row: IntArray) -> int:
        return common_tokens(self.last, row)

    def add(self, place: int, row: IntArray, same: int) -> None:
        new = np.arange(self.size, self.size + len(row) - same)
        before = self.columns[-1][:same] if self.columns else new[:0]
        self.columns.append(np.concatenate([before, new]))
        self.parts.append((row[same:], len(self.places), same))
        self.places.append(place)
        self.last, self.size = row, self.size + len(new)


def _joined(kin: Sequence[_Growing]) -> Pack:
    """Groups of kin as one pack."""
    columns: list[IntArray] = []
    owners = []
    tokens, rows = 0, 0
    for each in kin:
        columns += [tokens + own for own in each.columns]
        owners += [np.full(len(part), rows + row) for part, row, _ in each.parts]
        tokens, rows = tokens + each.size, rows + len(each.places)
    parts = [part for each in kin for part in each.parts]
    return Pack(
        np.array([place for each in kin for place in each.places], dtype=np.int64),
        tuple(columns),
        np.concatenate([tokens for tokens, _, _ in parts]),
        np.concatenate(owners),
        np.concatenate([np.arange(at, at + len(tokens)) for tokens, _, at in parts]),
    )

"""Which item goes to which part: stratified by label, whole groups, seeded.

In: labels, groups, shares, a random generator. Out: a part's number for every item, an order.
Knows nothing of: texts, files, what a part is for.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def allot(labels_N: Ints, groups_N: Ints, shares_P: Sequence[float], random: np.random.Generator) -> Ints:
    """A part 0..P-1 for each of N items, by label in the shares given; groups stay whole.

    Groups of several items go first, the largest first, each to the part that lacks its labels
    most; single items then fill every label's shares as exactly as whole items can.
    """
    shares = np.array(shares_P, dtype=float) / sum(shares_P)
    classes = int(labels_N.max(initial=0)) + 1
    _, group_of, sizes = np.unique(groups_N, return_inverse=True, return_counts=True)
    group_of = group_of.reshape(-1)
    counts_GC = np.zeros((len(sizes), classes), dtype=np.int64)
    np.add.at(counts_GC, (group_of, labels_N), 1)
    target_PC = shares[:, None] * counts_GC.sum(axis=0)[None, :]
    have_PC = np.zeros_like(target_PC)
    part_G = np.full(len(sizes), -1, dtype=np.int64)
    several = random.permutation(np.flatnonzero(sizes > 1))
    by_share = np.argsort(-shares, kind="stable")
    for group in several[np.argsort(-sizes[several], kind="stable")]:
        lack_P = ((target_PC - have_PC) / np.maximum(target_PC, 1e-9)) @ counts_GC[group]
        part = by_share[np.argmax(lack_P[by_share])]
        part_G[group] = part
        have_PC[part] += counts_GC[group]
    part_N = part_G[group_of]
    for label in range(classes):
        single = random.permutation(np.flatnonzero((part_N < 0) & (labels_N == label)))
        room_P = _whole(target_PC[:, label], have_PC[:, label].astype(np.int64), len(single))
        part_N[single] = np.repeat(np.arange(len(shares)), room_P)
    return part_N


def _whole(target_P: NDArray[np.float64], have_P: Ints, count: int) -> Ints:
    """Whole numbers that sum to `count` and bring each part near its target; none empty if it can."""
    lack = np.maximum(target_P - have_P, 0.0)
    if lack.sum() == 0:
        lack = target_P if target_P.sum() else np.ones_like(target_P)
    exact = lack * (count / lack.sum())
    room = np.floor(exact).astype(np.int64)
    for part in np.argsort(room - exact, kind="stable")[: count - room.sum()]:
        room[part] += 1
    for part in np.flatnonzero((room + have_P == 0) & (target_P > 0)):
        if room.max() > 1:
            room[np.argmax(room)] -= 1
            room[part] += 1
    return room


def stratified_order(labels_N: Ints, random: np.random.Generator) -> Ints:
    """A random order of the items whose every prefix holds the labels in their shares.

    The first items are one of each label, so that a prefix of C items has all C labels.
    """
    rank_N = np.zeros(len(labels_N))
    shuffled = random.permutation(len(labels_N))
    for label in np.unique(labels_N):
        places = shuffled[labels_N[shuffled] == label]
        rank_N[places] = (np.arange(len(places)) + 0.5) / len(places)
        rank_N[places[:1]] = 0.0
    return shuffled[np.argsort(rank_N[shuffled], kind="stable")]

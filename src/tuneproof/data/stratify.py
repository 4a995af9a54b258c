"""Assigns items to parts: stratified by label, with whole groups, seeded.

In: labels, groups, shares, a random generator. Out: a part number for every item; an order.
Knows nothing of: texts, files, what a part is for.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

LARGE_GROUP = 0.25  # of the smallest part


def assign_parts(
    labels_N: Ints, groups_N: Ints, shares_P: Sequence[float], random: np.random.Generator
) -> Ints:
    """A part 0..P-1 for each of N items, by label in these shares; groups stay whole.

    Groups of several items go first, the largest first, each to the part that is most short of its
    labels. Among many small groups, a large one goes to a random part instead, by what each still lacks, so
    that no part is always without it. Single items then fill every label's shares as exactly as whole items
    can.
    """
    shares = np.array(shares_P, dtype=float) / sum(shares_P)
    classes = int(labels_N.max(initial=0)) + 1
    _, group_of, sizes = np.unique(groups_N, return_inverse=True, return_counts=True)
    group_of = group_of.reshape(-1)
    counts_GC = np.zeros((len(sizes), classes), dtype=np.int64)
    np.add.at(counts_GC, (group_of, labels_N), 1)
    target_PC = shares[:, None] * counts_GC.sum(axis=0)[None, :]
    assigned_PC = np.zeros_like(target_PC)
    part_G = np.full(len(sizes), -1, dtype=np.int64)
    multiple = random.permutation(np.flatnonzero(sizes > 1))
    large = LARGE_GROUP * shares.min() * len(labels_N)
    mostly_small = sizes[sizes <= large].sum() >= len(labels_N) / 2
    by_share = np.argsort(-shares, kind="stable")
    for group in multiple[np.argsort(-sizes[multiple], kind="stable")]:
        missing_PC = target_PC - assigned_PC
        if sizes[group] > large and mostly_small:
            chances_P = np.maximum(missing_PC, 0.0) @ counts_GC[group]
            chances_P = chances_P if chances_P.sum() else shares
            part = random.choice(len(shares), p=chances_P / chances_P.sum())
        else:
            shortage_P = (missing_PC / np.maximum(target_PC, 1e-9)) @ counts_GC[group]
            part = by_share[np.argmax(shortage_P[by_share])]
        part_G[group] = part
        assigned_PC[part] += counts_GC[group]
    part_N = part_G[group_of]
    for label in range(classes):
        single = random.permutation(np.flatnonzero((part_N < 0) & (labels_N == label)))
        assigned_P = assigned_PC[:, label].astype(np.int64)
        counts_P = _divide_items(target_PC[:, label], assigned_P, len(single))
        part_N[single] = np.repeat(np.arange(len(shares)), counts_P)
    return part_N


def _divide_items(target_P: NDArray[np.float64], assigned_P: Ints, count: int) -> Ints:
    """Integers that sum to `count` and bring each part near its target; no part is empty if possible."""
    shortage = np.maximum(target_P - assigned_P, 0.0)
    if shortage.sum() == 0:
        shortage = target_P if target_P.sum() else np.ones_like(target_P)
    exact = shortage * (count / shortage.sum())
    counts = np.floor(exact).astype(np.int64)
    for part in np.argsort(counts - exact, kind="stable")[: count - counts.sum()]:
        counts[part] += 1
    for part in np.flatnonzero((counts + assigned_P == 0) & (target_P > 0)):
        if counts.max() > 1:
            counts[np.argmax(counts)] -= 1
            counts[part] += 1
    return counts


def stratified_order(labels_N: Ints, random: np.random.Generator) -> Ints:
    """A random order whose prefixes have the labels in their shares; the first items are one of each."""
    rank_N = np.zeros(len(labels_N))
    shuffled = random.permutation(len(labels_N))
    for label in np.unique(labels_N):
        rows = shuffled[labels_N[shuffled] == label]
        rank_N[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
        rank_N[rows[:1]] = 0.0
    return shuffled[np.argsort(rank_N[shuffled], kind="stable")]


def keep_units_whole(order_N: Ints, units_N: Sequence[str], size: int) -> Ints:
    """At most `size` items of an order, in whole units: each unit follows its first item while it fits."""
    members: dict[str, list[int]] = {}
    for index in order_N.tolist():
        members.setdefault(units_N[index], []).append(index)
    chosen: list[int] = []
    for indices in members.values():
        if len(chosen) + len(indices) <= size:
            chosen += indices
    return np.array(chosen, dtype=np.int64)

"""Finds near duplicates among texts.

In: texts. Out: pairs of similar texts. Knows nothing of: labels, splits, what a duplicate means.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from tuneproof.data.number_sets import NumberSets, count_shared, split_pairs
from tuneproof.tasks.normalise import split_words
from tuneproof.tasks.spans import scramble

SHINGLE = 5  # words
NEAR = 0.8  # Jaccard
_SAMPLES = 12  # shingles that represent a text; a pair at 0.8 shares about ten of them
_WINDOW = 16  # neighbours compared among the texts that share a shingle
_BLOCK = 4000  # texts at a time, to bound memory
_MAX_PARTS = 16  # each of which reads all sampled shingles that two texts share
_SAMPLES_AT_ONCE = 1 << 18  # of all texts' sampled shingles, for the same


@dataclass(frozen=True)
class NearPairs:
    """M pairs of texts by index, the smaller first, and the Jaccard similarity of their shingles."""

    first_M: NDArray[np.int64]
    second_M: NDArray[np.int64]
    similarity_M: NDArray[np.float64]


def _shingles(texts: Sequence[str], vocabulary: dict[str, int]) -> tuple[NDArray[np.uint64], ...]:
    """The hash of every run of SHINGLE words, and the text that contains it."""
    tokens: list[int] = []
    lengths = np.zeros(len(texts), dtype=np.int64)
    for index, text in enumerate(texts):
        words = split_words(text)
        lengths[index] = len(words)
        tokens.extend([vocabulary[word] for word in words])
    values = scramble(np.array(tokens, dtype=np.uint64))
    ends = np.repeat(np.cumsum(lengths), lengths)
    starts = np.flatnonzero(ends - np.arange(len(tokens)) >= SHINGLE)
    hashes = np.zeros(len(starts), dtype=np.uint64)
    for offset in range(SHINGLE):
        hashes = scramble(hashes + values[starts + offset])
    return hashes, np.repeat(np.arange(len(texts)), lengths)[starts].astype(np.uint64)


def _sample_shingles(
    texts: Sequence[str], vocabulary: dict[str, int]
) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """About _SAMPLES shingles of each text, chosen by their hash, so that similar texts choose the same."""
    samples, owners = [], []
    for start in range(0, len(texts), _BLOCK):
        hashes, text_of = _shingles(texts[start : start + _BLOCK], vocabulary)
        counts = np.bincount(text_of.astype(np.int64))[text_of.astype(np.int64)]
        chosen = (hashes >> np.uint64(11)) < np.minimum(1.0, _SAMPLES / counts) * 2.0**53
        samples.append(hashes[chosen])
        owners.append(text_of[chosen].astype(np.int32) + np.int32(start))
    return np.concatenate(samples), np.concatenate(owners)


def find_near_pairs(texts: Sequence[str]) -> NearPairs:
    """Pairs of texts whose sets of 5-word shingles have a Jaccard similarity of 0.8 or more.

    Candidates come from a sample of about twelve shingles per text, chosen by their hash with a
    threshold that falls with the text's length; each candidate's similarity is then exact. A pair at
    0.8 is missed about once in ten thousand; among many similar texts each is compared with its 16
    neighbours only. Texts under five words have no shingles and no pairs.
    Source: Broder 1997, On the resemblance and containment of documents (the mod-m sketch).
    """
    empty = np.zeros(0, dtype=np.int64)
    if len(texts) < 2:
        return NearPairs(empty, empty, np.zeros(0))
    vocabulary: dict[str, int] = defaultdict(count().__next__)
    parts = []
    for first, second in _likely_pairs(*_sample_shingles(texts, vocabulary), len(texts)):
        similarity = _jaccard(texts, first, second, vocabulary)
        near = similarity >= NEAR
        parts.append((first[near], second[near], similarity[near]))
    return NearPairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _likely_pairs(
    hashes: NDArray[np.uint64], owners: NDArray[np.int32], count: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of `count` texts that share many of their sampled shingles, for some first texts at a time."""
    rank = scramble(np.arange(count, dtype=np.uint64))  # so that neighbours are not all of one part
    order = np.lexsort((rank[owners], hashes))
    hashes, owners = hashes[order], owners[order]
    del order, rank
    is_first = np.ones(len(hashes), dtype=bool)
    is_first[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    hashes, owners = hashes[is_first], owners[is_first]
    sampled = np.bincount(owners, minlength=count)
    repeats = hashes[1:] == hashes[:-1]
    is_shared = np.append(repeats, False)[: len(hashes)] | np.append(False, repeats)[: len(hashes)]
    hashes, owners = hashes[is_shared], owners[is_shared]
    size = -(-count // min(_MAX_PARTS, 1 + len(hashes) // _SAMPLES_AT_ONCE))
    for start in range(0, count, size):
        codes = []
        for step in range(1, _WINDOW + 1):
            lower = np.minimum(owners[step:], owners[:-step])
            is_pair = (hashes[step:] == hashes[:-step]) & (lower >= start) & (lower < start + size)
            same = np.flatnonzero(is_pair)
            upper = np.maximum(owners[same], owners[same + step])
            codes.append(lower[same].astype(np.int64) * count + upper)
        pairs, shared = np.unique(np.concatenate(codes), return_counts=True)
        first, second = pairs // count, pairs % count
        likely = shared >= 0.4 * np.minimum(sampled[first], sampled[second])
        yield first[likely], second[likely]


def _jaccard(
    texts: Sequence[str], first: NDArray[np.int64], second: NDArray[np.int64], vocabulary: dict[str, int]
) -> NDArray[np.float64]:
    """The similarity of the shingles of each pair of texts."""
    needed = np.unique(np.concatenate([first, second]))
    sets = _shingle_sets([texts[index] for index in needed], vocabulary)
    a_M, b_M = np.searchsorted(needed, first), np.searchsorted(needed, second)
    sizes_M = sets.sizes[a_M] + sets.sizes[b_M]
    values = np.zeros(len(first))
    for part in split_pairs(sizes_M):
        common = count_shared(sets, a_M[part], sets, b_M[part])
        values[part] = common / (sizes_M[part] - common)
    return values


def _shingle_sets(texts: Sequence[str], vocabulary: dict[str, int]) -> NumberSets:
    """The different shingles of each text, by the rank of their hash among all."""
    flat, sizes = [np.zeros(0, dtype=np.uint64)], [np.zeros(0, dtype=np.int64)]
    for start in range(0, len(texts), _BLOCK):
        block = texts[start : start + _BLOCK]
        hashes, text_of = _shingles(block, vocabulary)
        order = np.lexsort((hashes, text_of))
        hashes, text_of = hashes[order], text_of[order].astype(np.int64)
        is_first = np.ones(len(hashes), dtype=bool)
        is_first[1:] = (hashes[1:] != hashes[:-1]) | (text_of[1:] != text_of[:-1])
        flat.append(hashes[is_first])
        sizes.append(np.bincount(text_of[is_first], minlength=len(block)))
    _, ranks = np.unique(np.concatenate(flat), return_inverse=True)
    return NumberSets(ranks.astype(np.int64), np.concatenate([[0], np.cumsum(np.concatenate(sizes))]))

"""Finds near duplicates among texts.

In: texts. Out: pairs of similar texts. Knows nothing of: labels, splits, what a duplicate means.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from tuneproof.tasks.normalise import split_words
from tuneproof.tasks.spans import scramble

SHINGLE = 5  # words
NEAR = 0.8  # Jaccard
_SAMPLES = 12  # shingles that represent a text; a pair at 0.8 shares about ten of them
_WINDOW = 16  # neighbours compared among the texts that share a shingle
_BLOCK = 4000  # texts at a time, to bound memory


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


def _sample_shingles(texts: Sequence[str], vocabulary: dict[str, int]) -> tuple[NDArray[np.uint64], ...]:
    """About _SAMPLES shingles of each text, chosen by their hash, so that similar texts choose the same."""
    samples, owners = [], []
    for start in range(0, len(texts), _BLOCK):
        hashes, text_of = _shingles(texts[start : start + _BLOCK], vocabulary)
        counts = np.bincount(text_of.astype(np.int64))[text_of.astype(np.int64)]
        chosen = (hashes >> np.uint64(11)) < np.minimum(1.0, _SAMPLES / counts) * 2.0**53
        samples.append(hashes[chosen])
        owners.append(text_of[chosen].astype(np.int64) + start)
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
    hashes, owners = _sample_shingles(texts, vocabulary)
    rank = scramble(np.arange(len(texts), dtype=np.uint64))  # so that neighbours are not all of one part
    order = np.lexsort((rank[owners], hashes))
    hashes, owners = hashes[order], owners[order]
    is_first = np.ones(len(hashes), dtype=bool)
    is_first[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    hashes, owners = hashes[is_first], owners[is_first]
    sampled = np.bincount(owners, minlength=len(texts))
    codes = []
    for step in range(1, _WINDOW + 1):
        same = np.flatnonzero(hashes[step:] == hashes[:-step])
        a, b = owners[same], owners[same + step]
        codes.append(np.minimum(a, b) * len(texts) + np.maximum(a, b))
    pairs, shared = np.unique(np.concatenate(codes), return_counts=True)
    first, second = pairs // len(texts), pairs % len(texts)
    likely = shared >= 0.4 * np.minimum(sampled[first], sampled[second])
    first, second = first[likely], second[likely]
    similarity = _jaccard(texts, first, second, vocabulary)
    near = similarity >= NEAR
    return NearPairs(first[near], second[near], similarity[near])


def _jaccard(
    texts: Sequence[str], first: NDArray[np.int64], second: NDArray[np.int64], vocabulary: dict[str, int]
) -> NDArray[np.float64]:
    needed = np.unique(np.concatenate([first, second]))
    sets: dict[int, set[int]] = {int(index): set() for index in needed}
    for start in range(0, len(needed), _BLOCK):
        block = needed[start : start + _BLOCK]
        hashes, text_of = _shingles([texts[index] for index in block], vocabulary)
        cuts = np.searchsorted(text_of, np.arange(1, len(block), dtype=np.uint64))
        for index, shingles in zip(block, np.split(hashes, cuts), strict=True):
            sets[int(index)] = set(shingles.tolist())
    values = np.zeros(len(first))
    for pair, (a, b) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        common = len(sets[a] & sets[b])
        values[pair] = common / (len(sets[a]) + len(sets[b]) - common)
    return values

"""Texts that are the same, or nearly.

In: texts. Out: groups of equal texts, pairs of near ones.
Knows nothing of: labels, splits, what a duplicate means.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from tuneproof.tasks.normalise import words_of
from tuneproof.tasks.spans import scramble

SHINGLE = 5  # words
NEAR = 0.8  # Jaccard
_SAMPLES = 12  # shingles a text is found by; a pair at 0.8 shares about ten of them
_WINDOW = 16  # neighbours looked at among the texts that share a shingle
_BLOCK = 4000  # texts at once, for memory


@dataclass(frozen=True)
class NearPairs:
    """M pairs of texts by index, the smaller first, and the Jaccard similarity of their shingles."""

    first_M: NDArray[np.int64]
    second_M: NDArray[np.int64]
    similarity_M: NDArray[np.float64]


def _shingles(texts: Sequence[str], vocabulary: dict[str, int]) -> tuple[NDArray[np.uint64], ...]:
    """The hash of every run of SHINGLE words, and the text that it stands in."""
    tokens: list[int] = []
    lengths = np.zeros(len(texts), dtype=np.int64)
    for index, text in enumerate(texts):
        words = words_of(text)
        lengths[index] = len(words)
        tokens.extend([vocabulary[word] for word in words])
    values = scramble(np.array(tokens, dtype=np.uint64))
    ends = np.repeat(np.cumsum(lengths), lengths)
    at = np.flatnonzero(ends - np.arange(len(tokens)) >= SHINGLE)
    hashes = np.zeros(len(at), dtype=np.uint64)
    for place in range(SHINGLE):
        hashes = scramble(hashes + values[at + place])
    return hashes, np.repeat(np.arange(len(texts)), lengths)[at].astype(np.uint64)


def _sketch(texts: Sequence[str], vocabulary: dict[str, int]) -> tuple[NDArray[np.uint64], ...]:
    """About _SAMPLES shingles a text, chosen by their hash, so that near texts choose the same."""
    kept, owners = [], []
    for start in range(0, len(texts), _BLOCK):
        hashes, text_of = _shingles(texts[start : start + _BLOCK], vocabulary)
        amount = np.bincount(text_of.astype(np.int64))[text_of.astype(np.int64)]
        chosen = (hashes >> np.uint64(11)) < np.minimum(1.0, _SAMPLES / amount) * 2.0**53
        kept.append(hashes[chosen])
        owners.append(text_of[chosen].astype(np.int64) + start)
    return np.concatenate(kept), np.concatenate(owners)


def near_pairs(texts: Sequence[str]) -> NearPairs:
    """Pairs of texts whose sets of 5-word shingles have a Jaccard similarity of 0.8 or more.

    Candidates come from a sample of about twelve shingles a text, chosen by their hash with a
    threshold that falls with the text's length; each candidate is then measured exactly. A pair at
    0.8 is missed about once in ten thousand; in a crowd of near-equal texts each is compared with
    its 16 neighbours. Texts under five words have no shingles and no pairs.
    Source: Broder 1997, On the resemblance and containment of documents (the mod-m sketch).
    """
    none = np.zeros(0, dtype=np.int64)
    if len(texts) < 2:
        return NearPairs(none, none, np.zeros(0))
    vocabulary: dict[str, int] = defaultdict(count().__next__)
    hashes, owners = _sketch(texts, vocabulary)
    rank = scramble(np.arange(len(texts), dtype=np.uint64))  # a crowd is not sorted by part
    order = np.lexsort((rank[owners], hashes))
    hashes, owners = hashes[order], owners[order]
    once = np.ones(len(hashes), dtype=bool)
    once[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    hashes, owners = hashes[once], owners[once]
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
    wanted = np.unique(np.concatenate([first, second]))
    sets: dict[int, set[int]] = {int(index): set() for index in wanted}
    for start in range(0, len(wanted), _BLOCK):
        block = wanted[start : start + _BLOCK]
        hashes, text_of = _shingles([texts[index] for index in block], vocabulary)
        cuts = np.searchsorted(text_of, np.arange(1, len(block), dtype=np.uint64))
        for index, part in zip(block, np.split(hashes, cuts), strict=True):
            sets[int(index)] = set(part.tolist())
    values = np.zeros(len(first))
    for pair, (a, b) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        both = len(sets[a] & sets[b])
        values[pair] = both / (len(sets[a]) + len(sets[b]) - both)
    return values

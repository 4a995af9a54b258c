"""Finds near duplicates among texts.

In: texts. Out: pairs of similar texts. Knows nothing of: labels, splits, what a duplicate means.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, pairwise

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
_MAX_PARTS = 64  # each of which reads the sampled shingles that two texts share
_SAMPLES_AT_ONCE = 1 << 16  # of all texts' sampled shingles, for the same
_PAIRS_AT_ONCE = 1 << 14  # whose texts' shingles are compared
_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)  # of a sample: the shingle above, the text below
_MIX = 2654435761  # odd, so that i * _MIX mod 2^32 is all i in another order
_UNMIX = np.uint64(pow(_MIX, -1, 1 << 32))


@dataclass(frozen=True)
class NearPairs:
    """M pairs of texts by index, the smaller first, in ascending order."""

    first_M: NDArray[np.int32]
    second_M: NDArray[np.int32]


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


def _sample_shingles(texts: Sequence[str], vocabulary: dict[str, int]) -> NDArray[np.uint64]:
    """About _SAMPLES shingles of each text, chosen by their hash, so that similar texts choose the same.

    The numbers of the texts are mixed, so that neighbours are not all of one part of a split.
    """
    samples = array("Q")
    for start in range(0, len(texts), _BLOCK):
        hashes, text_of = _shingles(texts[start : start + _BLOCK], vocabulary)
        counts = np.bincount(text_of.astype(np.int64))[text_of]
        chosen = (hashes >> np.uint64(11)) < np.minimum(1.0, _SAMPLES / counts) * 2.0**53
        mixed = (text_of[chosen] + np.uint64(start)) * np.uint64(_MIX) & _LOW
        samples.frombytes((hashes[chosen] << _HALF | mixed).tobytes())
    return np.frombuffer(samples, dtype=np.uint64)


def find_near_pairs(texts: Sequence[str]) -> NearPairs:
    """Pairs of texts whose sets of 5-word shingles have a Jaccard similarity of 0.8 or more.

    Candidates come from a sample of about twelve shingles per text, chosen by their hash with a
    threshold that falls with the text's length; each candidate's similarity is then exact. A pair at
    0.8 is missed about once in ten thousand; among many similar texts each is compared with its 16
    neighbours only. Texts under five words have no shingles and no pairs.
    Source: Broder 1997, On the resemblance and containment of documents (the mod-m sketch).
    """
    vocabulary: dict[str, int] = defaultdict(count().__next__)
    samples = _sample_shingles(texts, vocabulary)
    codes = [np.zeros(0, dtype=np.int64)]
    for one, other in _likely_pairs(samples, len(texts)) if len(samples) else ():
        for start in range(0, len(one), _PAIRS_AT_ONCE):
            a, b = one[start : start + _PAIRS_AT_ONCE], other[start : start + _PAIRS_AT_ONCE]
            near = _jaccard(texts, a, b, vocabulary) >= NEAR
            codes.append(np.minimum(a, b)[near] * len(texts) + np.maximum(a, b)[near])
    pairs = np.sort(np.concatenate(codes))
    first_M = (pairs // max(1, len(texts))).astype(np.int32)
    return NearPairs(first_M, (pairs % max(1, len(texts))).astype(np.int32))


def _slices(samples: NDArray[np.uint64], start: int = 0) -> Iterator[tuple[int, NDArray[np.uint64]]]:
    """Views of the samples from `start` on, and where each begins; those of one shingle stay together."""
    at_once = samples[start + _SAMPLES_AT_ONCE :: _SAMPLES_AT_ONCE]
    cuts = np.searchsorted(samples, at_once >> _HALF << _HALF)
    for begin, end in pairwise([start, *np.unique(cuts[cuts > start]).tolist(), len(samples)]):
        yield begin, samples[begin:end]


def _texts_of(samples: NDArray[np.uint64]) -> NDArray[np.int64]:  # before they are numbered anew
    return ((samples & _LOW) * _UNMIX & _LOW).astype(np.int64)


def _keep_shared(samples: NDArray[np.uint64], sampled_N: NDArray[np.int32]) -> NDArray[np.uint64]:
    """The samples of shingles that several texts have, in place; `sampled_N` counts those of each text."""
    end = 0
    for _, part in _slices(samples):
        part = np.unique(part)
        np.add.at(sampled_N, _texts_of(part), 1)
        repeats = np.diff(part >> _HALF) == 0
        shared = part[np.append(repeats, False) | np.append(False, repeats)]
        samples[end : end + len(shared)] = shared
        end += len(shared)
    return samples[:end]


def _likely_pairs(
    samples: NDArray[np.uint64], count: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of `count` texts that share many of their samples, for some texts at a time; sorts the samples.

    Texts are numbered by their first shared sample, so that similar ones are compared at one time.
    """
    samples.sort()
    sampled_N = np.zeros(count, dtype=np.int32)
    samples = _keep_shared(samples, sampled_N)
    first_N = np.full(count, len(samples))
    for begin, part in _slices(samples):
        np.minimum.at(first_N, _texts_of(part), np.arange(begin, begin + len(part)))
    order = np.argsort(first_N, kind="stable")
    number_N = np.empty(count, dtype=np.uint64)
    number_N[order] = np.arange(count, dtype=np.uint64)
    for _, part in _slices(samples):
        part[:] = part >> _HALF << _HALF | number_N[_texts_of(part)]
    size = -(-count // min(_MAX_PARTS, 1 + len(samples) // _SAMPLES_AT_ONCE))
    for start in range(0, count, size):
        codes = [np.zeros(0, dtype=np.int64)]
        for _, part in _slices(samples, int(first_N[order[start]])):
            codes += _codes(part, range(start, start + size), count)
        pairs, shared = np.unique(np.concatenate(codes), return_counts=True)
        one, other = order[pairs // count], order[pairs % count]
        likely = shared >= 0.4 * np.minimum(sampled_N[one], sampled_N[other])
        yield one[likely], other[likely]


def _codes(part: NDArray[np.uint64], lowest: range, count: int) -> Iterator[NDArray[np.int64]]:
    """For each shingle that two texts share, the pair as one number, if `lowest` has its lower text."""
    shingles, texts = part >> _HALF, (part & _LOW).astype(np.int64)
    for step in range(1, _WINDOW + 1):
        lower = np.minimum(texts[step:], texts[:-step])
        is_pair = (shingles[step:] == shingles[:-step]) & (lower >= lowest.start) & (lower < lowest.stop)
        same = np.flatnonzero(is_pair)
        yield lower[same] * count + np.maximum(texts[same], texts[same + step])


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

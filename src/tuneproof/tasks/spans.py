"""Which token sequences contain which others.

In: texts whose tokens are separated by spaces. Out: parents by containment, overlaps of two sets.
Knows nothing of: labels, files, splits.

A span of n tokens is found by its 64-bit hash, computed for every position at once from running
sums: with r a fixed random number for each token, B odd and S_i = r_0 B^0 + ... + r_(i-1) B^(i-1), the
span at i hashes to (S_(i+n) - S_i) B^(-i), modulo 2^64.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuneproof.tasks.task import Overlap

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)


@dataclass(frozen=True)
class TokenSequences:
    """Texts as runs of token ids in one array: text i is tokens[starts[i] : starts[i] + lengths[i]]."""

    tokens: Ints
    starts: Ints
    lengths: Ints

    def select(self, indices: Ints) -> "TokenSequences":
        """The texts at these indices, in their order."""
        lengths = self.lengths[indices]
        starts = np.cumsum(lengths) - lengths
        shift = np.repeat(self.starts[indices] - starts, lengths)
        return TokenSequences(self.tokens[np.arange(lengths.sum()) + shift], starts, lengths)


def scramble(values: Hashes) -> Hashes:
    """A fixed random-looking 64-bit number for each value (Source: splitmix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        x = values + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def to_sequences(texts: Sequence[str], vocabulary: dict[str, int]) -> TokenSequences:
    """The texts as token ids; new tokens are added to `vocabulary`."""
    tokens: list[int] = []
    lengths = np.zeros(len(texts), dtype=np.int64)
    for index, text in enumerate(texts):
        words = text.split()
        lengths[index] = len(words)
        tokens.extend([vocabulary.setdefault(word, len(vocabulary)) for word in words])
    return TokenSequences(np.array(tokens, dtype=np.int64), np.cumsum(lengths) - lengths, lengths)


def _powers(base: int, count: int) -> Hashes:
    values = np.full(count, base, dtype=np.uint64)
    values[:1] = 1
    return np.cumprod(values, dtype=np.uint64)


@dataclass(frozen=True)
class _RunningSums:
    """Running sums over the tokens of all texts, and the inverse power at each position."""

    sums: Hashes
    inverse: Hashes
    text_of: Ints
    remaining: Ints  # tokens from this position to the end of its text


def _running_sums(texts: TokenSequences) -> _RunningSums:
    count = len(texts.tokens)
    values = scramble(texts.tokens.astype(np.uint64)) * _powers(_BASE, count)
    sums = np.zeros(count + 1, dtype=np.uint64)
    np.cumsum(values, out=sums[1:])
    text_of = np.repeat(np.arange(len(texts.lengths)), texts.lengths)
    remaining = (texts.starts + texts.lengths)[text_of] - np.arange(count)
    return _RunningSums(sums, _powers(_INVERSE, count), text_of, remaining)


def hash_texts(texts: TokenSequences) -> Hashes:
    """One hash for each text."""
    running = _running_sums(texts)
    inverse = np.append(running.inverse, np.uint64(0))  # an empty last text starts behind the end
    ends = texts.starts + texts.lengths
    return (running.sums[ends] - running.sums[texts.starts]) * inverse[texts.starts]


def _hash_spans(running: _RunningSums, length: int) -> tuple[Hashes, Ints]:
    """The hash of every span of `length` tokens, and the text that contains it."""
    starts = np.flatnonzero(running.remaining >= length)
    hashes = (running.sums[starts + length] - running.sums[starts]) * running.inverse[starts]
    return hashes, running.text_of[starts]


@dataclass(frozen=True)
class _Containments:
    """Text `inner[i]` is a span of text `outer[i]`."""

    inner: Ints
    outer: Ints


def _find_containments(
    inner: TokenSequences, outer: TokenSequences, min_tokens: int
) -> Iterator[_Containments]:
    """Every occurrence of an inner text of at least `min_tokens` tokens in an outer one."""
    hashes, running = hash_texts(inner), _running_sums(outer)
    longest = int(outer.lengths.max(initial=0))
    for length in np.unique(inner.lengths):
        if not max(min_tokens, 1) <= length <= longest:
            continue
        rows = np.flatnonzero(inner.lengths == length)
        rows = rows[np.argsort(hashes[rows], kind="stable")]
        targets = hashes[rows]
        spans, text_of = _hash_spans(running, int(length))
        is_possible = np.zeros(1 << 16, dtype=bool)  # a cheap sieve before the search
        is_possible[targets >> np.uint64(48)] = True
        possible = np.flatnonzero(is_possible[spans >> np.uint64(48)])
        spans, text_of = spans[possible], text_of[possible]
        first = np.searchsorted(targets, spans, side="left")
        count = np.searchsorted(targets, spans, side="right") - first
        matches = np.repeat(first - (np.cumsum(count) - count), count) + np.arange(count.sum())
        yield _Containments(rows[matches], np.repeat(text_of, count))


def find_parents(texts: Sequence[str]) -> Ints:
    """The index of every text's parent: the longest text around it that has no parent itself.

    A text that is a token span of a longer one belongs to it; if several parents contain it, to the
    first; equal texts belong to the first of them. A text without a parent is its own.
    """
    all_texts = to_sequences(texts, {})
    hashes = hash_texts(all_texts)
    roots: list[Ints] = []
    parent = np.arange(len(texts))
    for length in np.unique(all_texts.lengths)[::-1]:
        rows = np.flatnonzero(all_texts.lengths == length)
        _, first, inverse = np.unique(hashes[rows], return_index=True, return_inverse=True)
        unique_rows = rows[first]
        nearest = np.full(len(unique_rows), len(texts))
        if roots and length > 0:
            all_roots = np.concatenate(roots)
            unique_texts, root_texts = all_texts.select(unique_rows), all_texts.select(all_roots)
            for pairs in _find_containments(unique_texts, root_texts, 1):
                np.minimum.at(nearest, pairs.inner, all_roots[pairs.outer])
        is_root = nearest == len(texts)
        nearest[is_root] = unique_rows[is_root]
        roots.append(unique_rows[is_root])
        parent[rows] = nearest[inverse.reshape(-1)]
    return parent


def find_span_overlap(train_texts: Sequence[str], held_texts: Sequence[str], min_tokens: int) -> Overlap:
    """Which train texts leak a held-out text, where phrases of one sentence are items.

    A held-out text leaks if it is a token span of a train text, or if it contains a train text of at
    least `min_tokens` tokens.
    """
    vocabulary: dict[str, int] = {}
    train, held = to_sequences(train_texts, vocabulary), to_sequences(held_texts, vocabulary)
    is_span_T = np.zeros(len(train_texts), dtype=bool)
    contains_T = np.zeros(len(train_texts), dtype=bool)
    contained_H = np.zeros(len(held_texts), dtype=bool)
    leaked_by_H = np.full(len(held_texts), -1, dtype=np.int64)
    for pairs in _find_containments(train, held, min_tokens):
        is_span_T[pairs.inner] = True
        leaked_by_H[pairs.outer] = pairs.inner
    for pairs in _find_containments(held, train, 1):
        contains_T[pairs.outer] = True
        contained_H[pairs.inner] = True
        leaked_by_H[pairs.inner] = pairs.outer
    return Overlap(leaks_T=is_span_T | contains_T, leaked_by_H=leaked_by_H, contained_H=contained_H)

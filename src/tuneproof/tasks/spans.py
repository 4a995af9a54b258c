"""Which token sequences stand inside which others.

In: texts whose tokens are separated by spaces. Out: parents by containment, overlaps of two sets.
Knows nothing of: labels, files, splits.

A span of n tokens is found by its 64-bit hash, computed for every position at once from running
sums: with r a fixed random number a token, B odd and S_i = r_0 B^0 + ... + r_(i-1) B^(i-1), the span
at i hashes to (S_(i+n) - S_i) B^(-i), modulo 2^64.
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
class Sequences:
    """Texts as runs of token ids in one array: text i is tokens[starts[i] : starts[i] + lengths[i]]."""

    tokens: Ints
    starts: Ints
    lengths: Ints

    def pick(self, chosen: Ints) -> "Sequences":
        """The chosen texts, in the order given."""
        lengths = self.lengths[chosen]
        starts = np.cumsum(lengths) - lengths
        shift = np.repeat(self.starts[chosen] - starts, lengths)
        return Sequences(self.tokens[np.arange(lengths.sum()) + shift], starts, lengths)


def scramble(values: Hashes) -> Hashes:
    """A fixed random-looking 64-bit number for each value (Source: splitmix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        x = values + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def sequences(texts: Sequence[str], vocabulary: dict[str, int]) -> Sequences:
    """The texts as token ids; new tokens are added to `vocabulary`."""
    tokens: list[int] = []
    lengths = np.zeros(len(texts), dtype=np.int64)
    for index, text in enumerate(texts):
        words = text.split()
        lengths[index] = len(words)
        tokens.extend([vocabulary.setdefault(word, len(vocabulary)) for word in words])
    return Sequences(np.array(tokens, dtype=np.int64), np.cumsum(lengths) - lengths, lengths)


def _powers(base: int, count: int) -> Hashes:
    values = np.full(count, base, dtype=np.uint64)
    values[:1] = 1
    return np.cumprod(values, dtype=np.uint64)


@dataclass(frozen=True)
class _Sums:
    """Running sums over the tokens of all texts, and what undoes the shift at each position."""

    sums: Hashes
    undo: Hashes
    text_of: Ints
    left: Ints  # tokens from this position to the end of its text


def _sums(texts: Sequences) -> _Sums:
    count = len(texts.tokens)
    values = scramble(texts.tokens.astype(np.uint64)) * _powers(_BASE, count)
    sums = np.zeros(count + 1, dtype=np.uint64)
    np.cumsum(values, out=sums[1:])
    text_of = np.repeat(np.arange(len(texts.lengths)), texts.lengths)
    left = (texts.starts + texts.lengths)[text_of] - np.arange(count)
    return _Sums(sums, _powers(_INVERSE, count), text_of, left)


def whole_hashes(texts: Sequences) -> Hashes:
    """One hash a text."""
    prepared = _sums(texts)
    undo = np.append(prepared.undo, np.uint64(0))  # an empty last text starts behind the end
    ends = texts.starts + texts.lengths
    return (prepared.sums[ends] - prepared.sums[texts.starts]) * undo[texts.starts]


def span_hashes(texts: Sequences, length: int) -> tuple[Hashes, Ints]:
    """The hash of every span of `length` tokens, and the text that it stands in."""
    return _spans(_sums(texts), length)


def _spans(prepared: _Sums, length: int) -> tuple[Hashes, Ints]:
    at = np.flatnonzero(prepared.left >= length)
    hashes = (prepared.sums[at + length] - prepared.sums[at]) * prepared.undo[at]
    return hashes, prepared.text_of[at]


@dataclass(frozen=True)
class _Hit:
    """A piece (P of them) found at a place inside a whole: pairs piece, whole of equal length."""

    pieces: Ints
    wholes: Ints


def _hits(pieces: Sequences, wholes: Sequences, shortest: int) -> Iterator[_Hit]:
    """Every place where a piece of at least `shortest` tokens stands inside a whole."""
    hashes, prepared = whole_hashes(pieces), _sums(wholes)
    longest = int(wholes.lengths.max(initial=0))
    for length in np.unique(pieces.lengths):
        if not max(shortest, 1) <= length <= longest:
            continue
        rows = np.flatnonzero(pieces.lengths == length)
        rows = rows[np.argsort(hashes[rows], kind="stable")]
        wanted = hashes[rows]
        spans, text_of = _spans(prepared, int(length))
        seen = np.zeros(1 << 16, dtype=bool)  # a cheap sieve before the search
        seen[wanted >> np.uint64(48)] = True
        maybe = np.flatnonzero(seen[spans >> np.uint64(48)])
        spans, text_of = spans[maybe], text_of[maybe]
        first = np.searchsorted(wanted, spans, side="left")
        count = np.searchsorted(wanted, spans, side="right") - first
        place = np.repeat(first - (np.cumsum(count) - count), count) + np.arange(count.sum())
        yield _Hit(rows[place], np.repeat(text_of, count))


def parents(texts: Sequence[str]) -> Ints:
    """For every text the index of its parent: the longest text around it that has none itself.

    A text that is a token span of a longer one belongs to it; one that stands in several parents
    goes to the first; equal texts go to the first of them. A text without any is its own.
    """
    all_texts = sequences(texts, {})
    hashes = whole_hashes(all_texts)
    roots: list[Ints] = []
    parent = np.arange(len(texts))
    for length in np.unique(all_texts.lengths)[::-1]:
        rows = np.flatnonzero(all_texts.lengths == length)
        _, first, back = np.unique(hashes[rows], return_index=True, return_inverse=True)
        one_each = rows[first]
        found = np.full(len(one_each), len(texts))
        if roots and length > 0:
            known = np.concatenate(roots)
            for hit in _hits(all_texts.pick(one_each), all_texts.pick(known), 1):
                np.minimum.at(found, hit.pieces, known[hit.wholes])
        own = found == len(texts)
        found[own] = one_each[own]
        roots.append(one_each[own])
        parent[rows] = found[back.reshape(-1)]
    return parent


def span_overlap(train_texts: Sequence[str], held_texts: Sequence[str], shortest: int) -> Overlap:
    """Which train texts give a held-out text away, where phrases of one sentence are items.

    A held-out text is given away where it is a token span of a train text, or where it contains
    a train text of at least `shortest` tokens.
    """
    vocabulary: dict[str, int] = {}
    train, held = sequences(train_texts, vocabulary), sequences(held_texts, vocabulary)
    gives_T = np.zeros(len(train_texts), dtype=bool)
    piece_H = np.zeros(len(held_texts), dtype=bool)
    given_by_H = np.full(len(held_texts), -1, dtype=np.int64)
    contains_T = np.zeros(len(train_texts), dtype=bool)
    for hit in _hits(train, held, shortest):
        gives_T[hit.pieces] = True
        given_by_H[hit.wholes] = hit.pieces
    for hit in _hits(held, train, 1):
        contains_T[hit.wholes] = True
        piece_H[hit.pieces] = True
        given_by_H[hit.pieces] = hit.wholes
    return Overlap(gives_T=gives_T | contains_T, given_by_H=given_by_H, piece_H=piece_H)

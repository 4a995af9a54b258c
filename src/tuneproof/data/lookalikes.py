"""Finds texts that have nearly the same words.

In: texts. Out: for each test text an earlier text and the similarity of both; or clusters of texts.
Knows nothing of: labels, splits, what a lookalike means.
"""

import html
import re
from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuneproof.data.number_sets import NumberSets, count_shared, split_pairs
from tuneproof.tasks.normalise import split_words
from tuneproof.tasks.spans import scramble

JACCARD = 0.6
CONTAINMENT = 0.9
MIN_CONTAINED = 4  # words of the smaller text
_POSTINGS = (0, 32, 256, 2048)  # texts of one word that are compared; the next ones if none was alike
_WORDS_PER_TEXT = 50_000  # compared for one test text, its rarest words first
_WORDS_IN_ALL = 300_000_000  # compared for all test texts by one measure; about a minute of CPU time
_TEXTS = 50_000  # whose words are sorted at a time
_SORTED = 1 << 20  # words and texts sorted at a time
_PAIRS = 200_000  # compared at a time, to bound memory

_TAG = re.compile(r"</?[a-zA-Z!][^<>]*>")
_CONFUSABLE = dict(
    zip("авеіјкмнорѕтухԁһԛԝ" + "αβεζηικμνορτυχ", "abeijkmhopstyxdhqw" + "abezhikmnoptyx", strict=True)
)
_FOLD = str.maketrans(_CONFUSABLE | dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff", ""))


@dataclass(frozen=True)
class Lookalikes:
    """For each of H test texts the most similar earlier text found, by each measure; index -1: none."""

    jaccard_index_H: NDArray[np.int64]
    jaccard_H: NDArray[np.float64]
    containment_index_H: NDArray[np.int64]
    containment_H: NDArray[np.float64]

    @property
    def is_alike_H(self) -> NDArray[np.bool_]:
        """Whether an earlier text looks alike by either measure."""
        return (self.jaccard_index_H >= 0) | (self.containment_index_H >= 0)

    @property
    def index_H(self) -> NDArray[np.int64]:
        """The earlier text by Jaccard similarity, else by containment."""
        return np.where(self.jaccard_index_H >= 0, self.jaccard_index_H, self.containment_index_H)


class _Postings(NamedTuple):
    """Words, and the text that each belongs to."""

    words: NDArray[np.int32]
    texts: NDArray[np.int32]


def _first_words(sets: NumberSets, counts: NDArray[np.int64]) -> _Postings:
    """The first words of each text, the rarest, as many as `counts` says."""
    counts = np.minimum(counts, sets.sizes)
    begins = np.zeros(len(sets.numbers) + 1, dtype=np.int8)
    has_words = counts > 0
    begins[sets.starts[:-1][has_words]] += 1
    begins[(sets.starts[:-1] + counts)[has_words]] -= 1
    included = np.cumsum(begins[:-1], dtype=np.int8).astype(bool)
    return _Postings(sets.numbers[included], np.repeat(np.arange(len(counts), dtype=np.int32), counts))


def comparable_words(text: str) -> list[str]:
    """The text's words without HTML tags; letters that look Latin are Latin, so that twins are equal."""
    if "<" in text or "&" in text:
        text = _TAG.sub(" ", html.unescape(text))
    if text.isascii():
        return split_words(text)
    return split_words(text.casefold().translate(_FOLD))


def _word_sets(texts: Sequence[str]) -> NumberSets:
    vocabulary: dict[str, int] = defaultdict(count().__next__)
    numbers, sizes = array("i"), array("q")
    for text in texts:
        words = {vocabulary[word] for word in comparable_words(text)}
        numbers.extend(words)
        sizes.append(len(words))
    flat, lengths = np.frombuffer(numbers, dtype=np.int32), np.array(sizes, dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    rank = np.empty(len(vocabulary), dtype=np.int64)
    rank[np.argsort(np.bincount(flat, minlength=len(vocabulary)), kind="stable")] = np.arange(len(rank))
    for block in range(0, len(texts), _TEXTS):
        own = lengths[block : block + _TEXTS]
        part = slice(starts[block], starts[block] + own.sum())
        codes = np.sort(np.repeat(np.arange(len(own)), own) * max(1, len(rank)) + rank[flat[part]])
        flat[part] = codes % max(1, len(rank))
    return NumberSets(flat, starts)


def _texts_by_word(indexed: _Postings, ends: NDArray[np.int64]) -> NDArray[np.int32]:
    """The texts of each word, one word after the other, in an order that has nothing to do with theirs.

    ends: where each word's texts end.
    """
    texts = np.empty(len(indexed.texts), dtype=np.int32)
    cuts = np.searchsorted(ends, np.arange(0, len(texts), _SORTED))  # words, sorted in ranges to bound memory
    for low, high in pairwise([*np.unique(cuts), len(ends)]):
        chosen = np.flatnonzero((indexed.words >= low) & (indexed.words < high))
        own = indexed.texts[chosen]
        start = ends[low - 1] if low else 0
        order = np.lexsort((scramble(own.astype(np.uint64)), indexed.words[chosen]))
        texts[start : start + len(own)] = own[order]
    return texts


class _Search:
    """The best earlier text of each test text by one measure, over one or more joins."""

    def __init__(self, earlier: NumberSets, test: NumberSets, by_jaccard: bool) -> None:
        self.earlier, self.test, self.by_jaccard = earlier, test, by_jaccard
        self.words = 1 + max(earlier.numbers.max(initial=0), test.numbers.max(initial=0))
        self.index_H = np.full(len(test.sizes), -1, dtype=np.int64)
        self.similarity_H = np.zeros(len(test.sizes))

    def join(self, probes: _Postings, indexed: _Postings) -> None:
        """Compare the test texts with the earlier texts that share one of these words."""
        ends = np.cumsum(np.bincount(indexed.words, minlength=self.words))
        begins = np.concatenate([[0], ends[:-1]])
        texts = _texts_by_word(indexed, ends)
        del indexed  # as large as the sets
        for low, high in pairwise(_POSTINGS):
            open_ = self.index_H[probes.texts] < 0
            probes = _Postings(probes.words[open_], probes.texts[open_])
            begin = begins[probes.words] + low
            counts = np.clip(ends[probes.words] - begin, 0, high - low)
            counts[self._before(probes.texts, counts) > self._limit() / self.test.sizes[probes.texts]] = 0
            self._compare_in_blocks(probes.texts, begin, counts, texts)

    def _limit(self) -> float:
        """The words that are compared for one test text."""
        return min(_WORDS_PER_TEXT, _WORDS_IN_ALL / max(1, len(self.test.sizes)))

    def _before(self, texts: NDArray[np.int32], counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many pairs the rarer words of the same text have."""
        total = np.cumsum(counts) - counts
        is_first = np.diff(texts, prepend=-1) > 0
        return total - np.repeat(total[is_first], np.diff(np.append(np.flatnonzero(is_first), len(texts))))

    def _compare_in_blocks(
        self,
        probes: NDArray[np.int32],
        begin: NDArray[np.int64],
        counts: NDArray[np.int64],
        texts: NDArray[np.int32],
    ) -> None:
        total = np.cumsum(counts)
        cuts = np.searchsorted(total, np.arange(_PAIRS, total[-1] if len(total) else 0, _PAIRS)) + 1
        for block in np.split(np.arange(len(probes)), np.unique(cuts)):
            sizes = counts[block]
            offsets = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            held = np.repeat(probes[block], sizes).astype(np.int64)
            earlier = texts[np.repeat(begin[block], sizes) + offsets].astype(np.int64)
            near = self._sizes_allow(self.test.sizes[held], self.earlier.sizes[earlier])
            near &= self._is_open(held, earlier)
            pairs = np.unique(held[near] * len(self.earlier.sizes) + earlier[near])
            self._compare(pairs // len(self.earlier.sizes), pairs % len(self.earlier.sizes))

    def _sizes_allow(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.bool_]:
        small, large = np.minimum(a, b), np.maximum(a, b)
        return 5 * small >= 3 * large if self.by_jaccard else small >= MIN_CONTAINED

    def _compare(self, held: NDArray[np.int64], earlier: NDArray[np.int64]) -> None:
        """Keep the best earlier text of each test text among these pairs."""
        for part in split_pairs(self.test.sizes[held] + self.earlier.sizes[earlier]):
            h, e = held[part], earlier[part]
            shared = count_shared(self.test, h, self.earlier, e)
            a, b = self.test.sizes[h], self.earlier.sizes[e]
            whole = a + b - shared if self.by_jaccard else np.minimum(a, b)
            alike = 5 * shared >= 3 * whole if self.by_jaccard else 10 * shared >= 9 * whole
            h, e, similarity = h[alike], e[alike], shared[alike] / whole[alike]
            self._keep(h, e, similarity)

    def _is_open(self, held: NDArray[np.int64], _earlier: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.ones(len(held), dtype=bool)

    def _keep(self, h: NDArray[np.int64], e: NDArray[np.int64], similarity: NDArray[np.float64]) -> None:
        order = np.lexsort((-e, similarity, h))
        last = np.append(h[order][1:] != h[order][:-1], True)[: len(h)]
        best = order[last]
        better = best[similarity[best] > self.similarity_H[h[best]]]
        self.index_H[h[better]], self.similarity_H[h[better]] = e[better], similarity[better]


class _Links(_Search):
    """The clusters of texts that look alike, also by way of others; pairs within one are not compared."""

    def __init__(self, texts: NumberSets, by_jaccard: bool, cluster_N: NDArray[np.int64]) -> None:
        super().__init__(texts, texts, by_jaccard)
        self.cluster_N = cluster_N

    def _limit(self) -> float:
        return _WORDS_PER_TEXT  # texts that are linked already cost nothing

    def _is_open(self, held: NDArray[np.int64], earlier: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(self.cluster_N[held] != self.cluster_N[earlier])

    def _keep(self, h: NDArray[np.int64], e: NDArray[np.int64], _similarity: NDArray[np.float64]) -> None:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        size = int(self.cluster_N.max(initial=0)) + 1
        links = coo_array((np.ones(len(h)), (self.cluster_N[h], self.cluster_N[e])), shape=(size, size))
        self.cluster_N = connected_components(links, directed=False)[1].astype(np.int64)[self.cluster_N]


def find_lookalikes(earlier_texts: Sequence[str], test_texts: Sequence[str]) -> Lookalikes:
    """For each test text an earlier text that looks like it, by the sets of their words.

    Alike are texts whose Jaccard similarity is 0.6 or more, or of which one contains 0.9 or more of the
    other's words, if the smaller has at least 4. Candidates share one of the rarest words: two sets with
    an overlap of at least k must meet in the first |x| - k + 1 words of each in one common order. To keep
    the time linear, at most 2,048 earlier texts are compared for a word, and about 50,000 words for a test
    text (300 million in all), the rarest first: a lookalike may be missed only if all that it shares is
    frequent. The search of a text ends once it has a lookalike, so that a more similar text may exist.
    Source: Chaudhuri, Ganti and Kaushik 2006, A primitive operator for similarity joins in data cleaning.
    """
    sets = _word_sets([*earlier_texts, *test_texts])
    middle = len(earlier_texts)
    earlier, test = sets.part(0, middle), sets.part(middle, len(sets.sizes))
    by_jaccard = _Search(earlier, test, by_jaccard=True)
    _join_by_jaccard(by_jaccard)
    contained = _Search(earlier, test, by_jaccard=False)
    _join_by_containment(contained)
    return Lookalikes(by_jaccard.index_H, by_jaccard.similarity_H, contained.index_H, contained.similarity_H)


def cluster_lookalikes(texts: Sequence[str]) -> NDArray[np.int64]:
    """The number of each text's cluster: texts that look alike (`find_lookalikes`), also by way of others."""
    sets = _word_sets(texts)
    by_jaccard = _Links(sets, True, np.arange(len(texts)))
    _join_by_jaccard(by_jaccard)
    contained = _Links(sets, False, by_jaccard.cluster_N)
    _join_by_containment(contained)
    return contained.cluster_N


def _join_by_jaccard(search: _Search) -> None:
    prefixes = [part.sizes - (3 * part.sizes + 4) // 5 + 1 for part in (search.test, search.earlier)]
    search.join(_first_words(search.test, prefixes[0]), _first_words(search.earlier, prefixes[1]))


def _join_by_containment(search: _Search) -> None:
    test, earlier = search.test, search.earlier
    prefixes = [
        np.where(part.sizes >= MIN_CONTAINED, part.sizes - (9 * part.sizes + 9) // 10 + 1, 0)
        for part in (test, earlier)
    ]
    search.join(_first_words(test, prefixes[0]), _first_words(earlier, earlier.sizes))
    search.join(_first_words(test, test.sizes), _first_words(earlier, prefixes[1]))

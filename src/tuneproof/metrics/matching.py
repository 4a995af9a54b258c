"""When an answer is a gold answer, and how many words they share: the rules of the official SQuAD script.

In: a gold answer and a predicted one. Out: exact match and F1, 0 to 1.
Knows nothing of: items, metrics, files.

Source: Rajpurkar, Jia and Liang 2018, arXiv:1806.03822, and their evaluation script for version 2.0. It
splits words at spaces; each character of a script without spaces is a word here, as in the script of MLQA
(Lewis et al. 2020, arXiv:1910.07475).
"""

import re
import string
from collections import Counter
from functools import lru_cache

from tuneproof.metrics.words import space_characters

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
CACHED_PAIRS = 400_000  # of answers: the same arm is scored many times


def normalise_answer(text: str) -> str:
    """Lower case, without ASCII punctuation, without a, an and the, single spaces."""
    bare = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def _split(normal: str) -> list[str]:
    return space_characters(normal).split()


def _f1(gold_words: list[str], words: list[str]) -> float:
    """Harmonic mean of precision and recall."""
    if not gold_words or not words:
        return float(gold_words == words)
    same = sum((Counter(gold_words) & Counter(words)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(words), same / len(gold_words)
    return 2 * precision * recall / (precision + recall)


@lru_cache(maxsize=CACHED_PAIRS)
def best_of(golds: tuple[str, ...], predicted: str) -> tuple[float, float]:
    """Exact match and F1 against the gold that fits best, each separately.

    Golds without a word when normalised do not count; where there is no other, no answer is the gold.
    """
    normal = normalise_answer(predicted)
    normal_golds = [text for text in dict.fromkeys(map(normalise_answer, golds)) if text] or [""]
    if normal in normal_golds:
        return 1.0, 1.0
    words = _split(normal)
    return 0.0, max(_f1(_split(gold), words) for gold in normal_golds)

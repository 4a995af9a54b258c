"""TF-IDF of words and signs, and of character sequences, in any script.

In: texts of train, dev and test. Out: a matrix of features for each. Knows nothing of: labels, models.

Words are those of `metrics/words.py`. Signs are what prose has no use for: emoji, emoticons, operators,
currencies, ! and ?. Character sequences stay within what spaces set apart, edges included, so that they see
endings and compounds.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tuneproof.metrics.words import characters_of, word_pattern
from tuneproof.tasks.normalise import EMOTICON, OPERATOR

OTHER_SHARE = 0.2  # of a row's squared length; chosen by `python -m benchmarks lexical`


@dataclass(frozen=True)
class Features:
    """One sparse row for each text of train, dev and test."""

    train: Any
    dev: Any
    test: Any

    def beside(self, other: "Features", share: float = OTHER_SHARE) -> "Features":
        """Both side by side; the other has this share of the squared length of a row."""
        from scipy.sparse import hstack

        own, others = (1 - share) ** 0.5, share**0.5
        pairs = ((self.train, other.train), (self.dev, other.dev), (self.test, other.test))
        return Features(*(hstack([ours * own, theirs * others]).tocsr() for ours, theirs in pairs))


@cache
def _token() -> re.Pattern[str]:
    return re.compile(f"{EMOTICON}|<3|{word_pattern()}|[!?]|{OPERATOR}|[{characters_of('S')}]")


def fold_text(text: str) -> str:
    """Lower case; letters of other widths and composed otherwise become the same."""
    return (text if text.isascii() else unicodedata.normalize("NFKC", text)).lower()


def find_tokens(text: str) -> list[str]:
    """The words and signs of a folded text, in their order."""
    return _token().findall(text)


def word_features(
    longest: int, train: Sequence[str], dev: Sequence[str], test: Sequence[str]
) -> Features | None:
    """TF-IDF of sequences of up to `longest` words and signs; None where train has none."""
    if not any(_token().search(fold_text(text)) for text in train):
        return None
    settings = {"tokenizer": find_tokens, "token_pattern": None, "ngram_range": (1, longest)}
    return _tf_idf(settings, train, dev, test)


def character_features(
    longest: int, train: Sequence[str], dev: Sequence[str], test: Sequence[str]
) -> Features | None:
    """TF-IDF of sequences of two to `longest` characters; None where train has none, or `longest` is 0."""
    if not longest or not any(text.strip() for text in train):
        return None
    return _tf_idf({"analyzer": "char_wb", "ngram_range": (min(2, longest), longest)}, train, dev, test)


def _tf_idf(
    settings: dict[str, Any], train: Sequence[str], dev: Sequence[str], test: Sequence[str]
) -> Features:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(preprocessor=fold_text, sublinear_tf=True, **settings)
    return Features(vectorizer.fit_transform(train), vectorizer.transform(dev), vectorizer.transform(test))

"""TF-IDF of words and signs, and of character sequences, in any script.

In: texts of train, dev and test. Out: a matrix of features for each. Knows nothing of: labels, models.

Words are those of `metrics/words.py`. Signs are what prose has no use for: emoji, emoticons, operators,
currencies, ! and ?. Character sequences stay within what spaces set apart, edges included, so that they see
endings and compounds.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from tuneproof.metrics.words import characters_of, word_pattern
from tuneproof.tasks.normalise import EMOTICON, OPERATOR

FeatureKind = Literal["words", "characters"]
OTHER_SHARE = 0.2  # of a row's squared length; chosen by `python -m benchmarks lexical`


@dataclass(frozen=True)
class FeatureSource:
    """Where columns of a matrix come from: a fitted vectorizer, whose rows `scale` multiplies."""

    kind: FeatureKind
    longest: int
    vectorizer: Any
    scale: float = 1.0


@dataclass(frozen=True)
class Features:
    """One sparse row for each text of train, dev and test, and where its columns come from."""

    train: Any
    dev: Any
    test: Any
    sources: tuple[FeatureSource, ...]

    def beside(self, other: "Features", share: float = OTHER_SHARE) -> "Features":
        """Both side by side; the other has this share of the squared length of a row."""
        from scipy.sparse import hstack

        own, others = (1 - share) ** 0.5, share**0.5

        def join(ours: Any, theirs: Any) -> Any:
            return hstack([ours * own, theirs * others]).tocsr()

        return Features(
            join(self.train, other.train),
            join(self.dev, other.dev),
            join(self.test, other.test),
            tuple(
                replace(source, scale=source.scale * scale)
                for features, scale in ((self, own), (other, others))
                for source in features.sources
            ),
        )


def token_pattern() -> str:
    """The regular expression of a word or a sign in a folded text."""
    return f"{EMOTICON}|<3|{word_pattern()}|[!?]|{OPERATOR}|[{characters_of('S')}]"


@cache
def _token() -> re.Pattern[str]:
    return re.compile(token_pattern())


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
    return _tf_idf("words", longest, train, dev, test)


def character_features(
    longest: int, train: Sequence[str], dev: Sequence[str], test: Sequence[str]
) -> Features | None:
    """TF-IDF of sequences of two to `longest` characters; None where train has none, or `longest` is 0."""
    if not longest or not any(text.strip() for text in train):
        return None
    return _tf_idf("characters", longest, train, dev, test)


def make_vectorizer(kind: FeatureKind, longest: int) -> Any:
    """scikit-learn's vectorizer of these features, not fitted."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    settings: dict[str, Any] = {"analyzer": "char_wb", "ngram_range": (min(2, longest), longest)}
    if kind == "words":
        settings = {"tokenizer": find_tokens, "token_pattern": None, "ngram_range": (1, longest)}
    return TfidfVectorizer(preprocessor=fold_text, sublinear_tf=True, **settings)


def _tf_idf(
    kind: FeatureKind, longest: int, train: Sequence[str], dev: Sequence[str], test: Sequence[str]
) -> Features:
    vectorizer = make_vectorizer(kind, longest)
    rows = vectorizer.fit_transform(train), vectorizer.transform(dev), vectorizer.transform(test)
    return Features(*rows, (FeatureSource(kind, longest, vectorizer),))

"""The lexical baseline: TF-IDF of words and word pairs, and logistic regression.

In: texts and labels of train. Out: probabilities for every item. Knows nothing of: language models.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from tuneproof.methods.method import BaselineFit, LabelledTexts, Method
from tuneproof.methods.options import MethodOptions
from tuneproof.methods.overlap import answer_by_overlap


class LexicalOptions(MethodOptions):
    """Settings of the lexical baseline."""

    ngrams: int = Field(2, ge=1, le=4, description="Longest word sequence that is a feature.")
    strengths: tuple[float, ...] = Field(
        (0.5, 2.0, 8.0, 32.0),
        min_length=1,
        description="Inverse L2 strengths C of the regression; the one with the lowest dev loss wins.",
    )


def make_lexical(options: Any, strength: float) -> Any:
    """The scikit-learn pipeline: lower-cased words, sublinear term counts, L2 regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = {"ngram_range": (1, options.ngrams), "token_pattern": r"(?u)\b\w+\b|[!?]"}
    features = TfidfVectorizer(sublinear_tf=True, **words)
    return make_pipeline(features, LogisticRegression(C=strength, max_iter=2000))


def fit_lexical(
    options: Any, train: LabelledTexts, dev: LabelledTexts, texts: Sequence[str], classes: int
) -> BaselineFit:
    """Fit on train with each strength; the lowest log loss on dev wins."""
    best: tuple[float, float, Any] | None = None
    for strength in options.strengths:
        model = make_lexical(options, strength).fit(train.texts, train.labels_N)
        dev_NC = _all_classes(model, dev.texts, classes)
        loss = float(-np.log(dev_NC[np.arange(len(dev.texts)), dev.labels_N] + 1e-12).mean())
        if best is None or loss < best[0]:
            best = (loss, strength, model)
    assert best is not None
    loss, strength, model = best
    coefficients = model[-1].coef_.size + model[-1].intercept_.size
    return BaselineFit(
        dev_NC=_all_classes(model, dev.texts, classes),
        test_NC=_all_classes(model, texts, classes),
        chosen={"strength": strength, "dev_loss": loss},
        parameters=int(coefficients),
    )


def _all_classes(model: Any, texts: Sequence[str], classes: int) -> np.ndarray:
    probabilities_NC = np.zeros((len(texts), classes))
    probabilities_NC[:, model[-1].classes_] = model.predict_proba(texts)
    return probabilities_NC


LEXICAL = Method(
    name="lexical",
    kind="baseline",
    title="TF-IDF with logistic regression; for questions, the sentence that shares the most words",
    options=LexicalOptions,
    chance=False,
    paper="Salton and Buckley 1988; scikit-learn's TfidfVectorizer and LogisticRegression",
    fit=fit_lexical,
    answer=answer_by_overlap,
)

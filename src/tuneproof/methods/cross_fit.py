"""Probabilities of train items from models that did not train on them.

In: texts or features, labels, a fold for every item. Out: probabilities [N, C].
Knows nothing of: how folds are drawn, what the probabilities are for.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.methods.lexical_features import word_features

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
WORDS_STRENGTH, FEATURES_STRENGTH = 8.0, 0.1  # inverse L2; by `python -m benchmarks label-errors`


def cross_fit_words(texts: Sequence[str], labels_N: Ints, fold_N: Ints, classes: int) -> Floats | None:
    """Logistic regression on TF-IDF of words; None where some fold's other texts have no word."""
    probabilities_NC = np.zeros((len(labels_N), classes))
    for inside, outside in _folds(fold_N):
        train, others = ([texts[row] for row in rows] for rows in (inside, outside))
        features = word_features(2, train, others, others[:1])
        if features is None:
            return None
        model = _fit(WORDS_STRENGTH, features.train, labels_N[inside], classes)
        probabilities_NC[outside] = model(features.dev)
    return probabilities_NC


def cross_fit_features(features_ND: NDArray[Any], labels_N: Ints, fold_N: Ints, classes: int) -> Floats:
    """Logistic regression on standardised features."""
    probabilities_NC = np.zeros((len(labels_N), classes))
    for inside, outside in _folds(fold_N):
        mean_D, scale_D = features_ND[inside].mean(axis=0), features_ND[inside].std(axis=0) + 1e-6
        strength = FEATURES_STRENGTH * 1000 / len(inside)
        model = _fit(strength, (features_ND[inside] - mean_D) / scale_D, labels_N[inside], classes)
        probabilities_NC[outside] = model((features_ND[outside] - mean_D) / scale_D)
    return probabilities_NC


def _folds(fold_N: Ints) -> list[tuple[Ints, Ints]]:
    """For every fold the items outside it, which train, and those in it."""
    return [(np.flatnonzero(fold_N != fold), np.flatnonzero(fold_N == fold)) for fold in np.unique(fold_N)]


def _fit(strength: float, features: Any, labels_N: Ints, classes: int) -> Callable[[Any], Floats]:
    """What gives the probabilities of all labels; those of one label alone are certain."""
    from sklearn.linear_model import LogisticRegression

    if len(present := np.unique(labels_N)) < 2:
        certain_C = np.eye(classes)[present[0]]
        return lambda others: np.tile(certain_C, (others.shape[0], 1))
    model = LogisticRegression(C=strength, max_iter=1000, tol=1e-3).fit(features, labels_N)

    def predict(others: Any) -> Floats:
        probabilities_NC = np.zeros((others.shape[0], classes))
        probabilities_NC[:, model.classes_] = model.predict_proba(others)
        return probabilities_NC

    return predict

"""A fitted baseline as a file of skops: scikit-learn's own objects, read without pickle and without our code.

In: the folder of a baseline's weights, label names. Out: a .skops file; whether one holds the same weights.
Knows nothing of: the card, the gate's process, the hub. It needs the extra `skops`.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED

import numpy as np

from tuneproof.atomic import write_in_folder
from tuneproof.errors import RecipeError
from tuneproof.methods.lexical_features import token_pattern
from tuneproof.methods.text_classifier import LabelShares, TermRegression, TermWeights, load_classifier

PRIOR = "prior"  # scikit-learn's name for the label shares of train


def check_skops() -> None:
    """Raises RecipeError where skops is missing."""
    if importlib.util.find_spec("skops") is None:
        do = "Install it: pip install 'tuneproof[skops]'."
        raise RecipeError("publish", "needs skops, which writes baselines without pickle.", do=do)


def write_skops(weights: Path, labels: Sequence[str], file: Path) -> None:
    """Write the baseline. Raises: RecipeError where train lacks a label: the file would not know it."""
    import skops.io

    classifier = load_classifier(weights)
    if isinstance(classifier, TermRegression):
        if len(classifier.classes) < classifier.labels:
            missing = [labels[i] for i in range(len(labels)) if i not in classifier.classes]
            problem = f"no train item has the label {missing[0]!r}, so the file would not know it."
            raise RecipeError(str(weights.parent), problem, do="Publish another arm.")
        model = _pipeline(classifier, labels)
    else:
        assert isinstance(classifier, LabelShares)
        model = _prior(classifier, labels)
    write_in_folder(file, lambda path: skops.io.dump(model, path, compression=ZIP_DEFLATED, compresslevel=6))


def holds_weights(file: Path, weights: Path) -> bool:
    """Whether the file's numbers are the arm's, to the bit."""
    import skops.io

    model, classifier = skops.io.load(file), load_classifier(weights)
    if isinstance(classifier, LabelShares):
        return np.array_equal(model.class_prior_, classifier.shares_C)
    assert isinstance(classifier, TermRegression)
    parts = dict(model["features"].transformer_list)
    pairs = [
        (model["regression"].coef_, classifier.weight_KD),
        (model["regression"].intercept_, classifier.bias_K),
        *((parts[terms.kind].idf_, terms.idf_D) for terms in classifier.features),
    ]
    same_terms = all(
        parts[terms.kind].get_feature_names_out().tolist() == list(terms.terms)
        for terms in classifier.features
    )
    return same_terms and all(np.array_equal(ours, theirs) for ours, theirs in pairs)


def _pipeline(classifier: TermRegression, labels: Sequence[str]) -> Any:
    """The features and the regression; texts enter it in NFKC, which scikit-learn does not do."""
    from sklearn.pipeline import FeatureUnion, Pipeline

    regression = classifier.regression
    regression.classes_ = np.array(labels)
    features = FeatureUnion(
        [(terms.kind, _vectorizer(terms)) for terms in classifier.features],
        transformer_weights={terms.kind: terms.scale for terms in classifier.features},
    )
    return Pipeline([("features", features), ("regression", regression)])


def _vectorizer(terms: TermWeights) -> Any:
    """The vectorizer in scikit-learn's own settings, without a function of ours."""
    vectorizer = terms.vectorizer
    settings: dict[str, Any] = {"preprocessor": None, "lowercase": True, "tokenizer": None}
    if terms.kind == "words":
        settings["token_pattern"] = token_pattern()
    vectorizer.set_params(**settings, vocabulary=None)  # vocabulary_ stays
    return vectorizer


def _prior(classifier: LabelShares, labels: Sequence[str]) -> Any:
    from sklearn.dummy import DummyClassifier

    model = DummyClassifier(strategy=PRIOR).fit(list(labels), list(labels))
    model.classes_, model.class_prior_ = np.array(labels), classifier.shares_C  # in the study's order
    return model

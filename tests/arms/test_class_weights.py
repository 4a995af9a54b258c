"""Class weights of what is fitted at once: scikit-learn's class_weight."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tuneproof.data.class_weights import class_weights
from tuneproof.methods import METHODS
from tuneproof.methods.linear_head import HeadData
from tuneproof.methods.method import LabelledTexts

LABELS = ("rare", "common")


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    labels_N = (rng.random(120) < 0.85).astype(np.int64)
    features_ND = (rng.normal(size=(120, 5)) + 0.7 * labels_N[:, None]).astype(np.float32)
    weights_C = class_weights("balanced", LABELS, np.bincount(labels_N).tolist())
    return features_ND, labels_N, weights_C


@pytest.mark.parametrize("method", ["head", "embeddings"])
def test_a_fitted_head_has_scikit_learns_class_weight(data, method):
    features_ND, labels_N, weights_C = data
    part = {"mean": features_ND}
    options = METHODS[method].options(strengths=(1.0,))
    fit_head = METHODS[method].fit_head
    head = fit_head(options, HeadData(part, labels_N, part, labels_N, True, 2, weights_C))
    mean_D = features_ND.mean(axis=0)
    scaled_ND = (features_ND - mean_D) / (np.sqrt(np.square(features_ND - mean_D).mean(axis=0)) + 1e-6)
    reference = LogisticRegression(C=1 / 120 * 1000, class_weight="balanced", max_iter=3000).fit(
        scaled_ND, labels_N
    )
    np.testing.assert_allclose(head.probabilities(features_ND), reference.predict_proba(scaled_ND), atol=2e-3)
    gold_N = head.probabilities(features_ND)[np.arange(120), labels_N]
    loss = np.average(-np.log(gold_N), weights=weights_C[labels_N])
    assert head.chosen["dev_loss"] == pytest.approx(loss, rel=1e-6)
    assert head.chosen["by"] == "lowest loss on dev, with its class weights"


def test_the_lexical_baseline_has_scikit_learns_class_weight(data):
    _, labels_N, weights_C = data
    texts = [f"{'good' if label else 'bad'} {n % 7} film {n % 3}" for n, label in enumerate(labels_N)]
    options = METHODS["lexical"].options(strengths=(2.0,), characters=0)
    part = LabelledTexts(texts, labels_N, weights_C[labels_N])
    fitted = METHODS["lexical"].fit(options, part, part, texts, 2)
    plain = METHODS["lexical"].fit(options, LabelledTexts(texts, labels_N), part, texts, 2)
    from tuneproof.methods.lexical_features import word_features

    features = word_features(options.ngrams, texts, texts, texts)
    reference = LogisticRegression(C=2.0, class_weight="balanced", max_iter=2000)
    reference.fit(features.train, labels_N)
    np.testing.assert_allclose(fitted.test_NC, reference.predict_proba(features.test), atol=1e-6)
    assert fitted.test_NC[:, 0].mean() > plain.test_NC[:, 0].mean()

"""Confident learning: the paper's rule on small cases, and planted errors at the top."""

import numpy as np
import pytest

from tuneproof.score.label_errors import expected_errors, suspect


def test_a_label_is_counted_as_wrong_where_another_reaches_its_own_mean():
    probabilities_NC = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9], [0.3, 0.7]])
    # thresholds: label 0: (0.9 + 0.7 + 0.2) / 3 = 0.6, label 1: (0.9 + 0.7) / 2 = 0.8
    assert expected_errors(probabilities_NC, np.array([0, 0, 0, 1, 1])).tolist() == [[0, 1], [0, 0]]


def test_an_unsure_item_is_counted_nowhere():
    probabilities_NC = np.array([[0.95, 0.05], [0.45, 0.55], [0.05, 0.95], [0.05, 0.95]])
    assert expected_errors(probabilities_NC, np.array([0, 0, 1, 1])).sum() == 0


def test_a_label_without_items_is_never_suggested_as_expected():
    probabilities_NC = np.array([[0.2, 0.1, 0.7], [0.1, 0.2, 0.7]])
    assert expected_errors(probabilities_NC, np.array([0, 1]))[:, 2].sum() == 0


def test_no_items_have_no_errors():
    suspicion = suspect(np.empty((0, 2)), np.empty(0, dtype=np.int64))
    assert suspicion.expected == 0
    assert suspicion.order.tolist() == []


@pytest.mark.parametrize("classes", [2, 5])
def test_planted_errors_of_a_good_model_are_suspected_first(classes):
    random = np.random.default_rng(0)
    true_N = random.integers(classes, size=400)
    wrong_N = np.arange(400) < 20
    labels_N = np.where(wrong_N, (true_N + 1) % classes, true_N)
    probabilities_NC = np.full((400, classes), 0.1 / (classes - 1))
    probabilities_NC[np.arange(400), true_N] = 0.9
    probabilities_NC += random.uniform(0, 0.05, probabilities_NC.shape)
    probabilities_NC /= probabilities_NC.sum(axis=1, keepdims=True)
    suspicion = suspect(probabilities_NC, labels_N)
    assert set(np.flatnonzero(wrong_N)) <= set(suspicion.order)
    assert len(suspicion.order) <= 25
    assert (suspicion.suggested_N[:20] == true_N[:20]).all()
    assert (np.diff(suspicion.own_N[suspicion.order]) >= 0).all()


def test_an_item_whose_own_label_is_likeliest_is_never_suspected():
    probabilities_NC = np.array([[0.6, 0.4]] * 10 + [[0.2, 0.8]] * 10)
    labels_N = np.array([0] * 10 + [1] * 10)
    assert suspect(probabilities_NC, labels_N).order.tolist() == []

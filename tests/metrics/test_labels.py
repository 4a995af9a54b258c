"""Metrics of labels against examples worked by hand."""

import numpy as np
import pytest

from tuneproof.errors import DataError
from tuneproof.metrics import METRICS, UNPARSED, LabelItems, confusion, evaluate, per_class
from tuneproof.metrics.labels import CALIBRATION, squared_calibration_error

SIX = LabelItems(
    labels=("neg", "pos"),
    gold_N=np.array([0, 0, 0, 1, 1, 1]),
    predicted_N=np.array([0, 0, 1, 1, UNPARSED, UNPARSED]),
)


def test_an_unparsed_answer_is_wrong_and_never_a_label():
    assert evaluate(METRICS["accuracy"], SIX) == pytest.approx(3 / 6)
    assert evaluate(METRICS["recall"], SIX) == pytest.approx(1 / 3)
    assert evaluate(METRICS["precision"], SIX) == pytest.approx(1 / 2)
    assert confusion(SIX).tolist() == [[2, 1, 0], [0, 1, 2]]


def test_per_class_gives_support_accuracy_precision_and_f1():
    negative, positive = per_class(SIX)
    assert negative == {
        "label": "neg",
        "support": 3,
        "accuracy": pytest.approx(2 / 3),
        "precision": 1.0,
        "f1": pytest.approx(4 / 5),
    }
    assert positive["accuracy"] == pytest.approx(1 / 3)
    assert positive["f1"] == pytest.approx(2 / 5)


def test_the_positive_label_is_the_last():
    flipped = LabelItems(("pos", "neg"), 1 - SIX.gold_N, np.array([1, 1, 0, 0, -1, -1]))
    assert evaluate(METRICS["recall"], flipped) == pytest.approx(2 / 3)


def test_weighted_recall_equals_accuracy_and_says_so():
    assert evaluate(METRICS["recall_weighted"], SIX) == evaluate(METRICS["accuracy"], SIX)
    assert "equals accuracy" in METRICS["recall_weighted"].note


def test_a_label_that_is_never_predicted_has_precision_zero():
    one = LabelItems(("a", "b", "c"), np.array([0, 1]), np.array([0, 0]))
    assert evaluate(METRICS["precision_macro"], one) == pytest.approx(0.5 / 3)


def test_calibration_error_by_hand():
    # bins of 1/15: 0.95 three times (one right) and 0.62 once, which has no pair
    confidence = np.array([0.95, 0.95, 0.95, 0.62])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    items = LabelItems(("a", "b"), np.array([0, 1, 1, 0]), np.array([0, 0, 0, 0]), probabilities)
    right, wrong = 1 - 0.95, 0 - 0.95
    pairs = 2 * (right * wrong + right * wrong + wrong * wrong)
    assert evaluate(METRICS["expected_calibration_error"], items) == pytest.approx(np.sqrt(pairs / 2 / 4))


def test_the_square_of_the_calibration_error_has_no_bias_on_few_items():
    rng, squares = np.random.default_rng(0), []
    for _ in range(4000):
        confidence = rng.uniform(0.5, 1.0, 40)
        right = rng.random(40) < confidence - 0.1
        probabilities = np.stack([confidence, 1 - confidence], axis=1)
        items = LabelItems(("a", "b"), (~right).astype(int), np.zeros(40, dtype=int), probabilities)
        squares.append(squared_calibration_error(CALIBRATION.per_item(items).sum(axis=0), 2))
    # 0.1 in every bin; a bin with a single item shows nothing
    assert np.mean(squares) == pytest.approx(0.1**2, rel=0.12)


def test_brier_and_log_loss_by_hand():
    probabilities = np.array([[0.8, 0.2], [0.4, 0.6]])
    items = LabelItems(("a", "b"), np.array([0, 0]), np.array([0, 1]), probabilities)
    assert evaluate(METRICS["brier"], items) == pytest.approx((0.08 + 0.72) / 2)
    assert evaluate(METRICS["log_loss"], items) == pytest.approx(-np.log([0.8, 0.4]).mean())


@pytest.mark.parametrize(
    ("gold", "predicted", "found"),
    [
        ([0, 1], [0], "2 golds and 1 predictions"),
        ([0, 2], [0, 1], "a gold label is none of the labels"),
        ([0, 1], [0, 5], "a predicted label is neither"),
    ],
)
def test_items_that_do_not_fit_are_refused(gold, predicted, found):
    with pytest.raises(DataError, match=found):
        evaluate(METRICS["accuracy"], LabelItems(("a", "b"), np.array(gold), np.array(predicted)))


def test_a_metric_of_two_labels_is_refused_on_three():
    three = LabelItems(("a", "b", "c"), np.array([0, 1]), np.array([0, 1]))
    with pytest.raises(DataError, match="f1 is for two labels and there are 3"):
        evaluate(METRICS["f1"], three)

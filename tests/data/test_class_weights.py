"""Class weights: scikit-learn's, of the labels that train has."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from tuneproof.data.class_weights import class_weights, weighted_counts, weighted_mean
from tuneproof.record.diagnose import label_entropy

LABELS = ("a", "b", "c")


def test_balanced_weights_are_scikit_learns():
    label_N = np.repeat([0, 1, 2], [70, 25, 5])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=label_N)
    np.testing.assert_allclose(class_weights("balanced", LABELS, [70, 25, 5]), expected)


def test_a_label_that_train_does_not_have_changes_no_other_weight():
    two = compute_class_weight("balanced", classes=np.arange(2), y=np.repeat([0, 1], [6, 2]))
    np.testing.assert_allclose(class_weights("balanced", LABELS, [6, 0, 2]), [two[0], 1, two[1]])


def test_labels_that_are_not_named_weigh_one_and_none_weigh_nothing():
    np.testing.assert_array_equal(class_weights({"c": 5}, LABELS, [1, 1, 1]), [1, 1, 5])
    assert class_weights(None, LABELS, [1, 1, 1]) is None


def test_balanced_labels_have_the_entropy_of_equal_shares():
    counts = weighted_counts("balanced", {"a": 90, "b": 10})
    assert label_entropy(list(counts.values())) == pytest.approx(np.log(2))
    assert weighted_counts(None, {"a": 90}) == {"a": 90}


def test_the_sum_of_weights_divides_the_mean():
    assert weighted_mean(np.array([1.0, 4.0]), np.array([3.0, 1.0])) == 1.75
    assert weighted_mean(np.array([1.0, 4.0]), None) == 2.5

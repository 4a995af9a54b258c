"""How probabilities become labels: the most probable, by a threshold, or by costs; dev alone chooses."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneproof.errors import RunError
from tuneproof.inference.prediction import Predictions, read_predictions, write_predictions
from tuneproof.metrics import METRICS, UNPARSED, evaluate
from tuneproof.recipe.decision import DecisionSettings, cost_matrix
from tuneproof.score.decision import Decision, best_label_threshold, choose_decision, decided

LABELS = ("ham", "spam", "other")
THRESHOLD = DecisionSettings(threshold="dev")


def predictions_of(probabilities_NC, gold_N, labels=LABELS[:2], predicted_N=None):
    n = len(gold_N)
    return Predictions(
        labels=labels,
        ids=[str(i) for i in range(n)],
        groups=[str(i) for i in range(n)],
        gold_N=np.asarray(gold_N),
        predicted_N=probabilities_NC.argmax(axis=1) if predicted_N is None else np.asarray(predicted_N),
        tokens_N=np.ones(n, dtype=np.int64),
        truncated_N=np.zeros(n, dtype=bool),
        probabilities_NC=probabilities_NC,
    )


def imbalanced(seed, n=200, share=0.15):
    """Probabilities that rank well and are far too low for the rare label."""
    rng = np.random.default_rng(seed)
    gold_N = (rng.random(n) < share).astype(np.int64)
    spam_N = np.clip(0.12 + 0.15 * gold_N + rng.normal(0, 0.08, n), 0.001, 0.999)
    return predictions_of(np.stack([1 - spam_N, spam_N], axis=1), gold_N)


@st.composite
def probabilities(draw, labels=None):
    count = labels or draw(st.integers(2, 5))
    row = st.lists(st.integers(0, 20), min_size=count, max_size=count).filter(any)  # ties are common
    rows = np.array(draw(st.lists(row, min_size=1, max_size=20)), dtype=float)
    return rows / rows.sum(axis=1, keepdims=True)


@given(probabilities(), st.floats(1e-3, 1e3))
@settings(max_examples=150, deadline=None)
def test_equal_costs_of_all_mistakes_give_the_most_probable_label(p_NC, cost):
    decision = Decision(cost * (1 - np.eye(p_NC.shape[1])))
    np.testing.assert_array_equal(decision.labels(p_NC), p_NC.argmax(axis=1))


@given(probabilities(2))
@settings(max_examples=150, deadline=None)
def test_a_threshold_of_one_half_gives_the_most_probable_label(p_NC):
    np.testing.assert_array_equal(Decision.at_threshold(0.5).labels(p_NC), p_NC.argmax(axis=1))


@given(probabilities(3), st.integers(0, 10**6))
@settings(max_examples=80, deadline=None)
def test_no_label_is_expected_to_cost_less_than_the_one_that_is_predicted(p_NC, seed):
    costs_CC = np.random.default_rng(seed).uniform(0, 9, (3, 3))
    label_N = Decision(costs_CC).labels(p_NC)
    for row, label in zip(p_NC, label_N, strict=True):
        expected = [sum(row[gold] * costs_CC[gold, other] for gold in range(3)) for other in range(3)]
        assert expected[label] <= min(expected) + 1e-9


def test_costs_of_two_labels_are_elkans_threshold():
    costs_CC = cost_matrix({"spam": {"ham": 9}}, LABELS[:2])  # p* = 1 / (1 + 9)
    p_N = np.array([0.09, 0.11, 0.5])
    label_N = Decision(costs_CC).labels(np.stack([1 - p_N, p_N], axis=1))
    assert label_N.tolist() == [0, 1, 1]


@pytest.mark.parametrize("metric", ["f1", "recall_macro", "accuracy", "precision", "f1_macro"])
def test_the_threshold_is_the_best_of_all_that_dev_can_tell_apart(metric):
    for seed in range(5):
        dev = imbalanced(seed)
        share_N = dev.probabilities_NC[:, 1]
        tried = [
            evaluate(METRICS[metric], replace(dev, predicted_N=(share_N > cut).astype(int)).items)
            for cut in [0.0, *share_N]
        ]
        entry = choose_decision(THRESHOLD, metric, dev)
        after = decided(dev, {"decision": entry})
        assert evaluate(METRICS[metric], after.items) == pytest.approx(max(tried))
        assert entry["dev_value"] == pytest.approx(max(tried))


def test_of_equally_good_thresholds_the_nearest_to_one_half_is_taken():
    p_N = np.array([0.1, 0.2, 0.8, 0.9])
    perfect = predictions_of(np.stack([1 - p_N, p_N], axis=1), [0, 0, 1, 1])
    assert best_label_threshold(METRICS["f1"], perfect) == 0.5
    low = predictions_of(np.stack([1 - p_N / 4, p_N / 4], axis=1), [0, 0, 1, 1])
    assert best_label_threshold(METRICS["f1"], low) == pytest.approx((0.05 + 0.2) / 2)


def test_one_item_or_one_probability_has_a_threshold():
    same = predictions_of(np.tile([0.9, 0.1], (6, 1)), [0, 0, 0, 1, 1, 1])
    entry = choose_decision(THRESHOLD, "f1", same)
    assert 0 < entry["threshold"] < 0.1  # all are positive
    assert choose_decision(THRESHOLD, "f1", same.take([0]))["threshold"] == 0.5


def test_the_temperature_is_that_of_dev_and_moves_the_labels_of_overconfident_arms():
    rng = np.random.default_rng(0)
    gold_N = rng.integers(0, 2, 400)
    right_N = rng.random(400) < 0.8
    spam_N = np.where((gold_N == 1) == right_N, 0.99, 0.01)
    dev = predictions_of(np.stack([1 - spam_N, spam_N], axis=1), gold_N)
    costs = {"spam": {"ham": 20}}
    plain = choose_decision(DecisionSettings(costs=costs), "accuracy", dev)
    fitted = choose_decision(DecisionSettings(costs=costs, temperature="dev"), "accuracy", dev)
    assert plain["temperature"] == 1
    assert fitted["temperature"] > 1.5
    assert fitted["dev_value"] < plain["dev_value"]


def test_replies_that_name_no_label_stay_so():
    p_NC = np.array([[0.6, 0.4], [0.7, 0.3]])
    given_ = predictions_of(p_NC, [1, 1], predicted_N=[UNPARSED, 0])
    after = decided(given_, {"decision": {"threshold": 0.2}})
    assert after.predicted_N.tolist() == [UNPARSED, 1]


def test_arms_without_probabilities_keep_their_labels_and_have_costs():
    words = replace(imbalanced(0), probabilities_NC=None)
    entry = choose_decision(DecisionSettings(costs={"spam": {"ham": 5}}), "accuracy", words)
    after = decided(words, {"decision": entry})
    assert entry["applies"] is False
    np.testing.assert_array_equal(after.predicted_N, words.predicted_N)
    assert evaluate(METRICS["mean_cost"], after.items) == pytest.approx(5 * words.gold_N.mean())
    assert choose_decision(THRESHOLD, "f1", words) == {"applies": False}


def test_an_answer_without_a_label_costs_as_much_as_the_dearest_mistake():
    items = replace(imbalanced(0), costs_CC=cost_matrix({"spam": {"ham": 5}}, LABELS[:2]))
    unparsed = replace(items, predicted_N=np.full(len(items), UNPARSED))
    expected = np.where(items.gold_N == 1, 5, 1).mean()
    assert evaluate(METRICS["mean_cost"], unparsed.items) == pytest.approx(expected)


def test_costs_are_in_the_file_of_predictions(tmp_path):
    costs_CC = cost_matrix({"spam": {"ham": 5}}, LABELS[:2])
    path = write_predictions(tmp_path / "p.parquet", replace(imbalanced(0), costs_CC=costs_CC), {})
    np.testing.assert_array_equal(read_predictions(path).costs_CC, costs_CC)
    plain = write_predictions(tmp_path / "q.parquet", imbalanced(0), {})
    assert read_predictions(plain).costs_CC is None


@pytest.mark.parametrize("entry", [{"threshold": 0.3}, {"costs": [[0, 1], [1, 0]]}])
def test_a_record_for_other_labels_is_refused(entry):
    three = predictions_of(np.full((2, 3), 1 / 3), [0, 1], LABELS)
    with pytest.raises(RunError, match="Restore the file"):
        decided(three, {"decision": entry})

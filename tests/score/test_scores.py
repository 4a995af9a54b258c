"""Scores of one arm: which interval, what is noted, what is refused."""

import json
import time

import numpy as np
import pytest

from tests.score.arms import noisy_arm, predictions_of
from tuneproof.errors import RunError
from tuneproof.score.scores import as_json, score
from tuneproof.settings import ScoreSettings

SETTINGS = ScoreSettings()


def test_accuracy_of_single_items_has_wilsons_interval():
    gold = [1] * 872
    found = score([predictions_of(gold, [1] * 796 + [0] * 76)], ["accuracy"], SETTINGS, False)
    accuracy = found["accuracy"]
    assert accuracy.method == "Wilson"
    assert accuracy.value == pytest.approx(796 / 872)
    assert (accuracy.low, accuracy.high) == pytest.approx((0.892, 0.930), abs=5e-4)
    assert (accuracy.n, accuracy.clusters, accuracy.seeds) == (872, None, 1)


def test_whole_groups_give_a_wider_interval_than_single_items():
    arm = noisy_arm(600, 0.8, seed=0, group_size=6)
    single = score([arm], ["accuracy", "f1_macro"], SETTINGS, False)
    grouped = score([arm], ["accuracy", "f1_macro"], SETTINGS, True)
    for name in single:
        ratio = (grouped[name].high - grouped[name].low) / (single[name].high - single[name].low)
        assert ratio == pytest.approx(np.sqrt(6), rel=0.12)
    assert grouped["accuracy"].clusters == 100


def test_groups_of_one_item_are_single_items():
    arm = noisy_arm(100, 0.8, seed=0)
    assert score([arm], ["accuracy"], SETTINGS, True)["accuracy"].method == "Wilson"


def test_several_seeds_widen_the_interval_by_their_spread():
    arms = [noisy_arm(400, accuracy, seed) for seed, accuracy in enumerate((0.75, 0.85, 0.95))]
    alone = score(arms[1:2], ["accuracy"], SETTINGS, False)["accuracy"]
    found = score(arms, ["accuracy"], SETTINGS, False)["accuracy"]
    assert found.seeds == 3
    assert found.value == pytest.approx(np.mean([(a.gold_N == a.predicted_N).mean() for a in arms]))
    assert found.high - found.low > 2 * (alone.high - alone.low)
    assert "items and seeds" in found.method


def test_all_that_the_predictions_allow_is_scored_and_fits_in_json():
    with_probabilities = score([noisy_arm(80, 0.8, 0)], None, SETTINGS, False)
    assert {"accuracy", "f1", "recall_weighted", "log_loss"} <= set(with_probabilities)
    bare = score([predictions_of([0, 1] * 20, [0] * 40)], None, SETTINGS, False)
    assert "log_loss" not in bare
    written = json.loads(json.dumps(as_json(with_probabilities), allow_nan=False))
    assert set(written["accuracy"]) == {
        "value",
        "low",
        "high",
        "n",
        "clusters",
        "seeds",
        "method",
        "note",
        "by_paragraph",
    }
    for each in with_probabilities.values():
        assert each.low <= each.value <= each.high


def test_weighted_recall_is_never_shown_as_news():
    found = score([noisy_arm(80, 0.8, 0)], None, SETTINGS, False)
    assert "equals accuracy by identity; no separate evidence" in found["recall_weighted"].note


def test_few_groups_and_few_errors_are_noted():
    few = score([noisy_arm(60, 0.8, 0, group_size=6)], ["accuracy"], SETTINGS, True)["accuracy"]
    assert "only 10 groups" in few.note
    sure = score([predictions_of([1] * 60, [1] * 58 + [0] * 2)], ["accuracy"], SETTINGS, False)
    assert "fewer than 5 right or wrong answers" in sure["accuracy"].note


def test_a_perfect_score_still_has_an_interval():
    gold = [0, 1] * 30
    found = score([predictions_of(gold, gold)], ["accuracy", "f1_macro"], SETTINGS, False)
    for each in found.values():
        assert each.high == 1.0
        assert 0.85 < each.low < 0.95


def test_equal_settings_give_equal_scores():
    arm = noisy_arm(200, 0.8, 0)
    assert score([arm], None, SETTINGS, False) == score([arm], None, SETTINGS, False)


def test_25000_items_with_the_default_draws_take_seconds():
    arm = noisy_arm(25_000, 0.9, 0, group_size=3)
    started = time.process_time()
    score([arm], ["accuracy", "f1_macro", "f1_weighted"], ScoreSettings(), True)
    assert time.process_time() - started < 3


def test_seeds_on_different_items_are_refused_by_name():
    one = predictions_of([0, 1], [0, 1], ids=["a", "b"])
    other = predictions_of([0, 1], [0, 1], ids=["a", "c"])
    with pytest.raises(RunError, match="2 and 2 items, of which 1 ids are shared"):
        score([one, other], None, SETTINGS, False)
    swapped = predictions_of([1, 0], [1, 0], ids=["b", "a"])
    with pytest.raises(RunError, match="the 2 items are in a different order"):
        score([one, swapped], None, SETTINGS, False)
    relabelled = predictions_of([0, 0], [0, 1], ids=["a", "b"])
    with pytest.raises(RunError, match="gold labels of 1 items differ, first b: pos and neg"):
        score([one, relabelled], None, SETTINGS, False)


def test_metrics_that_are_none_or_do_not_apply_are_refused():
    arm = predictions_of([0, 1], [0, 1])
    with pytest.raises(RunError, match=r"accurcy is not a metric\. Did you mean accuracy\?"):
        score([arm], ["accurcy"], SETTINGS, False)
    with pytest.raises(RunError, match="log_loss needs probabilities"):
        score([arm], ["log_loss"], SETTINGS, False)
    with pytest.raises(RunError, match="there are no predictions"):
        score([predictions_of([], [])], None, SETTINGS, False)


def note_of(metric, gold, predicted, groups=None):
    run = predictions_of(gold, predicted, groups)
    return score([run], [metric], ScoreSettings(), groups is not None)[metric].note


def test_a_few_golds_of_a_class_are_noted_where_the_class_weighs_as_much_as_the_others():
    gold = [0] * 195 + [1] * 5
    predicted = [0, 1] * 100
    assert "only" not in note_of("f1_macro", gold, predicted)
    rarer = [0] * 198 + [1] * 2
    for metric in ("f1_macro", "recall_macro", "precision_macro", "f1", "recall"):
        assert "only 2 items of pos" in note_of(metric, rarer, predicted)
    assert "only 1 item of pos" in note_of("f1", [0] * 199 + [1], predicted)
    for metric in ("accuracy", "f1_weighted"):
        assert "only 2 items" not in note_of(metric, rarer, predicted)
    assert "only" not in note_of("f1", [1] * 198 + [0] * 2, predicted), "the positive class is frequent"


def test_uneven_groups_are_noted_by_what_they_are_worth():
    gold, predicted = [0, 1] * 300, [0, 1, 1, 0] * 150
    even = [f"user {i // 20}" for i in range(600)]
    assert "groups" not in note_of("accuracy", gold, predicted, even)
    uneven = ["heavy user"] * 240 + [f"user {i % 29}" for i in range(360)]
    note = note_of("accuracy", gold, predicted, uneven)
    assert "30 groups of uneven size (the largest has 40 % of the items) are worth 6 equal ones" in note
    few = [f"user {i // 100}" for i in range(600)]
    assert "only 6 groups" in note_of("accuracy", gold, predicted, few)

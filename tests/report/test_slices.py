"""Slices by the user's own columns, and calibration before and after a temperature fitted on dev."""

from dataclasses import replace

import numpy as np
import pytest

from tests.report.made_study import predictions
from tuneproof.record.study_folder import Items
from tuneproof.report.slices import (
    ArmPredictions,
    constant_predictions,
    hardest_groups,
    measure_calibration,
    slice_scores,
)
from tuneproof.report.tables import ArmRow, Score
from tuneproof.score.calibration import fit_temperature

ROW = ArmRow("head", None, "head", "tuned", (), "done", "", {}, 10, 10, 1.0, 1, 1.0)
TABLE = predictions(200, 0.8, 1, 0.0, True)


def sliced(values: list[str], name: str = "source"):
    items = Items(list(TABLE.ids), ["two words"] * 200, [], [], {name: values})
    return slice_scores([ArmPredictions(0, ROW, (None,), (TABLE,))], items)[f"by {name}"]


def test_each_value_of_an_own_column_has_its_row() -> None:
    values = ["mail" if i % 4 else "web" for i in range(200)]
    found = sliced(values)
    assert [(part.name, part.items) for part in found] == [("mail", 150), ("web", 50)]
    right_N = TABLE.predicted_N == TABLE.gold_N
    assert found[1].accuracies[0].value == pytest.approx(right_N[::4].mean())


def test_many_numbers_are_cut_into_quarters_that_hold_every_item() -> None:
    found = sliced([str(year) for year in range(1800, 2000)], "year")
    assert [part.name for part in found] == ["1800 to 1849", "1850 to 1899", "1900 to 1949", "1950 to 1999"]
    assert [part.items for part in found] == [50] * 4


def test_the_positive_class_has_the_interval_of_recall_and_the_other_its_own() -> None:
    items = Items(list(TABLE.ids), ["two words"] * 200, [], [], {})
    recall = Score(float((TABLE.predicted_N[1::2] == 1).mean()), 0.61, 0.92, 200)
    for scores in ({"recall": recall}, {}):
        arm = ArmPredictions(0, replace(ROW, scores=scores), (None,), (TABLE,))
        negative, positive = slice_scores([arm], items)["by label"]
        assert (positive.name, positive.accuracies[0].value) == ("positive", pytest.approx(recall.value))
        assert (positive.accuracies[0] is recall) is bool(scores)
        assert negative.accuracies[0].low not in (None, recall.low)


def test_of_many_words_the_rare_ones_stand_together() -> None:
    found = sliced([f"shop {min(i, 180) // 6}" for i in range(200)], "shop")
    assert len(found) == 13
    assert found[-1].name == "19 rarer values"
    assert sum(part.items for part in found) == 200


def test_an_empty_cell_is_a_value_of_its_own() -> None:
    found = sliced(["" if i < 20 else "web" for i in range(200)])
    assert [(part.name, part.items) for part in found] == [("(empty)", 20), ("web", 180)]


def test_the_interval_of_the_hardest_group_holds_its_true_accuracy_although_it_was_chosen() -> None:
    rng, hits, studies = np.random.default_rng(0), 0, 200
    groups = [f"user {i % 60}" for i in range(60 * 20)]  # all alike: the hardest one is chance
    for _ in range(studies):
        right_N = (rng.random(len(groups)) < 0.8).astype(float)
        hardest = hardest_groups(groups, right_N)
        assert hardest is not None
        title, cut = hardest
        score = cut(right_N[None])[0].accuracies[0]
        hits += score.low <= 0.8 <= score.high
    assert "the 10 hardest of 60" in title
    assert hits / studies >= 0.93


def test_groups_of_two_items_are_not_ranked() -> None:
    assert hardest_groups([f"user {i // 2}" for i in range(40)], np.zeros(40)) is None


def test_the_temperature_comes_from_dev_and_the_error_from_test() -> None:
    dev = predictions(300, 0.8, 2, 0.0, True)
    found = measure_calibration([ArmPredictions(0, ROW, (None,), (TABLE,), (dev,))])[0]
    assert dev.probabilities_NC is not None
    assert found.temperatures == [fit_temperature(dev.probabilities_NC, dev.gold_N)]
    swapped = replace(dev, gold_N=1 - dev.gold_N)
    other = measure_calibration([ArmPredictions(0, ROW, (None,), (TABLE,), (swapped,))])[0]
    assert other.temperatures != found.temperatures
    assert other.error_before == found.error_before
    assert sum(b.items for b in found.before) == sum(b.items for b in found.after) == 200


def test_without_dev_there_is_no_temperature() -> None:
    found = measure_calibration([ArmPredictions(0, ROW, (None,), (TABLE,), (None,))])[0]
    assert (found.after, found.error_after, found.temperatures) == ([], None, [])
    assert np.isfinite(found.error_before)


def test_a_seed_that_tells_nothing_apart_is_said() -> None:
    flat = replace(TABLE, predicted_N=np.zeros_like(TABLE.predicted_N))
    said = constant_predictions([ArmPredictions(0, ROW, (0, 1), (TABLE, flat))])
    assert said == [
        "head, seed 1, predicts negative for every test item: it has learnt nothing that separates "
        "the labels."
    ]
    base = replace(ROW, kind="baseline")
    assert constant_predictions([ArmPredictions(0, base, (None,), (flat,))]) == []

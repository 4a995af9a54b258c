"""Scores on the test items without a lookalike."""

from types import SimpleNamespace

import numpy as np
import pytest

from tuneproof.inference.prediction import Predictions
from tuneproof.record.lookalikes import score_without_lookalikes
from tuneproof.settings import ScoreSettings

RECIPE = SimpleNamespace(task=SimpleNamespace(metrics=("accuracy",)), score=ScoreSettings())
IDS = [f"t{i}" for i in range(100)]


def _run(right):
    gold = np.arange(100) % 2
    predicted = np.where(np.arange(100) < right, gold, 1 - gold)
    zeros = np.zeros(100, dtype=np.int64)
    return Predictions(("neg", "pos"), IDS, IDS, gold, predicted, zeros, zeros.astype(bool))


def _record(alike):
    lookalikes = {"share": alike / 100, "items": alike, "ids": IDS[:alike]}
    return SimpleNamespace(
        splits={"lookalikes": lookalikes, "sizes": {"test": 100}, "grouped": False}, is_clustered=False
    )


def test_the_sentence_names_share_and_every_arms_score_on_the_other_items():
    arms = {"lexical": [_run(80)], "lora": [_run(90), _run(100)]}
    value = score_without_lookalikes(_record(60), RECIPE, arms)
    assert value["sentence"] == (
        "60.0 % of the test items have a lookalike in train; accuracy on the other 40 items: "
        "lexical 50.0 %, lora 87.5 %."
    )
    lexical = value["arms"][0]
    assert (lexical["all"]["n"], lexical["without"]["n"]) == (100, 40)
    assert lexical["without"]["low"] < 0.5 < lexical["without"]["high"]


@pytest.mark.parametrize("alike", [0, 5])
def test_few_lookalikes_change_no_verdict(alike):
    assert score_without_lookalikes(_record(alike), RECIPE, {"lexical": [_run(80)]}) is None


def test_a_study_of_before_has_no_lookalikes():
    record = SimpleNamespace(is_clustered=False, splits={"sizes": {"test": 100}})
    assert score_without_lookalikes(record, RECIPE, {"lexical": [_run(80)]}) is None


def test_without_other_items_the_sentence_says_so():
    value = score_without_lookalikes(_record(100), RECIPE, {"lexical": [_run(80)]})
    assert value["arms"][0]["without"] is None
    assert value["sentence"] == (
        "100.0 % of the test items have a lookalike in train: no score here shows performance on new text."
    )

"""Labels are left out where dev says so, and what dev cannot show is refused."""

from pathlib import Path

import numpy as np
import pytest

from tuneproof.apply.abstaining import AbstainingPredictions, read_abstaining
from tuneproof.errors import RecipeError, RunError
from tuneproof.inference.prediction import Predictions, write_predictions
from tuneproof.record.study_folder import DEV_PREDICTIONS


def predictions(sure_N: np.ndarray, right_N: np.ndarray) -> Predictions:
    n = len(sure_N)
    ids = [str(i) for i in range(n)]
    gold_N = (~right_N).astype(np.int64)
    probabilities_NC = np.stack([sure_N, 1 - sure_N], axis=1)
    zeros_N, ones_N = np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.int64)
    return Predictions(("no", "yes"), ids, ids, gold_N, zeros_N, ones_N, zeros_N > 0, probabilities_NC)


@pytest.fixture
def arm(tmp_path) -> Path:
    """An arm that is right on the 300 dev items of which it is sure, and half right on 100 others."""
    sure_N = np.concatenate([np.linspace(0.9, 0.99, 300), np.linspace(0.5, 0.6, 100)])
    right_N = np.concatenate([np.ones(300, dtype=bool), np.arange(100) % 2 == 0])
    write_predictions(tmp_path / DEV_PREDICTIONS, predictions(sure_N, right_N), {})
    return tmp_path


def test_it_abstains_from_what_it_is_not_sure_of_and_names_the_labels_that_may_be_right(arm) -> None:
    abstaining = read_abstaining(arm, 0.05)
    assert 0.6 < abstaining.answers.threshold <= 0.95
    new = predictions(np.array([0.98, 0.52]), np.array([True, True]))
    labelled = AbstainingPredictions.of(new, abstaining)
    assert labelled.predicted_labels == ["no", None]
    assert labelled.label_sets == [["no"], ["no", "yes"]]


def test_what_dev_cannot_show_is_refused(arm, tmp_path) -> None:
    with pytest.raises(RunError, match=r"its 400 dev items cannot show an error of at most 0\.1 %"):
        read_abstaining(arm, 0.001)
    with pytest.raises(RecipeError, match="Allowed: a share between 0 and 1"):
        read_abstaining(arm, 5)
    with pytest.raises(RunError, match="has no probabilities on dev"):
        read_abstaining(tmp_path / "elsewhere", 0.05)

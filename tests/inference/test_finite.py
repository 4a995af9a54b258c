"""Any number of a model's output that is not finite is refused, with the items that it belongs to."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.score.arms import predictions_of
from tuneproof.context.study_data import as_answers, as_predictions
from tuneproof.errors import RunError
from tuneproof.inference.finite import NonfiniteItemsError, naming_items, refuse_nonfinite_items
from tuneproof.inference.generate import NONFINITE_TOKEN, _greedy_tokens
from tuneproof.inference.prediction import read_predictions, write_predictions
from tuneproof.tasks.task import Example, Question

BAD = st.sampled_from([np.nan, np.inf, -np.inf])
ITEMS = [Example(f"item-{i}", "text", i % 2, f"g{i}") for i in range(6)]
COUNTS = np.zeros(6, dtype=np.int64)
FLAGS = np.zeros(6, dtype=bool)


@given(BAD, st.integers(0, 5), st.integers(0, 1), st.booleans())
def test_a_probability_that_is_not_finite_is_refused_by_its_item(bad, row, column, uncalibrated):
    good, damaged = np.full((6, 2), 0.5), np.full((6, 2), 0.5)
    damaged[row, column] = bad
    both = (good, damaged) if uncalibrated else (damaged, good)
    with pytest.raises(RunError, match=rf"1 of 6 items \(item-{row}\) are not finite"):
        as_predictions(("a", "b"), ITEMS, both[0], COUNTS, FLAGS, uncalibrated_NC=both[1])


@given(BAD, st.integers(0, 5), st.booleans())
def test_a_null_or_answer_score_that_is_not_finite_is_refused_by_its_item(bad, row, null):
    items = [Example(e.id, "text", 0, e.group, question=Question("q", "text", ("a",), "p")) for e in ITEMS]
    scores = [np.zeros(6), np.zeros(6)]
    scores[0 if null else 1][row] = bad
    with pytest.raises(RunError, match=f"item-{row}"):
        as_answers(items, ["a"] * 6, *scores, COUNTS, FLAGS, FLAGS)


@given(st.lists(st.integers(0, 5), min_size=1, unique=True))
def test_the_first_items_are_named_and_all_are_counted(rows):
    with pytest.raises(RunError) as caught, naming_items(ITEMS):
        refuse_nonfinite_items(rows)
    assert f"{len(rows)} of 6 items (item-{min(rows)}" in str(caught.value)
    assert "fp32" in str(caught.value)
    refuse_nonfinite_items([])


def test_a_token_is_chosen_from_finite_logits_alone():
    nan, inf = float("nan"), float("inf")
    logits = torch.tensor([[0.0, 1.0], [nan, 1.0], [1.0, nan], [inf, 0.0], [-inf, 0.0], [-inf, -inf]])
    bad = NONFINITE_TOKEN
    assert _greedy_tokens(logits).tolist() == [1, bad, bad, bad, 1, bad]


def test_an_error_about_items_by_their_indices_is_an_error_of_the_run():
    with pytest.raises(RunError, match="2 items are not finite"):
        raise NonfiniteItemsError([1, 4])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_file_of_predictions_with_such_a_number_is_refused(tmp_path: Path, bad):
    made = predictions_of(np.array([0, 1, 1]), np.array([0, 1, 0]), confidence=[0.9] * 3)
    path = write_predictions(tmp_path / "predictions.parquet", made, {})
    assert len(read_predictions(path)) == 3
    table = pq.read_table(path)
    rows = table.column("probabilities").to_pylist()
    rows[1] = [bad, 0.1]
    index = table.column_names.index("probabilities")
    pq.write_table(table.set_column(index, "probabilities", [rows]), path)
    with pytest.raises(RunError, match="is not finite"):
        read_predictions(path)

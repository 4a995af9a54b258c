"""Predictions for questions: a file and back, thresholds, order."""

import json

import numpy as np
import pyarrow.parquet as pq

from tests.score.answered import answered
from tuneproof.inference.answers import AnswerPredictions
from tuneproof.inference.prediction import read_predictions, write_predictions


def test_a_written_file_reads_back_equal(tmp_path):
    predictions = answered(["x y", None, "z"], ["x y", "w", ""], [-1.5, 2.0, 0.5]).with_threshold(1.0)
    path = write_predictions(tmp_path / "p.parquet", predictions, {"arm": "full"})
    restored = read_predictions(path)
    assert isinstance(restored, AnswerPredictions)
    for name in ("ids", "groups", "paragraphs", "golds", "answers", "texts", "nbest"):
        assert list(getattr(restored, name)) == list(getattr(predictions, name))
    assert restored.threshold == 1.0
    assert np.array_equal(restored.null_N, predictions.null_N)
    table = pq.read_table(path)
    assert table.column("predicted").to_pylist() == ["x y", "", ""]
    assert table.column("golds").to_pylist() == [["x y"], [], ["z"]]
    assert json.loads(table.column("nbest")[0].as_py()) == [{"text": "x y", "score": 1.5}]
    about = json.loads(table.schema.metadata[b"tuneproof"])
    assert (about["kind"], about["threshold"], about["arm"]) == ("questions", 1.0, "full")


def test_a_threshold_withholds_what_is_above_it():
    predictions = answered(["x", None], ["x", "y"], [0.5, 0.7])
    assert predictions.texts == ["", ""]  # the default is 0
    assert predictions.with_threshold(0.6).texts == ["x", ""]
    assert predictions.with_threshold(0.7).texts == ["x", "y"], "at the threshold itself there is an answer"
    assert predictions.with_threshold(0.6).right_N.tolist() == [True, True]
    assert predictions.with_threshold(0.6).predicted_N.tolist() == [0, 1]
    assert predictions.gold_N.tolist() == [0, 1]


def test_rows_can_be_reordered():
    predictions = answered(["x", None, "z"], ["a", "b", "c"], [1.0, 2.0, 3.0])
    reordered = predictions.take([2, 0])
    assert reordered.ids == ["q2", "q0"]
    assert reordered.answers == ["c", "a"]
    assert reordered.null_N.tolist() == [3.0, 1.0]
    assert reordered.golds == [("z",), ("x",)]

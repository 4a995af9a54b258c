"""The row of questions: a file and back, thresholds, order."""

import json

import numpy as np
import pyarrow.parquet as pq

from tests.score.answered import answered
from tuneproof.inference.answers import AnswerPredictions
from tuneproof.inference.prediction import read_predictions, write_predictions


def test_what_is_written_is_read_back(tmp_path):
    found = answered(["x y", None, "z"], ["x y", "w", ""], [-1.5, 2.0, 0.5]).at(1.0)
    path = write_predictions(tmp_path / "p.parquet", found, {"arm": "full"})
    back = read_predictions(path)
    assert isinstance(back, AnswerPredictions)
    for name in ("ids", "groups", "paragraphs", "golds", "answers", "texts", "nbest"):
        assert list(getattr(back, name)) == list(getattr(found, name))
    assert back.threshold == 1.0
    assert np.array_equal(back.null_N, found.null_N)
    table = pq.read_table(path)
    assert table.column("predicted").to_pylist() == ["x y", "", ""]
    assert table.column("golds").to_pylist() == [["x y"], [], ["z"]]
    assert json.loads(table.column("nbest")[0].as_py()) == [{"text": "x y", "score": 1.5}]
    about = json.loads(table.schema.metadata[b"tuneproof"])
    assert (about["kind"], about["threshold"], about["arm"]) == ("questions", 1.0, "full")


def test_a_threshold_withholds_what_is_above_it():
    found = answered(["x", None], ["x", "y"], [0.5, 0.7])
    assert found.texts == ["", ""]  # the default is 0
    assert found.at(0.6).texts == ["x", ""]
    assert found.at(0.7).texts == ["x", "y"], "at the threshold itself the answer stands"
    assert found.at(0.6).right_N.tolist() == [True, True]
    assert found.at(0.6).predicted_N.tolist() == [0, 1]
    assert found.gold_N.tolist() == [0, 1]


def test_rows_can_be_taken_in_another_order():
    found = answered(["x", None, "z"], ["a", "b", "c"], [1.0, 2.0, 3.0])
    taken = found.take([2, 0])
    assert taken.ids == ["q2", "q0"]
    assert taken.answers == ["c", "a"]
    assert taken.null_N.tolist() == [3.0, 1.0]
    assert taken.golds == [("z",), ("x",)]

"""Predictions read back equal, without torch."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tuneproof.errors import RunError
from tuneproof.inference.prediction import Predictions, read_predictions, write_predictions
from tuneproof.metrics.metric import UNPARSED


def make_predictions(probabilities: bool = True, texts: bool = False) -> Predictions:
    random = np.random.default_rng(0)
    return Predictions(
        labels=("negativ", "positiv", "weder ☯"),
        ids=["a", "ü", "c", "d"],
        groups=["g", "g", "h", "i"],
        gold_N=np.array([0, 1, 2, 1]),
        predicted_N=np.array([0, UNPARSED, 2, 0]),
        tokens_N=np.array([3, 4, 5, 600]),
        truncated_N=np.array([False, False, False, True]),
        probabilities_NC=random.random((4, 3)) if probabilities else None,
        uncalibrated_NC=random.random((4, 3)) if probabilities else None,
        texts=["positiv", "", "line\nline", "\x1b[31m"] if texts else None,
    )


@pytest.mark.parametrize("probabilities", [True, False])
@pytest.mark.parametrize("texts", [True, False])
def test_predictions_read_back_exactly(tmp_path, probabilities, texts) -> None:
    predictions = make_predictions(probabilities, texts)
    restored = read_predictions(write_predictions(tmp_path / "p.parquet", predictions, {"arm": "x"}))
    for name in ("labels", "ids", "groups", "texts"):
        assert getattr(restored, name) == getattr(predictions, name), name
    for name in ("gold_N", "predicted_N", "tokens_N", "truncated_N"):
        assert np.array_equal(getattr(restored, name), getattr(predictions, name)), name
    for name in ("probabilities_NC", "uncalibrated_NC"):
        if probabilities:
            assert np.array_equal(getattr(restored, name), getattr(predictions, name)), "float64, bit by bit"
        else:
            assert getattr(restored, name) is None
    assert len(restored) == 4


def test_an_unparsed_answer_is_null_in_the_file(tmp_path) -> None:
    table = pq.read_table(write_predictions(tmp_path / "p.parquet", make_predictions(), {}))
    assert table.column("predicted").to_pylist() == ["negativ", None, "weder ☯", "negativ"]
    assert table.column_names == [
        "id",
        "group",
        "gold",
        "predicted",
        "probabilities",
        "uncalibrated",
        "text",
        "tokens",
        "truncated",
    ]


def test_no_predictions_at_all_are_still_a_file(tmp_path) -> None:
    empty = Predictions(
        ("a", "b"),
        [],
        [],
        *(np.array([], dtype=np.int64) for _ in range(3)),
        truncated_N=np.array([], dtype=bool),
    )
    assert len(read_predictions(write_predictions(tmp_path / "p.parquet", empty, {}))) == 0


def test_another_file_is_an_error_that_names_it(tmp_path) -> None:
    with pytest.raises(RunError, match=r"a\.parquet: does not exist\. Run the arm again"):
        read_predictions(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"no parquet")
    with pytest.raises(RunError, match=r"b\.parquet: is not a file of predictions"):
        read_predictions(tmp_path / "b.parquet")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "c.parquet")
    with pytest.raises(RunError, match=r"c\.parquet: is not a file of predictions"):
        read_predictions(tmp_path / "c.parquet")
    path = write_predictions(tmp_path / "d.parquet", make_predictions(), {})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RunError, match=r"d\.parquet: is not a file of predictions"):
        read_predictions(path)


def test_an_unknown_label_is_an_error_that_names_it(tmp_path) -> None:
    path = write_predictions(tmp_path / "p.parquet", make_predictions(), {})
    table = pq.read_table(path)
    column = table.column_names.index("gold")
    table = table.set_column(column, "gold", pa.array(["negativ", "other", "positiv", "positiv"]))
    pq.write_table(table, path)
    with pytest.raises(RunError, match="other"):
        read_predictions(path)


def test_predictions_are_read_without_torch(tmp_path) -> None:
    path = write_predictions(tmp_path / "p.parquet", make_predictions(), {})
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['transformers'] = None\n"
        "from pathlib import Path\n"
        "from tuneproof.inference.prediction import read_predictions\n"
        f"print(len(read_predictions(Path({str(path)!r}))))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert process.stdout.strip() == "4", process.stderr

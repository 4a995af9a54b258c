"""The confusion matrices as a file: every label, every arm, nothing that a spreadsheet runs."""

import csv
import io
from types import SimpleNamespace

from tuneproof.report.confusion_csv import confusion_csv
from tuneproof.report.slices import Confusion


def _matrix(arm: str, labels: tuple[str, ...], counts: list[list[int]], seeds: int = 1) -> Confusion:
    predictions = SimpleNamespace(row=SimpleNamespace(label=arm), runs=[None] * seeds)
    return Confusion(predictions, labels, counts, 0, 0)


def test_each_of_many_labels_has_its_row_and_column():
    labels = tuple(f"label {number}" for number in range(30))
    counts = [[row * 31 + column for column in range(31)] for row in range(30)]
    rows = list(csv.DictReader(io.StringIO(confusion_csv([_matrix("head", labels, counts)]))))
    assert [row["gold"] for row in rows] == list(labels)
    assert rows[29]["predicted label 7"] == str(29 * 31 + 7)
    assert rows[29]["unparsed"] == str(29 * 31 + 30)


def test_arms_stand_below_each_other_and_names_run_nothing():
    matrices = [_matrix(arm, ("=cmd()", "b"), [[1, 2, 0], [3, 4, 5]], 3) for arm in ("lexical", "+head")]
    rows = list(csv.DictReader(io.StringIO(confusion_csv(matrices))))
    assert [row["arm"] for row in rows] == ["lexical", "lexical", "'+head", "'+head"]
    assert {row["seeds"] for row in rows} == {"3"}
    assert rows[0]["gold"] == "'=cmd()"
    assert rows[1]["unparsed"] == "5"

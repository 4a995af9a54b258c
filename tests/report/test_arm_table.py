"""The table of arms: scores on dev beside those on test, and each time once."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.record.priced_study import arm, write_study
from tuneproof.record.conclude import conclude_again
from tuneproof.record.study_folder import read_study
from tuneproof.report.arm_table import STUDY_RATE, arm_table, arm_terms, terminal_columns
from tuneproof.report.page import render
from tuneproof.report.tables import arm_rows, pooled_rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    arms = arm("a", 0.1, 0.1, wrong_on_dev=0.2), arm("b", 0.3, 0.1, time_s={"load": 2.0, "predict": 3.0})
    write_study(tmp_path, *arms)
    return tmp_path


def test_the_scores_on_dev_stand_beside_those_on_test_with_their_intervals(folder: Path) -> None:
    table = arm_table(read_study(folder))
    assert table.header[:4] == ("Arm", "Seeds", "Accuracy on test, %", "Accuracy on dev, %")
    assert [row[2][:6] for row in table.rows] == ["90.0 [", "70.0 ["]
    assert [row[3][:6] for row in table.rows] == ["80.0 [", "70.0 ["]
    terms = dict(arm_terms(read_study(folder), "95"))
    assert terms["Accuracy on test"].startswith(
        "the 2,000 test items, which decide only which arms are as good as the best on dev, with a 95 %"
    )
    assert terms["Accuracy on dev"].startswith("the 400 dev items, which choose")
    paths = render(folder)
    for text in (paths.markdown.read_text("utf-8"), paths.html.read_text("utf-8")):
        assert "Accuracy on dev, %" in text
        assert table.rows[0][3] in text
    strip = paths.html.read_text("utf-8").split('id="scores"')[1].split("</section>")[0]
    assert f"dev {table.rows[0][3]}" in strip
    pooled = json.loads(paths.json.read_text("utf-8"))["pooled"]
    assert [entry["dev_scores"]["accuracy"]["value"] for entry in pooled] == [0.8, 0.7]


def test_a_study_concluded_before_scores_on_dev_gets_them_when_it_is_rendered_again(
    folder: Path, tmp_path: Path
) -> None:
    old, moved = (Path(shutil.copytree(folder, tmp_path / name)) for name in ("old", "moved"))
    for study in (old, moved):
        path = study / "comparisons.json"
        compared = json.loads(path.read_text("utf-8"))
        for entry in compared["arms"]:
            del entry["dev_scores"]
        path.write_text(json.dumps(compared))
    for path in moved.glob("arms/*/dev_predictions.parquet"):
        path.unlink()
    assert "Accuracy on dev, %" not in arm_table(read_study(old)).header
    conclude_again(old)
    conclude_again(moved)
    assert "Accuracy on dev, %" in arm_table(read_study(old)).header
    assert "Accuracy on dev, %" not in arm_table(read_study(moved)).header, "without predictions of dev"


def test_one_of_several_seeds_does_not_have_the_scores_of_all(tmp_path: Path) -> None:
    study = write_study(tmp_path, arm("a", 0.1, 0.1), arm("b", 0.3, 0.1))
    twin = replace(study, arms=[*study.arms, study.arms[0]])
    assert [bool(row.dev_scores) for row in pooled_rows(twin)] == [True, True]
    assert [bool(row.dev_scores) for row in arm_rows(twin)] == [False, True, False]


def test_training_time_is_what_is_paid_once_and_the_only_time_of_an_arm(folder: Path) -> None:
    table = arm_table(read_study(folder))
    assert [row[table.header.index("Training time")] for row in table.rows] == ["10 s", "0 s"]
    text = render(folder).markdown.read_text("utf-8")
    assert "Total time" not in text
    assert [line.count("Training time") for line in text.splitlines() if "| Training time |" in line] == [1]


def test_the_rate_of_the_study_stands_only_where_no_arm_was_timed(tmp_path: Path) -> None:
    timed = write_study(tmp_path / "timed", arm("a", 0.1, 0.1), arm("b", 0.3, 0.1))
    untimed = write_study(tmp_path / "not", *(arm(n, 0.1, None, items_per_s=9.0) for n in "ab"))
    assert STUDY_RATE not in arm_table(timed).header
    assert STUDY_RATE in arm_table(untimed).header
    assert STUDY_RATE in dict(arm_terms(untimed, "95"))


def test_the_terminal_has_the_scores_on_test_alone(folder: Path) -> None:
    table = arm_table(read_study(folder))
    names = [table.header[column] for column in terminal_columns(table)]
    assert names == ["Arm", "Accuracy on test, %", "Trainable", "Training time", "Peak memory"]

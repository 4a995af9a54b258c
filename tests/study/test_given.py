"""A study with predictions from elsewhere: the same items, the same statistics, nothing filled in."""

import csv
import json

import pytest

from tests.arms.small import small_recipe
from tests.monitoring import run_recorded
from tuneproof.cli.main import main
from tuneproof.errors import DataError, TuneproofError
from tuneproof.inference.prediction import read_predictions
from tuneproof.study.plan import check
from tuneproof.study.resume import ResumePolicy
from tuneproof.study.run import run_study


def rows_in(tmp_path):
    small_recipe(tmp_path, [], ["majority"])
    with open(tmp_path / "rows-2.csv", encoding="utf-8") as file:
        return [
            (f"row-{number}", row["text"], row["label"]) for number, row in enumerate(csv.DictReader(file), 2)
        ]


def given_file(tmp_path, rows, header=("id", "predicted"), name="given.csv"):
    with open(tmp_path / name, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return str(tmp_path / name)


def recipe_of(tmp_path, path, **options):
    return small_recipe(tmp_path, [], ["majority", {"given": {"path": path, **options}}])


def predictions_of(tmp_path, arm="given"):
    return read_predictions(tmp_path / "study" / "arms" / arm / "predictions.parquet")


def test_right_predictions_are_right_and_a_missing_one_is_a_class_of_its_own(tmp_path):
    rows = rows_in(tmp_path)
    path = given_file(tmp_path, [(id, label) for id, _, label in rows])
    run_recorded(recipe_of(tmp_path, path))
    predictions = predictions_of(tmp_path)
    assert predictions.right_N.all()
    missing = predictions.ids[0]
    given_file(tmp_path, [(id, label) for id, _, label in rows if id != missing])
    monitor = run_recorded(recipe_of(tmp_path, path), resume=ResumePolicy(restart=("given",)))
    again = predictions_of(tmp_path)
    assert again.predicted_label(0) is None
    assert not again.right_N[0]
    assert again.right_N[1:].all()
    assert "1 of 12 test items have no prediction" in monitor.text


def test_texts_match_where_there_are_no_ids(tmp_path):
    rows = rows_in(tmp_path)
    path = given_file(tmp_path, [(text, label) for _, text, label in rows], ("review", "predicted"))
    run_recorded(recipe_of(tmp_path, path, text="review"))
    assert predictions_of(tmp_path).right_N.all()


def test_longer_texts_are_parsed_and_what_names_no_label_is_counted(tmp_path):
    rows = rows_in(tmp_path)
    replies = [f"**{label.title()}**. Because." for *_, label in rows]
    replies[::2] = ["I cannot tell."] * len(replies[::2])
    path = given_file(tmp_path, [(id, reply) for (id, *_), reply in zip(rows, replies, strict=True)])
    monitor = run_recorded(recipe_of(tmp_path, path))
    predictions = predictions_of(tmp_path)
    unparsed = (predictions.predicted_N < 0).sum()
    assert 0 < unparsed < len(predictions)
    assert predictions.right_N.sum() == len(predictions) - unparsed
    assert f"{unparsed} of 12 test predictions name no label" in monitor.text


def test_a_file_of_other_items_is_refused_before_anything_runs(tmp_path):
    path = given_file(tmp_path, [("x1", "positive")])
    with pytest.raises(DataError, match="no row belongs to a dev or test item"):
        check(recipe_of(tmp_path, path))
    with pytest.raises(TuneproofError):
        run_study(recipe_of(tmp_path, path))
    assert not (tmp_path / "study").exists()


def test_a_missing_file_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        check(recipe_of(tmp_path, str(tmp_path / "none.csv")))


def test_a_changed_file_is_another_arm(tmp_path):
    rows = rows_in(tmp_path)
    path = given_file(tmp_path, [(id, label) for id, _, label in rows])
    run_recorded(recipe_of(tmp_path, path))
    given_file(tmp_path, [(id, "positive") for id, *_ in rows])
    with pytest.raises(TuneproofError, match=r"given\.csv"):
        run_recorded(recipe_of(tmp_path, path))


def test_what_predict_writes_is_read_back_with_its_probabilities(tmp_path, capsys):
    rows = rows_in(tmp_path)
    run_recorded(small_recipe(tmp_path, [], ["majority", "lexical"], out="first"))
    arm, out = str(tmp_path / "first" / "arms" / "lexical"), str(tmp_path / "labelled.csv")
    given_file(tmp_path, [(id, text) for id, text, _ in rows], ("id", "text"), "texts.csv")
    assert main(["predict", arm, "--input", str(tmp_path / "texts.csv"), "--output", out]) == 0
    capsys.readouterr()
    run_recorded(recipe_of(tmp_path, out))
    first = read_predictions(tmp_path / "first" / "arms" / "lexical" / "predictions.parquet")
    assert (first.predicted_N == predictions_of(tmp_path).predicted_N).all()
    assert abs(first.probabilities_NC - predictions_of(tmp_path).probabilities_NC).max() < 1e-6


def test_tokens_are_added_up_and_no_memory_or_time_is_invented(tmp_path):
    rows = rows_in(tmp_path)
    path = given_file(
        tmp_path,
        [(id, label, 10, 2) for id, _, label in rows],
        ("id", "predicted", "input_tokens", "output_tokens"),
    )
    run_recorded(recipe_of(tmp_path, path))
    arm = tmp_path / "study" / "arms" / "given"
    ledger = json.loads((arm / "ledger.json").read_text())
    count = len(predictions_of(tmp_path)) + len(read_predictions(arm / "dev_predictions.parquet"))
    assert ledger["usage"] == {"input_tokens": 10 * count, "output_tokens": 2 * count, "requests": count}
    assert json.loads((arm / "arm.json").read_text())["time_s"] == {}
    line = next(
        line for line in (tmp_path / "study" / "report.md").read_text().splitlines() if "| given" in line
    )
    assert "MiB" not in line

"""Further test sets in a study: scored by every arm, at once or later, and they change nothing else."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tests.arms.small import rows_of, small_recipe, write_rows
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.errors import DataError
from tuneproof.inference.prediction import read_predictions, read_predictions_about
from tuneproof.record.study_folder import read_items
from tuneproof.study.plan import check

FURTHER = "predictions.tweets.parquet"
OTHER = {"positive": "negative", "negative": "positive"}
REVERSED = [(f"omg {text} lol", OTHER[label]) for text, label in rows_of(tuple(sorted(OTHER)), 20)]


def recipe_with(folder, tests=None, models=(), arms=("majority", "lexical"), **more):
    claim = {"arm": "lexical", "over": "majority"}
    settings = {"claim": claim, **more, **({"tests": tests} if tests else {})}
    return small_recipe(folder, list(models), list(arms), **settings)


def tweets(folder, rows=REVERSED, name="tweets.csv"):
    return str(write_rows(folder / name, rows))


def report_of(recipe):
    return json.loads((Path(recipe.out) / "report.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A study whose further set has the labels the other way round."""
    folder = tmp_path_factory.mktemp("further")
    recipe = recipe_with(folder, {"tweets": tweets(folder)})
    run_recorded(recipe)
    return recipe


def test_every_arm_is_scored_there_and_the_verdict_says_where_one_breaks(broken) -> None:
    (entry,) = report_of(broken)["tests"]
    lexical = next(arm for arm in entry["arms"] if arm["arm"] == "lexical")
    assert lexical["scores"]["accuracy"]["n"] == entry["items"] == 20
    assert lexical["drop"]["is_shown"]
    assert lexical["drop"]["low"] > 0.3
    sentence = report_of(broken)["verdict"]["sentence"]
    assert "On tweets (20 items) lexical loses " in sentence
    assert "The claim does not hold there: lexical is worse than majority" in sentence


def test_the_report_has_a_table_of_arms_and_sets(broken) -> None:
    markdown = (Path(broken.out) / "report.md").read_text("utf-8")
    assert "## Further test sets" in markdown
    assert "drop on tweets" in markdown
    assert '<h3 id="further">Further test sets</h3>' in (Path(broken.out) / "report.html").read_text("utf-8")


def test_its_items_are_stored_beside_the_others(broken) -> None:
    items = read_items(Path(broken.out), "tests.tweets")
    assert items.texts == [text for text, _ in REVERSED]
    assert len(read_items(Path(broken.out), "test").texts) == report_of(broken)["split"]["sizes"]["test"]


def test_a_further_set_changes_no_split_and_no_prediction(tmp_path, broken) -> None:
    plain = recipe_with(tmp_path)
    run_recorded(plain)
    for arm in ("majority", "lexical"):
        ours, theirs = (
            read_predictions(Path(recipe.out) / "arms" / arm / "predictions.parquet")
            for recipe in (plain, broken)
        )
        assert ours.ids == theirs.ids
        assert np.array_equal(ours.probabilities_NC, theirs.probabilities_NC)


def test_a_set_added_later_is_predicted_by_the_saved_arms_to_the_same_bits(tmp_path) -> None:
    models = [tiny_model(tmp_path / "llama", "llama")]
    arms = ["lexical", "zero-shot", "head", {"lora": {"learning_rate": 5e-3}}]
    tests = {"tweets": tweets(tmp_path)}
    claim = {"arm": "lora", "over": "lexical"}
    once = recipe_with(tmp_path, tests, models, arms, claim=claim)
    run_recorded(once)
    files = sorted((Path(once.out) / "arms").glob(f"*/{FURTHER}"))
    assert len(files) == 4
    before = [read_predictions(file) for file in files]
    for file in files:
        file.unlink()
    monitor = run_recorded(once)
    assert monitor.text.count("nothing was trained again") == 4
    for file, first in zip(files, before, strict=True):
        again = read_predictions(file)
        assert list(again.ids) == list(first.ids)
        assert np.array_equal(again.probabilities_NC, first.probabilities_NC)


def test_a_file_that_changed_is_predicted_again(tmp_path) -> None:
    recipe = recipe_with(tmp_path, {"tweets": tweets(tmp_path)})
    run_recorded(recipe)
    file = Path(recipe.out) / "arms" / "lexical" / FURTHER
    first = read_predictions_about(file)["items"]
    tweets(tmp_path, REVERSED[:7])
    assert "lexical is scored on tweets" in run_recorded(recipe).text
    assert read_predictions_about(file)["items"] != first
    assert report_of(recipe)["tests"][0]["items"] == 7
    assert "is scored on" not in run_recorded(recipe).text


def test_an_arm_without_weights_is_named_and_left_out(tmp_path) -> None:
    models = [tiny_model(tmp_path / "llama", "llama")]
    recipe = recipe_with(
        tmp_path, None, models, ["lexical", "head"], claim={"arm": "head", "over": "lexical"}
    )
    run_recorded(recipe)
    weights = Path(recipe.out) / "arms" / "llama.head" / "weights"
    weights.rename(tmp_path / "moved")
    later = recipe_with(
        tmp_path,
        {"tweets": tweets(tmp_path)},
        models,
        ["lexical", "head"],
        claim={"arm": "head", "over": "lexical"},
    )
    monitor = run_recorded(later)
    assert "head is not scored on tweets" in monitor.text
    assert "--restart head" in monitor.text
    assert report_of(later)["tests"][0]["not_scored"] == ["head"]


def test_items_that_are_in_train_are_counted_and_said(tmp_path) -> None:
    rows = rows_of(("negative", "positive"), 60)
    plan = check(recipe_with(tmp_path, {"copy": tweets(tmp_path, rows)}))
    (further,) = plan.study.tests
    sizes = plan.study.splits.report["sizes"]
    assert further.report["overlap"]["items"] == sizes["train"]
    assert further.report["in_test"] == sizes["test"]
    names = {finding.name: finding.level for finding in plan.findings}
    assert names["leak_copy"] == names["in_test_copy"] == "warning"


def test_a_label_of_another_study_stops_it_before_anything_runs(tmp_path) -> None:
    path = tweets(tmp_path, [("fine", "neutral")])
    with pytest.raises(DataError, match="not one of the study's, negative, positive"):
        check(recipe_with(tmp_path, {"tweets": path}))


def test_predictions_from_elsewhere_are_read_for_these_items_too(tmp_path) -> None:
    with open(tmp_path / "given.csv", "w", newline="", encoding="utf-8") as file:
        rows = [(f"row-{number}", "positive") for number in range(2, 62)]
        rows += [(f"tweets-{number}", "negative") for number in range(2, 22)]
        csv.writer(file).writerows([("id", "predicted"), *rows])
    arms = ["majority", {"given": {"path": str(tmp_path / "given.csv")}}]
    tests = {"tweets": tweets(tmp_path), "other": tweets(tmp_path, REVERSED, "other.csv")}
    recipe = recipe_with(tmp_path, tests, (), arms, claim={"arm": "given", "over": "majority"})
    run_recorded(recipe)
    of_tweets, of_other = report_of(recipe)["tests"]
    assert [arm["scores"]["accuracy"]["value"] for arm in of_tweets["arms"] if arm["arm"] == "given"] == [0.5]
    assert of_other["not_scored"] == ["given"]

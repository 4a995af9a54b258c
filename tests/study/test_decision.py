"""A study whose labels are decided by dev: every way to use an arm gives the labels of its test items."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tuneproof
from tests.arms.small import arm_of, folder_of, rows_of, small_recipe, write_rows
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.apply.labels import predict
from tuneproof.arms.baseline import run_baseline
from tuneproof.arms.decide import decide_on_dev
from tuneproof.arms.further_tests import with_test
from tuneproof.context.monitor import Monitor
from tuneproof.errors import RecipeError
from tuneproof.inference.prediction import read_predictions
from tuneproof.publish.publish_arm import publish_arm
from tuneproof.record.study_folder import read_items
from tuneproof.study.checks import unweighted_arms
from tuneproof.study.plan import check

LABELS = ("negative", "positive")
COSTS = {"positive": {"negative": 30}}
FURTHER = "predictions.later.parquet"


def imbalanced(folder: Path) -> Path:
    """Rows that are positive where they say so, but only one time out of three: never the likelier label."""
    rows, rng = rows_of(LABELS, 120), np.random.default_rng(0)
    praise = [(text, "positive" if rng.random() < 1 / 3 else "negative") for text, _ in rows[60:]]
    return write_rows(folder / "imbalanced.csv", [*rows[:60], *praise])


def recipe_of(folder: Path, arms, models=(), **sections):
    path = imbalanced(folder)
    task = {"labels": {"path": str(path), "labels": list(LABELS)}}
    sections = {"predict": {"timing_s": 0}, **sections}
    return small_recipe(folder, list(models), list(arms), task=task, **sections)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of costs with a baseline, a head, an arm without probabilities, and a further test set."""
    folder = tmp_path_factory.mktemp("decision")
    later = write_rows(folder / "later.csv", rows_of(LABELS, 30))
    model = tiny_model(folder / "model", "distilbert")
    replies = folder / "replies.csv"
    with open(replies, "w", newline="", encoding="utf-8") as file:
        texts = [text for text, _ in rows_of(LABELS, 120)]
        csv.writer(file).writerows([("text", "prediction"), *((text, "negative") for text in texts)])
    recipe = recipe_of(
        folder,
        ["majority", "lexical", "head", {"given": {"path": str(replies), "text": "text"}}],
        [model],
        decision={"costs": COSTS},
        tests={"later": str(later)},
        claim={"arm": "head", "over": "majority", "metric": "mean_cost"},
    )
    run_recorded(recipe)
    return recipe


def report_of(recipe):
    return json.loads((Path(recipe.out) / "report.json").read_text("utf-8"))


def test_the_costs_are_scored_and_decide_the_verdict(study):
    report = report_of(study)
    assert report["metric"] == "mean_cost"
    for arm in report["arms"]:
        test = read_predictions(folder_of(study, arm["arm"]) / "predictions.parquet")
        cost_N = test.costs_CC[test.gold_N, test.predicted_N]
        assert arm["scores"]["mean_cost"]["value"] == pytest.approx(cost_N.mean())
    assert "mean cost" in report["verdict"]["headline"]


@pytest.mark.parametrize("arm", ["lexical", "head"])
def test_labels_are_the_same_wherever_the_arm_predicts(study, arm):
    folder = folder_of(study, arm)
    test, items = read_predictions(folder / "predictions.parquet"), read_items(Path(study.out), "test")
    most_probable_N = test.probabilities_NC.argmax(axis=1)
    assert (test.predicted_N != most_probable_N).any()
    texts = dict(zip(items.ids, items.texts, strict=True))
    texts = [texts[id] for id in test.ids]
    assert predict(folder, texts).predicted_labels == test.predicted_labels
    assert tuneproof.load(folder).predict(texts).predicted_labels == test.predicted_labels
    later = read_predictions(folder / FURTHER)
    later_items = dict(zip(*_later(study), strict=True))
    again = predict(folder, [later_items[id] for id in later.ids])
    assert again.predicted_labels == later.predicted_labels


def _later(recipe):
    items = read_items(Path(recipe.out), "tests.later")
    return items.ids, items.texts


def test_arms_without_probabilities_keep_their_labels_and_are_counted(study):
    given = read_predictions(folder_of(study, "given") / "predictions.parquet")
    assert set(given.predicted_labels) == {"negative"}
    assert arm_of(study, "given")["chosen"]["decision"]["applies"] is False
    for name in ("report.html", "report.md"):
        report = (Path(study.out) / name).read_text("utf-8")
        assert "1 of 4 arms has no probabilities and keeps its labels: given." in report
        assert "How probabilities become labels" in report


def test_the_published_card_decides_as_the_arm_does(study, tmp_path):
    result = publish_arm(folder_of(study, "lexical"), "me/it", tmp_path / "to")
    card = (tmp_path / "to" / "README.md").read_text("utf-8")
    assert result.gate.items >= 10
    assert "costs = [[0.0, 1.0], [30.0, 0.0]]" in card
    assert "The label with the least expected cost is predicted" in card


def test_test_items_choose_nothing(tmp_path):
    thresholds = []
    for name in ("as-they-are", "reversed"):
        folder = tmp_path / name
        folder.mkdir()
        recipe = recipe_of(folder, ["lexical"], decision={"threshold": "dev", "metric": "f1"})
        study = check(recipe).study
        if name == "reversed":
            study = with_test(study, [_other(item) for item in study.splits.test])
        result = decide_on_dev(run_baseline(study, recipe.arm("lexical"), Monitor()), recipe)
        thresholds.append(result.chosen["decision"])
    assert thresholds[0] == thresholds[1]
    assert 0 < thresholds[0]["threshold"] < 0.5


def _other(item):
    return replace(item, label=1 - item.label)


def test_class_weights_change_the_arms_that_learn_and_their_facts_alone(tmp_path):
    plain, weighted = (
        check(recipe_of(tmp_path, ["majority", "lexical"], train={"class_weights": weights}))
        for weights in (None, "balanced")
    )
    facts = [{run.arm.name: run.facts for run in plan.arms} for plan in (plain, weighted)]
    assert facts[0]["majority"] == facts[1]["majority"]
    assert facts[1]["lexical"]["train.class_weights"] == "balanced"
    assert "train.class_weights" not in facts[0]["lexical"]
    (note,) = unweighted_arms(weighted.recipe)
    assert note.message == "train.class_weights does not change majority: no such loss is minimised there."
    assert unweighted_arms(plain.recipe) == []
    both = recipe_of(tmp_path, ["lexical"], train={"class_weights": "balanced"}, decision={"costs": COSTS})
    assert "count twice" in unweighted_arms(both)[0].message


def test_balanced_arms_find_more_of_the_rare_label(tmp_path):
    recall = []
    for weights in (None, "balanced"):
        recipe = recipe_of(tmp_path, ["lexical"], train={"class_weights": weights})
        test = run_baseline(check(recipe).study, recipe.arm("lexical"), Monitor()).test
        recall.append(np.mean(test.predicted_N))
    assert recall[1] > recall[0]


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ({"train": {"class_weights": {"spam": 2}}}, "'spam' is not a label of this study."),
        ({"decision": {"costs": {"spam": {"positive": 2}}}}, "'spam' is not a label of this study."),
        ({"decision": {"costs": {"positive": {"ham": 2}}}}, "'ham' is not a label of this study."),
        ({"decision": {"costs": {"positive": {"positive": 2}}}}, "and the right label 2."),
        (
            {"decision": {"costs": {"positive": {"negative": 0}, "negative": {"positive": 0}}}},
            "no mistake costs anything.",
        ),
        ({"decision": {"threshold": "dev", "metric": "brier"}}, "brier does not depend on the threshold."),
        ({"decision": {"threshold": "dev", "metric": "squad_f1"}}, "squad_f1 is for tasks of questions"),
    ],
)
def test_what_does_not_fit_the_labels_is_refused_before_anything_runs(tmp_path, sections, sentence):
    with pytest.raises(RecipeError) as error:
        check(recipe_of(tmp_path, ["majority", "lexical"], **sections))
    assert sentence in str(error.value)

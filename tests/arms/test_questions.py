"""Questions end to end: every arm on tiny models, thresholds, the report, new questions."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import tuneproof
from tests.arms.questions import question_models, question_recipe, question_rows
from tests.arms.small import arm_of, folder_of, steps_of
from tests.monitoring import run_recorded
from tuneproof.apply.labels import predict
from tuneproof.cli.main import main
from tuneproof.context.monitor import ArmFinished
from tuneproof.errors import RecipeError, RunError
from tuneproof.inference.prediction import read_predictions
from tuneproof.models.load import load_model
from tuneproof.recipe.recipe import recipe_from
from tuneproof.study.plan import check

SPANS = ["head", {"lora": {"name": "lora"}}, {"full": {"learning_rate": 1e-3}}, "lp-ft"]
WRITTEN = [
    "zero-shot",
    {"few-shot": {"shots": 2}},
    {"lora": {"name": "lora-words", "objective": "words"}},
    {"full": {"name": "full-words", "objective": "words", "learning_rate": 1e-3}},
]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    return question_models(tmp_path_factory.mktemp("models"), ["llama"])


@pytest.fixture(scope="module")
def study(models, tmp_path_factory):
    """Every kind of arm on a tiny Llama, finished."""
    folder = tmp_path_factory.mktemp("study")
    arms = ["majority", "lexical", *SPANS, *WRITTEN]
    recipe = question_recipe(folder, [models["llama"]], arms)
    return recipe, run_recorded(recipe).events


def test_every_arm_finishes_and_the_report_is_written(study):
    recipe, events = study
    finished = [event for event in events if isinstance(event, ArmFinished)]
    assert {event.status for event in finished} == {"done"}, [event.line for event in finished]
    assert len(finished) == 10
    out = Path(recipe.out)
    page = (out / "report.html").read_text("utf-8")
    for text in ("No answer", "oracle: best on test", "by question word", "F1 in %"):
        assert text in page
    verdict = json.loads((out / "comparisons.json").read_text())["verdict"]
    assert verdict["sentence"]


@pytest.mark.parametrize("name", ["lexical", "head", "lora", "full", "lp-ft", "zero-shot"])
def test_the_threshold_is_what_dev_chooses_and_stands_in_the_predictions(study, name):
    recipe, _ = study
    about = arm_of(recipe, name)
    chosen = about["chosen"] if name == "lexical" else about["chosen"]["answers"]
    folder = folder_of(recipe, name)
    dev, test = (read_predictions(folder / f"{part}predictions.parquet") for part in ("dev_", ""))
    assert test.threshold == dev.threshold == chosen["no_answer_threshold"]
    from tuneproof.score.threshold import best_threshold

    assert best_threshold(dev).threshold == pytest.approx(chosen["no_answer_threshold"])
    assert chosen["by"] == "highest F1 on dev"
    assert np.isfinite(test.null_N).all()


@pytest.mark.parametrize("name", ["lora", "full", "lora-words", "full-words"])
def test_training_lowers_the_loss_on_dev(study, name):
    recipe, _ = study
    losses = [s["dev_loss"] for s in steps_of(recipe, name) if s["dev_loss"] is not None]
    assert len(losses) == 2
    first = np.mean([s["loss"] for s in steps_of(recipe, name)[:2]])
    assert min(losses) < first * 1.05


def test_a_ledger_of_a_span_head_has_two_rows_and_two_biases(study):
    recipe, _ = study
    ledger = json.loads((folder_of(recipe, "head") / "ledger.json").read_text())
    assert ledger["trainable"] == 2 * 32 + 2
    assert {
        key: line[key] for line in ledger["lines"] for key in ("part", "count") if line["part"] == "head"
    } == {"part": "head", "count": 66}


def test_a_llamas_base_is_the_checkpoints_under_a_span_head(models):
    """transformers names the base otherwise there, and would leave all of it at random."""
    recipe = question_recipe(models["llama"].parent, [models["llama"]], ["majority", "full"])
    spec = check(recipe).models[0]
    parts = (spec.source, spec.config, spec.tokenizer, spec.family)
    spans = load_model(*parts, head="span", seed=0)
    base = load_model(*parts, head="base").model
    assert set(spans.fresh) == {"qa_outputs.weight", "qa_outputs.bias"}
    ours = spans.model.transformer.state_dict()
    for name, value in base.state_dict().items():
        assert torch.equal(value, ours[name]), name


@pytest.mark.parametrize("name", ["lexical", "head", "full", "lora", "few-shot", "full-words"])
def test_new_questions_are_answered_as_the_test_questions_were(study, tmp_path, name):
    recipe, _ = study
    test = read_predictions(folder_of(recipe, name) / "predictions.parquet")
    rows = {row["id"]: row for row in question_rows()}
    file = tmp_path / "new.jsonl"
    new = [{"question": rows[i]["question"], "context": rows[i]["context"], "own": i} for i in test.ids]
    file.write_text("\n".join(json.dumps(row) for row in new))
    out = tmp_path / "answers.csv"
    arguments = ["predict", str(folder_of(recipe, name)), "--input", str(file), "--output", str(out)]
    assert main(arguments) == 0
    with open(out, newline="", encoding="utf-8") as stream:
        answered = list(csv.DictReader(stream))
    assert [row["own"] for row in answered] == list(test.ids)
    assert [row["predicted"] for row in answered] == test.texts
    answers = tuneproof.answer(
        folder_of(recipe, name), [row["question"] for row in new], [row["context"] for row in new]
    )
    assert answers.texts == test.texts
    nulls = [float(row["null_score"]) for row in answered]
    assert nulls == pytest.approx(test.null_N.tolist(), abs=2e-3)


def test_an_arm_of_questions_labels_no_texts_and_names_what_to_use(study):
    recipe, _ = study
    with pytest.raises(RunError, match=r"Use tuneproof\.answer"):
        predict(folder_of(recipe, "lexical"), ["a text"])


def test_a_study_of_questions_always_has_both_baselines_first(models, tmp_path):
    recipe = question_recipe(tmp_path, [models["llama"]], ["full"])
    assert [arm.name for arm in recipe.arms] == ["majority", "lexical", "full"]
    named = question_recipe(tmp_path, [models["llama"]], ["full", "majority"])
    assert [arm.name for arm in named.arms] == ["lexical", "full", "majority"]
    assert recipe_from(recipe.values()) == recipe


def test_without_wordnet_the_report_says_that_meteor_is_not_computed_and_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("WORDNET", str(tmp_path / "nowhere"))
    recipe = question_recipe(tmp_path, [], ["majority", "lexical"])
    run_recorded(recipe)
    for name in ("report.html", "report.md"):
        text = (Path(recipe.out) / name).read_text("utf-8")
        assert "meteor is not computed" in text
        assert "wordnet-base" in text
    scores = json.loads((folder_of(recipe, "lexical") / "scores.json").read_text())
    assert "rouge1" in scores
    assert "meteor" not in scores
    claim = {"arm": "lexical", "over": "majority", "metric": "meteor"}
    with pytest.raises(RecipeError, match="WordNet is not on this machine"):
        check(question_recipe(tmp_path, [], ["majority", "lexical"], claim=claim))

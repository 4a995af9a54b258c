"""An arm is loaded once and predicts any number of times, from any thread, as its study did."""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import tuneproof
from tests.arms.questions import question_recipe
from tests.arms.small import small_recipe
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.atomic import MANIFEST
from tuneproof.errors import DataError, RunError
from tuneproof.inference.prediction import read_predictions
from tuneproof.record.study_folder import WEIGHTS, read_items
from tuneproof.tasks.question_rows import question_from_json

LABEL_ARMS = [
    *("majority", "lexical", "zero-shot", {"few-shot": {"shots": 2}}, "head", "lora"),
    {"lora": {"name": "words", "objective": "words"}},
]


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("labels")
    model = tiny_model(home / "llama", "llama", chat=True)
    recipe = small_recipe(home, [model], LABEL_ARMS, train={"epochs": 1})
    run_recorded(recipe)
    return Path(recipe.out)


@pytest.fixture(scope="module")
def questions(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("questions")
    recipe = question_recipe(
        home, [tiny_model(home / "bert", "bert")], ["majority", "lexical", "lora"], train={"epochs": 1}
    )
    run_recorded(recipe)
    return Path(recipe.out)


def arms_of(study: Path) -> list[Path]:
    return sorted(folder for folder in (study / "arms").iterdir() if folder.is_dir())


def test_every_arm_of_labels_predicts_its_test_items_again_and_again(labels):
    items = read_items(labels, "test")
    assert len(arms_of(labels)) == len(LABEL_ARMS)
    for arm in arms_of(labels):
        model, before = tuneproof.load(arm), read_predictions(arm / "predictions.parquet")
        assert model.kind == "labels"
        assert model.labels == before.labels
        model.predict(["another text"])  # leaves nothing behind
        again = model.predict(items.texts)
        np.testing.assert_allclose(again.probabilities_NC, before.probabilities_NC, atol=1e-6)
        np.testing.assert_array_equal(again.predicted_N, before.predicted_N)
        single = [model.predict([text]).probabilities_NC[0] for text in items.texts[:3]]
        np.testing.assert_allclose(single, before.probabilities_NC[:3], atol=1e-6)


def test_baselines_predict_to_the_bit_without_the_texts_of_train(labels, tmp_path):
    items = read_items(labels, "test")
    shutil.copytree(labels, tmp_path / "study")
    (tmp_path / "study" / "items.parquet").unlink()
    for name in ("majority", "lexical"):
        arm = tmp_path / "study" / "arms" / name
        before = read_predictions(arm / "predictions.parquet")
        again = tuneproof.load(arm).predict(items.texts)
        np.testing.assert_array_equal(again.probabilities_NC, before.probabilities_NC)


def test_a_baseline_of_an_older_version_is_fitted_again_when_it_is_loaded(labels, tmp_path):
    shutil.copytree(labels, tmp_path / "study")
    arm = tmp_path / "study" / "arms" / "lexical"
    shutil.rmtree(arm / WEIGHTS)
    before = read_predictions(arm / "predictions.parquet")
    again = tuneproof.load(arm).predict(read_items(labels, "test").texts)
    np.testing.assert_array_equal(again.probabilities_NC, before.probabilities_NC)


@pytest.mark.parametrize("name", ["baseline.json", "words.json", "baseline.safetensors"])
def test_a_changed_file_of_a_baseline_is_refused(labels, tmp_path, name):
    shutil.copytree(labels, tmp_path / "study")
    weights = tmp_path / "study" / "arms" / "lexical" / WEIGHTS
    (weights / name).write_bytes((weights / name).read_bytes()[:-3] + b"000")
    with pytest.raises(RunError, match=re.escape(name)):
        tuneproof.load(weights.parent)
    (weights / MANIFEST).unlink()
    with pytest.raises(RunError):
        tuneproof.load(weights.parent)


@pytest.mark.parametrize("arm", ["lexical", "llama.lora.seed0"])
def test_threads_get_the_predictions_of_their_own_texts(labels, arm):
    texts, model = read_items(labels, "test").texts, tuneproof.load(labels / "arms" / arm)
    with ThreadPoolExecutor(8) as threads:
        rows = list(threads.map(lambda text: model.predict([text]).probabilities_NC[0], texts))
    np.testing.assert_allclose(rows, model.predict(texts).probabilities_NC, atol=1e-6)


def test_every_arm_of_questions_answers_its_test_items_again(questions):
    items = read_items(questions, "test")
    pairs = zip(items.texts, items.questions, strict=True)
    asked = [question_from_json(text, question) for text, question in pairs]
    for arm in arms_of(questions):
        model, before = tuneproof.load(arm), read_predictions(arm / "predictions.parquet")
        model.answer(["Who?"], ["Ada did."])
        again = model.answer([item.question for item in asked], [item.context for item in asked])
        assert list(again.texts) == list(before.texts), arm
        np.testing.assert_allclose(again.null_N, before.null_N, atol=1e-5)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", "is one text, not a list of texts"),
        ([], "holds no text"),
        (["good", 5], "row 2: is a value of the type int"),
        (["good", None], "row 2: is a value of the type NoneType"),
        (["good", " "], "row 2: the text is empty"),
        (["good \ud83d"], "row 1: a text holds half of a character"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(labels, texts, message):
    model = tuneproof.load(labels / "arms" / "lexical")
    with pytest.raises(DataError, match=message):
        model.predict(texts)
    assert len(model.predict(["good"])) == 1


def test_an_arm_of_the_other_kind_names_the_right_call(labels, questions):
    with pytest.raises(RunError, match=r"Use tuneproof\.predict"):
        tuneproof.load(labels / "arms" / "lexical").answer(["Who?"], ["Ada."])
    model = tuneproof.load(questions / "arms" / "lexical")
    with pytest.raises(RunError, match=r"Use tuneproof\.answer"):
        model.predict(["good"])
    with pytest.raises(DataError, match="2 questions have 1 contexts"):
        model.answer(["Who?", "Where?"], ["Ada."])
    with pytest.raises(DataError, match="the question is empty"):
        model.answer([" "], ["Ada."])

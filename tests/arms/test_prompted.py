"""Prompt arms: which shots are drawn, what is recorded."""

import gc
import json
import weakref
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from tests.arms.small import arm_of, folder_of, small_recipe
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.arms import prompted
from tuneproof.arms.prompted import load_prompt_model
from tuneproof.context.few_shot import draw_shots
from tuneproof.errors import RunError
from tuneproof.inference.prediction import read_predictions
from tuneproof.metrics.metric import UNPARSED
from tuneproof.record.study_folder import read_items
from tuneproof.tasks.task import Example


def examples(count: int, labels: int = 2, name: str = "train") -> list[Example]:
    return [Example(f"{name}-{i}", f"{name} text {i}.", i % labels, str(i)) for i in range(count)]


@pytest.mark.parametrize(("count", "labels"), [(4, 2), (5, 2), (6, 3), (7, 3), (1, 4), (12, 4)])
def test_shots_are_balanced_by_label(count, labels) -> None:
    for seed in range(20):
        shots = draw_shots(examples(60, labels), count, labels, seed, [])
        counts = np.bincount([shot.label for shot in shots], minlength=labels)
        assert counts.sum() == count
        assert counts.max() - counts.min() <= 1
        assert len({shot.id for shot in shots}) == count


def test_shots_depend_on_the_seed_alone() -> None:
    drawn = {tuple(s.id for s in draw_shots(examples(200), 4, 2, seed, [])) for seed in range(30)}
    assert len(drawn) == 30
    again = [draw_shots(examples(200), 4, 2, 3, []) for _ in range(2)]
    np.random.seed(1)
    assert again[0] == again[1] == draw_shots(examples(200), 4, 2, 3, [])


def test_the_first_label_is_not_always_the_same_one() -> None:
    first = {draw_shots(examples(60), 4, 2, seed, [])[0].label for seed in range(20)}
    last = {draw_shots(examples(60), 4, 2, seed, [])[-1].label for seed in range(20)}
    assert first == last == {0, 1}


@pytest.mark.parametrize(
    "disguise", [str, str.upper, lambda t: f"  {t.replace(' ', '   ')}\n", lambda t: t.replace(".", " !")]
)
def test_no_shot_equals_a_held_out_item(disguise) -> None:
    train = examples(12)
    held_out = [Example("h", disguise(example.text), 0, "h") for example in train[:8]]
    for seed in range(20):
        shots = draw_shots(train, 4, 2, seed, held_out)
        assert {shot.id for shot in shots} == {example.id for example in train[8:]}


def test_no_two_shots_are_the_same_text() -> None:
    train = [Example(str(i), "The same." if i < 10 else f"Other {i}", i % 2, "") for i in range(14)]
    for seed in range(10):
        texts = [shot.text for shot in draw_shots(train, 4, 2, seed, [])]
        assert len(set(texts)) == 4


def test_fewer_shots_come_where_train_has_no_more() -> None:
    assert len(draw_shots(examples(3), 8, 2, 0, [])) == 3


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompted")
    arms = [
        "zero-shot",
        {"zero-shot": {"name": "raw", "calibration": "none"}},
        {"few-shot": {"shots": 2}},
        {"zero-shot": {"name": "generated", "scoring": "generate"}},
    ]
    recipe = small_recipe(folder, [tiny_model(folder / "llama", "llama")], arms, seeds=[0, 1], claim=None)
    run_recorded(recipe)
    return recipe


def predictions(recipe, name, seed=None):
    return read_predictions(folder_of(recipe, name, seed) / "predictions.parquet")


def test_shots_come_from_train_and_are_recorded(study) -> None:
    train = read_items(Path(study.out), "train")
    drawn = []
    for seed in (0, 1):
        folder = folder_of(study, "few-shot", seed)
        about = json.loads((folder / "arm.json").read_text())
        shots = about["chosen"]["shots"]
        assert len(shots) == 2
        assert set(shots) <= set(train.ids)
        texts = dict(zip(train.ids, train.texts, strict=True))
        for prompt in about["prompts"]:
            assert all(texts[shot] in prompt["text"] for shot in shots)
        drawn.append(shots)
    assert drawn[0] != drawn[1]


def test_the_recorded_prompt_contains_the_item_and_no_label(study) -> None:
    prompts = arm_of(study, "zero-shot")["prompts"]
    test = read_items(Path(study.out), "test")
    assert len(prompts) == 3
    for prompt in prompts:
        assert test.texts[test.ids.index(prompt["id"])] in prompt["text"]
        assert prompt["text"].rstrip().endswith("Label:")


def test_the_raw_score_stands_beside_the_calibrated_one(study) -> None:
    calibrated, raw = predictions(study, "zero-shot"), predictions(study, "raw")
    np.testing.assert_allclose(calibrated.uncalibrated_NC, raw.probabilities_NC, atol=1e-9)
    np.testing.assert_allclose(raw.probabilities_NC, raw.uncalibrated_NC)
    assert np.abs(calibrated.probabilities_NC - raw.probabilities_NC).max() > 1e-3
    np.testing.assert_allclose(calibrated.probabilities_NC.sum(axis=1), 1)
    assert (calibrated.predicted_N == calibrated.probabilities_NC.argmax(axis=1)).all()


@pytest.mark.parametrize(
    ("self_test", "sentence"),
    [
        (True, "the states of row-.* are not finite"),
        (False, r"the model's scores of 12 of 12 items \(row-.*\) are not finite"),
    ],
)
def test_what_is_not_finite_becomes_no_prediction(tmp_path, self_test, sentence) -> None:
    """Gemma 3 overflows fp16, for one; argmax of NaN would be the first label."""
    folder = tiny_model(tmp_path / "llama", "llama")
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][0] = float("inf")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    recipe = small_recipe(tmp_path, [folder], ["zero-shot"], train={"self_test": self_test})
    with pytest.raises(RunError, match=f"{sentence}.*precision: fp32"):
        run_recorded(recipe)


def test_an_answer_without_a_label_is_null_and_has_no_probabilities(study) -> None:
    generated = predictions(study, "generated")
    assert generated.probabilities_NC is None
    assert generated.uncalibrated_NC is None
    assert generated.texts is not None
    assert len(generated.texts) == len(generated)
    assert (generated.predicted_N == UNPARSED).all(), "a random model says no label"
    import pyarrow.parquet as pq

    table = pq.read_table(folder_of(study, "generated") / "predictions.parquet")
    assert table.column("predicted").null_count == len(generated)
    assert table.column("probabilities").null_count == len(generated)
    scores = json.loads((folder_of(study, "generated") / "scores.json").read_text())
    assert scores["accuracy"]["value"] == 0
    assert "expected_calibration_error" not in scores


def test_a_prompt_arm_trains_nothing(study) -> None:
    for name in ("zero-shot", "raw", "generated", "few-shot"):
        ledger = json.loads((folder_of(study, name) / "ledger.json").read_text())
        assert ledger["trainable"] == 0
        assert ledger["total"] == ledger["base"]
        assert ledger["lines"] == []


def test_an_encoder_is_prompted_by_cloze(tmp_path) -> None:
    recipe = small_recipe(tmp_path, [tiny_model(tmp_path / "bert", "bert")], ["zero-shot"])
    run_recorded(recipe)
    about = arm_of(recipe, "zero-shot")
    assert about["status"] == "done"
    assert "[MASK]" in about["prompts"][0]["text"]
    predicted = predictions(recipe, "zero-shot")
    np.testing.assert_allclose(predicted.probabilities_NC.sum(axis=1), 1)


@pytest.fixture
def loads(monkeypatch) -> list[bool]:
    """One entry per load of a model to prompt: whether an earlier one was still alive then."""
    references: list[weakref.ref] = []
    loads: list[bool] = []

    def load(context):
        gc.collect()
        loads.append(any(reference() is not None for reference in references))
        model = load_prompt_model(context)
        references.append(weakref.ref(model))
        return model

    monkeypatch.setattr(prompted, "load_prompt_model", load)
    return loads


def test_prompt_arms_in_a_row_load_their_model_once_and_an_arm_that_trains_frees_it(tmp_path, loads) -> None:
    model = tiny_model(tmp_path / "llama", "llama")
    arms = ["zero-shot", {"few-shot": {"shots": 1}}, {"head": {}}, {"zero-shot": {"name": "again"}}]
    recipe = small_recipe(tmp_path, [model], arms, seeds=[0, 1])
    run_recorded(recipe)
    assert loads == [False, False], "once before the head, once after it"
    alone = small_recipe(tmp_path, [model], [arms[1]], seeds=[0, 1], out="alone")
    run_recorded(alone)
    for seed in (0, 1):
        in_a_row, separate = (
            read_predictions(folder_of(study, "few-shot", seed) / "predictions.parquet")
            for study in (recipe, alone)
        )
        np.testing.assert_array_equal(in_a_row.probabilities_NC, separate.probabilities_NC)


def test_under_a_bound_of_memory_every_prompt_arm_loads_its_own_model(tmp_path, loads) -> None:
    model = tiny_model(tmp_path / "llama", "llama")
    arms = ["zero-shot", {"few-shot": {"shots": 1}}]
    run_recorded(small_recipe(tmp_path, [model], arms, compute={"memory": "8GB"}))
    assert loads == [False, False]

"""Tuned arms end to end on tiny models: what is written, chosen, stopped, and what changes nothing."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.arms.small import arm_of, folder_of, small_recipe, steps_of
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.inference.prediction import read_predictions
from tuneproof.settings import TrainSettings

LABELS = ("negative", "positive", "mixed")
STEP = {
    "step",
    "epoch",
    "loss",
    "dev_loss",
    "dev_accuracy",
    "dev_f1",
    "learning_rate",
    "gradient_norm",
    "count",
    "tokens",
    "tokens_per_s",
    "time_s",
    "skipped",
    "micro_batches",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {kind: tiny_model(root / kind, kind) for kind in ("distilbert", "llama")}


def weights_of(recipe, name) -> dict[str, np.ndarray]:
    files = sorted((folder_of(recipe, name) / "weights").glob("*.safetensors"))
    assert files
    return {key: value for file in files for key, value in load_file(file).items()}


def dev_loss_of(recipe, name) -> float:
    dev = read_predictions(folder_of(recipe, name) / "dev_predictions.parquet")
    return float(-np.log(dev.probabilities_NC[np.arange(len(dev)), dev.gold_N]).mean())


@pytest.mark.parametrize("count", [2, 3])
def test_every_tuned_arm_learns_and_writes_all_its_files(tmp_path, models, count) -> None:
    arms = [
        "majority",
        {"lora": {"learning_rate": 5e-3}},
        {"lora": {"name": "lora-words", "objective": "words", "learning_rate": 5e-3}},
        {"full": {"learning_rate": 3e-3}},
        {"full": {"name": "full-words", "objective": "words", "learning_rate": 3e-3}},
        {"lp-ft": {"learning_rate": 3e-3}},
        {"lp-ft": {"name": "lp-lora", "then": "lora", "learning_rate": 3e-3}},
    ]
    recipe = small_recipe(tmp_path, [models["llama"]], arms, LABELS[:count], train={"epochs": 3})
    run_recorded(recipe)
    for arm in recipe.arms[1:]:
        about, folder = arm_of(recipe, arm.name), folder_of(recipe, arm.name)
        assert about["status"] == "done"
        assert {file.name for file in folder.iterdir()} - {"checkpoints"} == {
            "arm.json",
            "facts.json",
            "ledger.json",
            "steps.jsonl",
            "predictions.parquet",
            "dev_predictions.parquet",
            "scores.json",
            "weights",
        }
        steps = steps_of(recipe, arm.name)
        assert [step["step"] for step in steps] == list(range(1, 16))  # 36 items by 8, 3 epochs
        assert all(set(step) == STEP for step in steps)
        assert all(step["loss"] >= 0 and step["tokens"] > 0 and step["count"] > 0 for step in steps)
        assert all(step["gradient_norm"] >= 0 and step["tokens_per_s"] > 0 for step in steps)
        assert {step["step"] for step in steps if step["dev_loss"] is not None} == {5, 10, 15}
        assert steps[4]["epoch"] == 1
        if arm.options.objective == "head":
            assert [step["count"] for step in steps[:5]] == [8, 8, 8, 8, 4]
        first, last = steps[0]["loss"], np.mean([step["loss"] for step in steps[-3:]])
        assert last < first or arm.method_name == "lp-ft"
        assert json.loads((folder / "scores.json").read_text())["accuracy"]["value"] > 1 / count
        assert set(about["time_s"]) >= {"load", "train", "predict"}
        assert about["items_per_s"] > 0
        assert about["peak_memory_bytes"] > 0
        assert about["encoding"]["items"] == 12
        assert 0 <= about["encoding"]["padding_share"] < 1
        supervised = [any(item["supervised"]) for item in about["prompts"]]
        assert supervised == [arm.options.objective == "words"] * 3


def test_the_best_weights_on_dev_are_put_back(tmp_path, models) -> None:
    recipe = small_recipe(
        tmp_path,
        [models["llama"]],
        [{"full": {"learning_rate": 0.1}}],
        train={"epochs": 4, "evals_per_epoch": 5},
    )
    run_recorded(recipe)
    chosen = arm_of(recipe, "full")["chosen"]
    losses = {entry["step"]: entry["dev_loss"] for entry in chosen["evaluations"]}
    assert len(losses) == 20
    assert chosen["step"] == min(losses, key=losses.__getitem__)
    assert chosen["step"] != 20, "the rate is too high for the last step to be the best"
    assert chosen["dev_loss"] == losses[chosen["step"]]
    assert chosen["epoch"] == chosen["step"] / 5
    assert dev_loss_of(recipe, "full") == pytest.approx(chosen["dev_loss"], abs=1e-6)


def test_patience_stops(tmp_path, models) -> None:
    arms = [{"full": {"learning_rate": 0.1}}]
    recipe = small_recipe(
        tmp_path, [models["llama"]], arms, train={"epochs": 8, "evals_per_epoch": 5, "patience": 2}
    )
    run_recorded(recipe)
    chosen = arm_of(recipe, "full")["chosen"]
    assert chosen["steps_done"] == chosen["step"] + 2 < 40
    assert len(steps_of(recipe, "full")) == chosen["steps_done"]
    assert dev_loss_of(recipe, "full") == pytest.approx(chosen["dev_loss"], abs=1e-6)


@pytest.mark.parametrize(
    ("evals", "expected"),
    [(1, [5, 10]), (2, [2, 5, 7, 10]), (4, [1, 2, 3, 5, 6, 7, 8, 10]), (50, list(range(1, 11)))],
)
def test_evaluations_come_so_often_an_epoch_and_at_its_end(tmp_path, models, evals, expected) -> None:
    recipe = small_recipe(tmp_path, [models["llama"]], ["lora"], train={"evals_per_epoch": evals})
    run_recorded(recipe)
    steps = [entry["step"] for entry in arm_of(recipe, "lora")["chosen"]["evaluations"]]
    assert steps == expected


def test_an_arms_own_epochs_come_before_the_studys(tmp_path, models) -> None:
    recipe = small_recipe(tmp_path, [models["llama"]], [{"lora": {"epochs": 1}}, "full"])
    run_recorded(recipe)
    assert len(steps_of(recipe, "lora")) == 5
    assert len(steps_of(recipe, "full")) == 10


@pytest.mark.parametrize(
    "arm",
    ["full", "lora-words", *(pytest.param(arm, marks=pytest.mark.slow) for arm in ("full-words", "lora"))],
)
def test_micro_batches_give_the_same_weights(tmp_path, models, arm) -> None:
    # Adam blows rounding in near-zero gradients up to the rate: a low one keeps it below 3e-6.
    options = {"learning_rate": 2e-5, "name": arm}
    options |= {"objective": "words"} if "words" in arm else {}
    runs = []
    for micro in (None, 3, 1):
        recipe = small_recipe(
            tmp_path,
            [models["llama"]],
            [{arm.removesuffix("-words"): options}],
            out=f"micro-{micro}",
            train={"micro_batch": micro, "epochs": 1},
        )
        run_recorded(recipe)
        runs.append((weights_of(recipe, arm), steps_of(recipe, arm)))
    whole = small_recipe(
        tmp_path,
        [models["llama"]],
        [{arm.removesuffix("-words"): {**options, "epochs": 2}}],
        out="longer",
        train={"epochs": 1},
    )
    run_recorded(whole)
    longer = weights_of(whole, arm)
    assert max(np.abs(longer[n] - v).max() for n, v in runs[0][0].items()) > 3e-5
    for weights, steps in runs[1:]:
        for name, values in runs[0][0].items():
            np.testing.assert_allclose(weights[name], values, atol=3e-6, rtol=0, err_msg=name)
        assert [s["count"] for s in steps] == [s["count"] for s in runs[0][1]]
        np.testing.assert_allclose([s["loss"] for s in steps], [s["loss"] for s in runs[0][1]], atol=1e-5)


@pytest.mark.parametrize("kind", ["distilbert", "llama"])
def test_gradient_checkpointing_gives_the_same_losses(tmp_path, models, kind) -> None:
    arms = ["full", "lora", {"lp-ft": {"then": "lora"}}]
    if kind == "llama":
        arms.append({"lora": {"name": "lora-words", "objective": "words"}})
    losses = []
    for on in (False, True):
        recipe = small_recipe(
            tmp_path,
            [models[kind]],
            arms,
            out=f"study-{on}",
            train={"gradient_checkpointing": on, "epochs": 1},
        )
        run_recorded(recipe)
        losses.append([[step["loss"] for step in steps_of(recipe, arm.name)] for arm in recipe.arms])
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-5)


def test_random_weights_are_not_the_pretrained_ones(tmp_path, models) -> None:
    arms = ["full", {"full": {"name": "scratch", "weights": "random"}}]
    recipe = small_recipe(tmp_path, [models["llama"]], arms, train={"epochs": 1})
    run_recorded(recipe)
    embeddings = [
        next(v for k, v in weights_of(recipe, name).items() if "embed" in k) for name in ("full", "scratch")
    ]
    pretrained = load_file(models["llama"] / "model.safetensors")["model.embed_tokens.weight"]
    assert np.abs(embeddings[0] - pretrained).max() < 0.01
    assert np.abs(embeddings[1] - pretrained).max() > 0.1
    notes = arm_of(recipe, "scratch")["notes"]
    assert any("random" in note for note in notes)
    assert not any("All weights are random" in note for note in arm_of(recipe, "full")["notes"])


def test_seeds_differ_and_a_seed_repeats_itself(tmp_path, models) -> None:
    losses = []
    for out in ("one", "two"):
        recipe = small_recipe(tmp_path, [models["distilbert"]], ["lora"], out=out, seeds=[0, 1])
        run_recorded(recipe)
        losses.append([[s["loss"] for s in steps_of(recipe, "lora", seed)] for seed in (0, 1)])
    assert losses[0] == losses[1]
    assert losses[0][0] != losses[0][1]


def test_grouping_by_length_trains_every_item_with_less_padding(tmp_path, models) -> None:
    runs = []
    for out, grouped in (("plain", False), ("grouped", True)):
        recipe = small_recipe(
            tmp_path,
            [models["distilbert"]],
            ["full"],
            out=out,
            train={"epochs": 2, "group_by_length": grouped},
        )
        run_recorded(recipe)
        runs.append((arm_of(recipe, "full"), steps_of(recipe, "full")))
    (plain, steps), (grouped, grouped_steps) = runs
    assert grouped["encoding"]["padding_share"] < 0.7 * plain["encoding"]["padding_share"]
    assert sum(s["count"] for s in steps) == sum(s["count"] for s in grouped_steps) == 2 * 36
    assert sum(s["tokens"] for s in steps) == sum(s["tokens"] for s in grouped_steps)
    assert [s["loss"] for s in steps] != [s["loss"] for s in grouped_steps]


def test_a_learning_rate_that_changes_nothing_is_an_error(tmp_path, models) -> None:
    from tuneproof.errors import RunError

    recipe = small_recipe(
        tmp_path,
        [models["llama"]],
        [{"full": {"learning_rate": 1e-30}}],
        train={"epochs": 1, "weight_decay": 0},
    )
    with pytest.raises(RunError, match="1 of 1 arms failed"):
        run_recorded(recipe)
    assert "training changed no weight" in arm_of(recipe, "full")["reason"]


def test_every_setting_of_training_has_a_place_in_these_tests_or_the_loops() -> None:
    assert set(TrainSettings.model_fields) == {
        "epochs",
        "min_steps",
        "batch_size",
        "micro_batch",
        "group_by_length",
        "schedule",
        "warmup_share",
        "weight_decay",
        "clip_norm",
        "evals_per_epoch",
        "patience",
        "gradient_checkpointing",
        "trackers",
        "nonfinite",
        "self_test",
        "checkpoint_minutes",
        "class_weights",  # tests/arms/test_class_weights.py
    }


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("batch_size", 4),
        ("schedule", "cosine"),
        ("warmup_share", 0.5),
        ("weight_decay", 0.5),
        ("clip_norm", 0.01),
    ],
)
def test_every_setting_of_the_optimizer_changes_the_losses(tmp_path, models, setting, value) -> None:
    losses = []
    for out, train in (("plain", {}), ("changed", {setting: value})):
        recipe = small_recipe(tmp_path, [models["llama"]], ["full"], out=out, train=train)
        run_recorded(recipe)
        losses.append([step["loss"] for step in steps_of(recipe, "full")])
    assert losses[0] != losses[1]

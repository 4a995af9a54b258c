"""The head on the frozen base: features once, pooling by dev, two and three labels."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.arms.small import arm_of, folder_of, small_recipe
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.arms import probe
from tuneproof.inference.prediction import read_predictions

LABELS = ("negative", "positive", "mixed")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {kind: tiny_model(root / kind, kind) for kind in ("distilbert", "llama")}


@pytest.mark.parametrize("kind", ["distilbert", "llama"])
@pytest.mark.parametrize("count", [2, 3])
def test_a_head_learns_two_and_three_labels(tmp_path, models, kind, count) -> None:
    recipe = small_recipe(tmp_path, [models[kind]], ["majority", "head"], LABELS[:count])
    run_recorded(recipe)
    about = arm_of(recipe, "head")
    assert about["status"] == "done"
    assert about["seed"] is None, "there is no chance in it"
    predictions = read_predictions(folder_of(recipe, "head") / "predictions.parquet")
    assert predictions.probabilities_NC.shape == (len(predictions), count)
    assert (predictions.predicted_N == predictions.gold_N).mean() > 0.8
    assert about["chosen"]["pooling"] in (("first", "mean") if kind != "llama" else ("last", "mean"))
    ledger = json.loads((folder_of(recipe, "head") / "ledger.json").read_text())
    bias = count if kind == "distilbert" else 0
    assert ledger["trainable"] == 32 * count + bias
    # DistilBERT's masked-language-model head is its own: 32² + 32, a norm, a bias a word; Llama's is tied
    words = json.loads((models[kind] / "config.json").read_text())["vocab_size"]
    dropped = 32 * 32 + 32 + 64 + words if kind == "distilbert" else 0
    assert ledger["total"] == ledger["base"] - dropped + ledger["trainable"]


def test_features_are_computed_once_and_damaged_ones_again(tmp_path, models, monkeypatch) -> None:
    loads = []
    original = probe.load_base
    monkeypatch.setattr(probe, "load_base", lambda *arguments: loads.append(1) or original(*arguments))
    arms = ["head", {"head": {"name": "again", "strengths": [0.5]}}]
    recipe = small_recipe(tmp_path, [models["distilbert"]], arms)
    run_recorded(recipe)
    assert len(loads) == 1, "the second arm reads the first one's features"
    first = read_predictions(folder_of(recipe, "head") / "predictions.parquet")

    def rerun() -> np.ndarray:
        folder = folder_of(recipe, "distilbert.head")
        (folder / "arm.json").unlink()
        run_recorded(recipe)
        return read_predictions(folder / "predictions.parquet").probabilities_NC

    assert np.array_equal(rerun(), first.probabilities_NC)
    assert len(loads) == 1
    damaged = sorted(Path(recipe.out).glob("cache/features-*/*.npy"))[0]
    data = bytearray(damaged.read_bytes())
    data[-3] ^= 1
    damaged.write_bytes(bytes(data))
    assert np.array_equal(rerun(), first.probabilities_NC)
    assert len(loads) == 2
    assert np.array_equal(rerun(), first.probabilities_NC)
    assert len(loads) == 2, "the damaged part was replaced"


def test_other_weights_have_other_features(tmp_path) -> None:
    recipe = small_recipe(
        tmp_path,
        [tiny_model(tmp_path / "one", "llama", seed=1), tiny_model(tmp_path / "two", "llama", seed=2)],
        ["head"],
    )
    run_recorded(recipe)
    assert len(list(Path(recipe.out).glob("cache/features-*"))) == 6
    predictions = [
        read_predictions(folder_of(recipe, f"{name}.head") / "predictions.parquet") for name in ("one", "two")
    ]
    assert not np.array_equal(predictions[0].probabilities_NC, predictions[1].probabilities_NC)

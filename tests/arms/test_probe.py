"""The head on the frozen base: features once, pooling by dev, two and three labels."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.arms.small import arm_of, folder_of, follow, small_recipe
from tests.tiny_models import tiny_model
from tuneproof.arms import probe as room
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
    follow(recipe)
    about = arm_of(recipe, "head")
    assert about["status"] == "done"
    assert about["seed"] is None, "there is no chance in it"
    found = read_predictions(folder_of(recipe, "head") / "predictions.parquet")
    assert found.probabilities_NC.shape == (len(found), count)
    assert (found.predicted_N == found.gold_N).mean() > 0.8
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
    original = room.load_base
    monkeypatch.setattr(room, "load_base", lambda *given: loads.append(1) or original(*given))
    arms = ["head", {"head": {"name": "again", "strengths": [0.5]}}]
    recipe = small_recipe(tmp_path, [models["distilbert"]], arms)
    follow(recipe)
    assert len(loads) == 1, "the second arm reads the first one's features"
    first = read_predictions(folder_of(recipe, "head") / "predictions.parquet")

    def once_more() -> np.ndarray:
        folder = folder_of(recipe, "distilbert.head")
        (folder / "arm.json").unlink()
        follow(recipe)
        return read_predictions(folder / "predictions.parquet").probabilities_NC

    assert np.array_equal(once_more(), first.probabilities_NC)
    assert len(loads) == 1
    damaged = sorted(Path(recipe.out).glob("cache/features-*/*.npy"))[0]
    data = bytearray(damaged.read_bytes())
    data[-3] ^= 1
    damaged.write_bytes(bytes(data))
    assert np.array_equal(once_more(), first.probabilities_NC)
    assert len(loads) == 2
    assert np.array_equal(once_more(), first.probabilities_NC)
    assert len(loads) == 2, "the damaged part was replaced"


def test_other_weights_have_other_features(tmp_path) -> None:
    recipe = small_recipe(
        tmp_path,
        [tiny_model(tmp_path / "one", "llama", seed=1), tiny_model(tmp_path / "two", "llama", seed=2)],
        ["head"],
    )
    follow(recipe)
    assert len(list(Path(recipe.out).glob("cache/features-*"))) == 6
    found = [
        read_predictions(folder_of(recipe, f"{name}.head") / "predictions.parquet") for name in ("one", "two")
    ]
    assert not np.array_equal(found[0].probabilities_NC, found[1].probabilities_NC)

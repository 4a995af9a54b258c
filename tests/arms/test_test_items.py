"""Test items change nothing that train and dev decide: the same bits whatever is predicted afterwards."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.arms.small import folder_of, results, rows_of, small_recipe, write_rows
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.inference.prediction import read_predictions
from tuneproof.models import matmul_backend as kernels

LABELS = ("negative", "positive")
LAST = {"name": "last", "layers": "last 1", "learning_rate": 1e-3}
ARMS = {
    "distilbert": ["head", {"lora": {"learning_rate": 5e-3}}, {"full": {"learning_rate": 1e-3}}],
    "llama": [
        "head",
        {"lora": {"learning_rate": 5e-3}},
        {"full": {"learning_rate": 1e-3}},
        {"lora": {"name": "words", "objective": "words", "learning_rate": 5e-3}},
    ],
}
SHORT = [(f"And {text}", label) for text, label in rows_of(LABELS, 12)]
LONG = ("It was bad. " * 60, "negative")


@pytest.fixture(autouse=True)
def _kernels_of_another_maker(monkeypatch):
    """oneDNN is chosen, so that lengths decide about attention."""
    flash = torch.backends.cuda.flash_sdp_enabled()
    monkeypatch.setattr(kernels, "_is_intel", lambda: False)
    monkeypatch.setattr(kernels, "_largest_error", lambda: 3e-7)
    monkeypatch.setattr(kernels, "SHORT_TOKENS", 64)  # the tiny encoder reads 128 at most
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda precision: None)  # here it may round
    yield
    torch.backends.cuda.enable_flash_sdp(flash)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {kind: tiny_model(root / kind, kind) for kind in ARMS}


def study_with_test(folder: Path, model, arms, out, test, dev=(), **sections):
    """The sixty rows as train and dev, and these as test."""
    rows = rows_of(LABELS)
    dev = write_rows(folder / f"{out}-dev.csv", [*rows[::5], *dev])
    train = write_rows(folder / f"{out}-train.csv", [row for i, row in enumerate(rows) if i % 5])
    files = {"path": train, "dev": dev, "test": write_rows(folder / f"{out}-test.csv", test)}
    task = {"labels": {name: str(path) for name, path in files.items()} | {"labels": list(LABELS)}}
    split = {"kind": "official", "leak_safe": False}
    recipe = small_recipe(folder, [model], arms, out=out, task=task, split=split, **sections)
    return recipe, run_recorded(recipe)


def trained(recipe, arm):
    """Weights, steps, what dev chose, and predictions of dev."""
    found = results(recipe, arm)
    kept = ("weights", "steps", "chosen", "dev_predictions.parquet")
    return {name: found[name] for name in kept}


@pytest.fixture(scope="module")
def first():
    """The study with short test items, by model, once it has run under the kernels above."""
    return {}


@pytest.mark.parametrize("model", ["distilbert", pytest.param("llama", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "other",
    [[*SHORT, LONG], SHORT[::-1], SHORT[3:9], [*SHORT, *rows_of(LABELS)[::7]]],
    ids=["a long item", "another order", "fewer items", "train's own items"],
)
def test_test_items_change_no_bit_of_what_is_trained(tmp_path, models, first, model, other) -> None:
    arms = [*ARMS[model], {"full": LAST}]
    if model not in first:
        first[model], _ = study_with_test(tmp_path, models[model], arms, "first", SHORT)
    second, _ = study_with_test(tmp_path, models[model], arms, "second", other)
    for arm in ("head", "lora", "full", "last", *(["words"] if model == "llama" else [])):
        assert trained(first[model], arm) == trained(second, arm), arm


def test_dev_decides_about_attention_too(tmp_path, models) -> None:
    arms = ARMS["distilbert"][:1]
    for out, dev, attention in (("short", [], "unfused"), ("long", [LONG], "fused")):
        _, events = study_with_test(tmp_path, models["distilbert"], arms, out, [*SHORT, LONG], dev)
        assert f"attention {attention}." in events.text


def test_a_long_test_item_is_predicted_fused_and_equals_unfused_within_rounding(
    tmp_path, models, monkeypatch
) -> None:
    seen, predictions = [], {}
    forward = torch.nn.functional.scaled_dot_product_attention

    def watched(query, *args, **options):
        seen.append((query.shape[-2] > kernels.SHORT_TOKENS, torch.backends.cuda.flash_sdp_enabled()))
        return forward(query, *args, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    for out, short in (("own", kernels.SHORT_TOKENS), ("unfused", 10**6)):
        monkeypatch.setattr(kernels, "SHORT_TOKENS", short)
        arms = ["head", "zero-shot", {"lora": {"learning_rate": 5e-3}}]
        recipe, _ = study_with_test(tmp_path, models["llama"], arms, out, [*SHORT, LONG])
        for arm in ("head", "zero-shot", "lora"):
            test = read_predictions(folder_of(recipe, arm) / "predictions.parquet")
            predictions[out, arm] = test.probabilities_NC
        assert not torch.backends.cuda.flash_sdp_enabled(), "as before"
    assert {fused for is_long, fused in seen if is_long} == {True}
    for arm in ("head", "zero-shot", "lora"):
        np.testing.assert_allclose(predictions["own", arm], predictions["unfused", arm], rtol=0, atol=1e-4)


def test_the_room_for_frozen_layers_is_that_of_train_and_dev(tmp_path, models) -> None:
    stages = []
    for out, test in (
        ("few", SHORT),
        ("many", [(f"{text} {i}", label) for i in range(9) for text, label in SHORT]),
    ):
        _, events = study_with_test(
            tmp_path, models["distilbert"], [{"full": LAST}], out, test, compute={"disk": "200kB"}
        )
        stages.append([stage.name for stage in events.stages if stage.name.startswith("frozen")])
    assert stages == [["frozen layers of train", "frozen layers of dev"]] * 2

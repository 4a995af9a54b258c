"""Where a device may not repeat its bits, an arm predicts some dev items twice; on a CPU nothing is added."""

import gc
import json
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from tests.arms.small import arm_of, folder_of, small_recipe
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.arms import noise_floor, tuned
from tuneproof.arms.noise_floor import MAX_ITEMS, measure_noise_floor, noise_notes
from tuneproof.models.deterministic import repeats_bits

NAME = "distilbert.lora.seed0"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("m") / "distilbert", "distilbert")


def ledger_of(recipe) -> dict:
    return json.loads((folder_of(recipe, NAME) / "ledger.json").read_text())


def context_on(device: str, deterministic: bool, dev: int):
    compute = SimpleNamespace(device=SimpleNamespace(type=device), deterministic=deterministic)
    recipe = SimpleNamespace(predict=SimpleNamespace(batch_size=8))
    return SimpleNamespace(compute=compute, recipe=recipe, splits=SimpleNamespace(dev=list(range(dev))))


def test_the_same_bits_come_from_a_cpu_and_from_cuda_where_a_recipe_asks_for_them():
    assert [repeats_bits(device, False) for device in ("cpu", "cuda", "mps")] == [True, False, False]
    assert [repeats_bits(device, True) for device in ("cpu", "cuda", "mps")] == [True, True, False]


def test_what_differs_between_two_predictions_is_counted():
    calls = []

    def predict(items):
        calls.append(items)
        shares_NC = np.tile([0.6, 0.4], (len(items), 1))
        if len(calls) == 2:
            shares_NC[1] = [0.45, 0.55]
            shares_NC[2] = [0.59, 0.41]
        return SimpleNamespace(probabilities_NC=shares_NC)

    entry = measure_noise_floor(context_on("cuda", False, 1000), lambda size: predict)
    assert calls[0] == calls[1]
    assert entry["noise_floor"]["items"] == len(calls[0]) <= MAX_ITEMS
    assert entry["noise_floor"]["changed"] == 1
    assert entry["noise_floor"]["largest_difference"] == pytest.approx(0.15)
    (note,) = noise_notes(entry)
    assert "1 got another answer" in note
    assert "resumes to the same study, not to the same bits" in note


def test_answers_are_compared_as_texts():
    answers = iter([("Berlin", ""), ("Berlin", "Bonn")])
    entry = measure_noise_floor(
        context_on("mps", False, 2),
        lambda size: lambda items: SimpleNamespace(probabilities_NC=None, answers=next(answers)),
    )
    assert entry == {"noise_floor": {"items": 2, "changed": 1, "largest_difference": None}}
    assert "probabilities" not in noise_notes(entry)[0]


@pytest.mark.parametrize(("device", "deterministic"), [("cpu", False), ("cuda", True)])
def test_where_bits_repeat_nothing_is_predicted_again(device, deterministic):
    assert (
        measure_noise_floor(context_on(device, deterministic, 8), lambda size: pytest.fail("predicts")) == {}
    )
    assert noise_notes({"lines": []}) == []


def test_an_arms_record_has_the_figures_and_the_sentence_and_its_predictions_stay(
    tmp_path, model, monkeypatch
):
    quiet = small_recipe(tmp_path, [model], ["lora"], out="cpu")
    run_recorded(quiet)
    assert "noise_floor" not in ledger_of(quiet)
    assert not any("predicted twice" in note for note in arm_of(quiet, NAME)["notes"])
    monkeypatch.setattr(noise_floor, "repeats_bits", lambda device, deterministic: False)
    noisy = small_recipe(tmp_path, [model], ["lora"], out="other")
    run_recorded(noisy)
    entry = ledger_of(noisy)["noise_floor"]
    assert entry == {"items": 20, "changed": 0, "largest_difference": 0.0} or entry["items"] <= MAX_ITEMS
    assert (entry["changed"], entry["largest_difference"]) == (0, 0.0), "a CPU repeats its bits"
    assert any("predicted twice" in note for note in arm_of(noisy, NAME)["notes"])
    test, again = ((folder_of(r, NAME) / "predictions.parquet").read_bytes() for r in (quiet, noisy))
    assert test == again


def test_shards_are_freed_before_the_whole_model_is_loaded_again(tmp_path, model, monkeypatch):
    alive = []
    monkeypatch.setattr(tuned, "_synchronise", lambda context, model: True)
    load = tuned._load

    def load_again(context):
        gc.collect()
        alive.append(len([reference for reference in models if reference() is not None]))
        result = load(context)
        models.append(weakref.ref(result.model))
        return result

    models: list = []
    monkeypatch.setattr(tuned, "_load", load_again)
    run_recorded(small_recipe(tmp_path, [model], ["lora"], out="sharded"))
    assert alive == [0, 0]

"""A finished arm computes as its study did; what only training needs does not keep it from predicting."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tuneproof
from tests.arms.small import small_recipe
from tests.devices.pretended import PretendedDevice
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.apply.finished_arm import arm_context, read_finished_arm
from tuneproof.context.compute import Compute
from tuneproof.context.monitor import Message, listening
from tuneproof.errors import RunError
from tuneproof.inference.prediction import read_predictions
from tuneproof.models.deterministic import WORKSPACE
from tuneproof.recipe.recipe import Recipe, read_recipe
from tuneproof.record.study_folder import FACTS, RECIPE, read_items

T4 = {"bf16": False}
EMULATED = "Precision bf16: Tesla T4 has no instructions for it, and torch emulates them, slowly."


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {kind: tiny_model(root / kind, kind) for kind in ("llama", "gemma3_text")}


@pytest.fixture(scope="module")
def llama_study(tmp_path_factory, models) -> Recipe:
    """A head on one model, made on a CPU."""
    return run_head(tmp_path_factory.mktemp("llama"), [models["llama"]])


@pytest.fixture(scope="module")
def two_models(tmp_path_factory, models) -> Recipe:
    """Heads on a model that fits fp16 and on one that does not, made on a T4."""
    with PretendedDevice("cuda", **T4):
        return run_head(tmp_path_factory.mktemp("two"), [models["llama"], models["gemma3_text"]])


def run_head(folder: Path, models: list[Path]) -> Recipe:
    recipe = small_recipe(folder, models, ["head"], compute={"device": "auto"}, predict={"timing_s": 0})
    run_recorded(recipe)
    return recipe


def arm_with(recipe: Recipe, to: Path, recorded: dict[str, Any] | None = None, **compute: Any) -> Path:
    """A copy of the study's llama arm with other settings of `compute` and other recorded facts."""
    study = Path(shutil.copytree(recipe.out, to / "study"))
    own = read_recipe(study / RECIPE)
    changed = own.model_copy(update={"compute": own.compute.model_copy(update=compute)})
    (study / RECIPE).write_text(changed.text(), "utf-8")
    arm = next((study / "arms").glob("llama*"))
    value = json.loads((arm / FACTS).read_text("utf-8"))
    (arm / FACTS).write_text(json.dumps({**value, "facts": {**value["facts"], **(recorded or {})}}), "utf-8")
    return arm


def compute_of(arm: Path) -> tuple[Compute, list[str]]:
    """Where and how precisely the loaded arm computes, and what is noted about it."""
    events: list[Any] = []
    with listening(events.append):
        compute = arm_context(read_finished_arm(arm), []).compute
    return compute, [event.text for event in events if isinstance(event, Message)]


def test_an_arm_keeps_the_precision_that_another_model_of_its_study_decided(two_models) -> None:
    folders = sorted((Path(two_models.out) / "arms").iterdir())
    assert len(folders) == 2
    with PretendedDevice("cuda", **T4):
        for folder in folders:
            assert compute_of(folder)[0].precision == "fp32"
            again = tuneproof.load(folder).predict(read_items(Path(two_models.out), "test").texts)
            before = read_predictions(folder / "predictions.parquet")
            np.testing.assert_allclose(again.probabilities_NC, before.probabilities_NC, atol=1e-6)


def test_without_a_recorded_precision_all_models_of_the_study_decide(
    two_models, llama_study, tmp_path
) -> None:
    for recipe, precision in ((two_models, "fp32"), (llama_study, "fp16")):
        arm = arm_with(recipe, tmp_path / precision)
        (arm / FACTS).unlink()
        with PretendedDevice("cuda", **T4):
            assert compute_of(arm)[0].precision == precision


def test_without_it_a_model_that_is_gone_decides_nothing(two_models, tmp_path) -> None:
    arm = arm_with(two_models, tmp_path)
    (arm / FACTS).unlink()
    path = arm.parent.parent / RECIPE
    path.write_text(path.read_text("utf-8").replace("gemma3_text", "gone"), "utf-8")
    with PretendedDevice("cuda", **T4):
        assert compute_of(arm)[0].precision == "fp16"


def test_a_recorded_precision_that_does_not_exist_is_refused_by_its_file(llama_study, tmp_path) -> None:
    arm = arm_with(llama_study, tmp_path, {"compute.precision": "int8"})
    with pytest.raises(RunError, match=r"compute\.precision is 'int8'") as caught:
        compute_of(arm)
    assert caught.value.where == str(arm / FACTS)


@pytest.mark.parametrize("card", [{}, T4], ids=["A100", "T4"])
@pytest.mark.parametrize("recorded", ["fp32", "fp16"])
def test_a_recorded_precision_stays_on_any_card(llama_study, tmp_path, card, recorded) -> None:
    arm = arm_with(llama_study, tmp_path, {"compute.precision": recorded})
    with PretendedDevice("cuda", **card):
        compute, notes = compute_of(arm)
    assert (compute.precision, compute.accelerator.mixed_precision, notes) == (
        recorded,
        "no" if recorded == "fp32" else recorded,
        [],
    )


@pytest.mark.parametrize("requested", ["auto", "bf16"])
def test_bf16_that_a_card_emulates_is_noted_when_an_arm_is_loaded(llama_study, tmp_path, requested) -> None:
    arm = arm_with(llama_study, tmp_path, {"compute.precision": "bf16"}, precision=requested)
    with PretendedDevice("cuda", **T4):
        compute, notes = compute_of(arm)
        assert len(tuneproof.load(arm).predict(["a text"]).predicted_N) == 1
    assert (compute.precision, notes) == ("bf16", [EMULATED])
    with PretendedDevice("cuda"):
        assert compute_of(arm)[1] == []


@pytest.mark.parametrize(
    ("recorded", "requested", "precision"),
    [("fp16", "auto", "fp32"), ("fp16", "fp16", "fp32"), ("bf16", "auto", "fp32"), ("bf16", "bf16", "bf16")],
)
def test_a_precision_of_a_gpu_becomes_fp32_elsewhere(
    llama_study, tmp_path, recorded, requested, precision
) -> None:
    arm = arm_with(llama_study, tmp_path, {"compute.precision": recorded}, precision=requested)
    compute, notes = compute_of(arm)
    assert compute.precision == precision
    changed = f"Precision fp32: the study's {recorded} is for a GPU, and this is cpu."
    assert notes == ([] if precision == recorded else [changed])


def test_an_arm_of_a_device_that_is_missing_predicts_on_the_one_that_is_here(llama_study, tmp_path) -> None:
    for device in ("cuda", "mps"):
        arm = arm_with(llama_study, tmp_path / device, device=device)
        compute, notes = compute_of(arm)
        assert compute.device.type == "cpu"
        assert notes == [f"The study requests {device}, but torch sees no such device; cpu is used."]


def test_a_deterministic_arm_is_loaded_after_cuda_was_used(llama_study, tmp_path, monkeypatch) -> None:
    arm = arm_with(llama_study, tmp_path, deterministic=True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    for size in (None, ":0:0"):
        if size:
            monkeypatch.setenv(WORKSPACE, size)
        with PretendedDevice("cuda"):
            compute, _ = compute_of(arm)
            assert not compute.deterministic
            assert not torch.are_deterministic_algorithms_enabled()


def test_an_arm_that_was_compiled_is_loaded_without_a_compiler(llama_study, tmp_path, monkeypatch) -> None:
    def refuse(on_cuda: bool) -> None:
        raise RunError("compute.compile", "is true, but torch reports: no compiler.")

    monkeypatch.setattr("tuneproof.models.compile.check_compiler", refuse)
    arm = arm_with(llama_study, tmp_path, compile=True)
    assert len(tuneproof.load(arm).predict(["a text"]).predicted_N) == 1

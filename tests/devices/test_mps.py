"""A Mac, pretended: no float64 on the device, tensors that do not meet others, few waits a step."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.arms.questions import question_models, question_recipe
from tests.arms.small import folder_of, small_recipe
from tests.devices.pretended import PretendedDevice
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.inference.prediction import read_predictions
from tuneproof.process_group import ProcessGroup
from tuneproof.train import loop

LEARNT = {"train": {"epochs": 1}, "predict": {"timing_s": 0}}
LABELS = [
    "majority",
    "lexical",
    "zero-shot",
    {"few-shot": {"shots": 2, "calibration": "contextual"}},
    "head",
    {"lora": {"learning_rate": 5e-3}},
    {"full": {"learning_rate": 3e-3}},
    {"full": {"name": "last", "layers": "last 1", "learning_rate": 3e-3}},
    {"lp-ft": {"learning_rate": 3e-3}},
    {"full": {"name": "by-trainer", "engine": "trainer", "learning_rate": 3e-3}},
]
WORDS = {"full": {"name": "words", "objective": "words", "learning_rate": 3e-3}}
QUESTIONS = [
    "zero-shot",
    "head",
    "lora",
    {"full": {"learning_rate": 1e-3}},
    {"lora": {"name": "words", "objective": "words"}},
]
ON = {"device": "auto"}


@pytest.fixture(autouse=True)
def no_measured_peaks(monkeypatch) -> None:
    """The matrix product that measures a GPU takes a CPU minutes."""
    monkeypatch.setattr("tuneproof.arms.tuned.measure_device_peak", lambda device, precision: None)


def arms_by_status(recipe) -> dict[str, list[str]]:
    statuses: dict[str, list[str]] = {}
    for file in sorted((Path(recipe.out) / "arms").glob("*/arm.json")):
        about = json.loads(file.read_text("utf-8"))
        statuses.setdefault(about["status"], []).append(about.get("reason") or about["arm"])
    return statuses


@pytest.mark.parametrize("kind", ["llama", pytest.param("distilbert", marks=pytest.mark.slow)])
def test_every_arm_of_labels_runs_on_mps_and_predicts_as_on_a_cpu(tmp_path, kind) -> None:
    model = tiny_model(tmp_path / "model", kind)
    arms = [*LABELS, WORDS] if kind == "llama" else [arm for arm in LABELS if "few-shot" not in arm]
    recipe = small_recipe(tmp_path, [model], arms, out="mps", compute=ON, **LEARNT)
    with PretendedDevice("mps"):
        run_recorded(recipe)
    assert list(arms_by_status(recipe)) == ["done"]
    compared = ["head", LABELS[5]] if kind == "llama" else ["head"]  # where no dropout is drawn
    on_cpu = small_recipe(tmp_path, [model], compared, out="cpu", **LEARNT)
    run_recorded(on_cpu)
    for arm in ("head", "lora")[: len(compared)]:
        file = "predictions.parquet"
        cpu, mps = (read_predictions(folder_of(study, arm) / file) for study in (on_cpu, recipe))
        np.testing.assert_allclose(mps.probabilities_NC, cpu.probabilities_NC, atol=1e-4)


def test_every_arm_of_questions_runs_on_mps(tmp_path) -> None:
    model = question_models(tmp_path / "models", ["llama"])["llama"]
    recipe = question_recipe(tmp_path, [model], QUESTIONS, compute=ON, **LEARNT)
    with PretendedDevice("mps"):
        run_recorded(recipe)
    assert list(arms_by_status(recipe)) == ["done"]


@pytest.mark.slow
def test_the_demos_arms_run_on_mps(tmp_path) -> None:
    from tuneproof.recipe.recipe import recipe_from

    values = {
        "task": "demo",
        "models": ["demo"],
        "seeds": [0],
        "arms": ["majority", "lexical", "zero-shot", "head", "lora", "full"],
        "split": {"train_size": 12, "dev_size": 8, "test_size": 8},
        "train": {"epochs": 1, "batch_size": 6, "min_steps": 0},
        "predict": {"timing_s": 0},
        "encode": {"max_length": 128},
        "compute": {"threads": 1},
        "out": str(tmp_path / "demo"),
    }
    recipe = recipe_from(values)
    with PretendedDevice("mps"):
        run_recorded(recipe)
    assert list(arms_by_status(recipe)) == ["done"]


@pytest.mark.parametrize(("kind", "precision"), [("mps", "fp32"), ("cuda", "bf16")])
def test_the_host_waits_for_the_device_a_few_times_a_step(tmp_path, monkeypatch, kind, precision) -> None:
    """One is the loop's own; at most two are of transformers, which looks whether it needs a mask."""
    update, waits = loop._update_weights, []
    model = tiny_model(tmp_path / "model", "llama")
    arms = [{"lora": {"learning_rate": 5e-3}}]
    recipe = small_recipe(tmp_path, [model], arms, compute={**ON, "precision": precision}, **LEARNT)
    with PretendedDevice(kind) as device:

        def count(*args):
            step = update(*args)
            waits.append(list(device.synchronisations))
            return step

        monkeypatch.setattr(loop, "_update_weights", count)
        run_recorded(recipe)
    first, second = waits[1:3]  # no evaluation lies between them
    assert first == second[: len(first)]
    step = second[len(first) :]
    assert step.count("tolist") == 1
    assert set(step) <= {"tolist", "_local_scalar_dense"}, step
    assert len(step) <= 3, step


def test_messages_of_processes_are_in_float64_where_the_device_is_mps(monkeypatch) -> None:
    group = ProcessGroup(0, 2, "mps")
    monkeypatch.setattr(ProcessGroup, "_gather_tensors", lambda self, own: [own, own])
    with PretendedDevice("mps"):
        assert group._gather_numbers([2**40 + 0.5]) == [[2**40 + 0.5]] * 2


def test_a_shortage_empties_the_cache_of_mps() -> None:
    from tuneproof.models.oom import release_memory

    for kind in ("mps", "cuda"):
        with PretendedDevice(kind) as device:
            release_memory()
        assert device.emptied == 1

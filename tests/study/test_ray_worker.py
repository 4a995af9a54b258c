"""A worker on a node: what it refuses, when it stops, that it needs no cluster to be tried."""

import sys
from pathlib import Path

import pytest

from tests.arms.small import arm_of, folder_of, small_recipe
from tests.tiny_models import tiny_model
from tuneproof.context.monitor import ArmEnded
from tuneproof.errors import RunError
from tuneproof.study.plan import look_ahead
from tuneproof.study.ray_worker import carry_out_told, machine_here
from tuneproof.study.study import events_of


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study's folder as a driver has prepared it, and what a worker of its arm is told."""
    monkeypatch.chdir(tmp_path)
    model = tiny_model(tmp_path / "bert", "distilbert")
    full = {"full": {"learning_rate": 1e-3}}
    recipe = small_recipe(tmp_path, [model], [full], train={"epochs": 40})
    plan = look_ahead(recipe)
    plan.folder.mkdir()
    (plan.folder / "recipe.yaml").write_text(recipe.text())
    told = {
        "text": recipe.text(),
        "cwd": str(tmp_path),
        "threads": 1,
        "machine": None,
        "place": 0,
        "fingerprint": plan.works[0].fingerprint,
    }
    return recipe, told


def test_a_node_without_the_folder_of_the_start_is_refused(study) -> None:
    _, told = study
    found = carry_out_told({**told, "cwd": "/not/there"}, [], lambda said: False)
    assert "does not see /not/there. Start from a folder that all nodes see." in found["refused"]


@pytest.mark.parametrize("seen", [None, "task: sst2\n"])
def test_a_node_without_the_studys_folder_is_refused(study, tmp_path, seen) -> None:
    _, told = study
    (tmp_path / "study" / "recipe.yaml").unlink()
    if seen:
        (tmp_path / "study" / "recipe.yaml").write_text(seen)
    found = carry_out_told(told, [], lambda said: False)
    assert "does not see the study's folder" in found["refused"]
    assert "Name a folder on storage that all nodes share with --out." in found["refused"]


def test_a_node_with_other_files_is_refused(study) -> None:
    _, told = study
    found = carry_out_told({**told, "fingerprint": "0" * 64}, [], lambda said: False)
    assert "sees another bert full seed 0: its data, model or packages differ" in found["refused"]


def test_an_arm_that_waited_until_the_stop_is_not_begun(study) -> None:
    recipe, told = study
    assert carry_out_told(told, [], lambda said: True) == {"well": False}
    assert not (Path(recipe.out) / "arms").exists()


def test_an_arm_told_to_stop_keeps_its_checkpoint_and_says_who_died(study) -> None:
    recipe, told = study
    heard: list = []

    def put(said) -> bool:
        heard.extend(said)
        return any(kind == "Advanced" and "loss" in values["note"] for kind, values in said)

    assert carry_out_told(told, ["its worker died"], put) == {"well": False}
    assert list(folder_of(recipe, "full").glob("checkpoints/step-*"))
    assert not (folder_of(recipe, "full") / "arm.json").exists()
    assert carry_out_told(told, ["its worker died"], lambda said: False) == {"well": True}
    notes = arm_of(recipe, "full")["notes"]
    assert "On the cluster its worker died; another worker went on with the arm." in notes
    assert any("goes on after step" in note for note in notes)
    assert [e.status for e in events_of(recipe) if isinstance(e, ArmEnded)] == ["skipped"]


def test_a_baseline_needs_no_gpu_that_the_models_ask_for(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = tiny_model(tmp_path / "bert", "distilbert")
    recipe = small_recipe(tmp_path, [model], ["majority", "head"], compute={"device": "cuda"})
    machine = {"compute.device": "cuda", "compute.precision": "bf16", "compute.threads": 1}
    plan = look_ahead(recipe, machine=machine)
    plan.folder.mkdir()
    (plan.folder / "recipe.yaml").write_text(recipe.text())
    told = {
        "text": recipe.text(),
        "cwd": str(tmp_path),
        "threads": 1,
        "machine": tuple(machine.items()),
        "place": 0,
        "fingerprint": plan.works[0].fingerprint,
    }
    assert carry_out_told(told, [], lambda said: False) == {"well": True}


def test_what_a_worker_does_not_have_is_said_and_not_raised(tmp_path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("a CUDA device is there")
    recipe = small_recipe(tmp_path, [], ["majority"], compute={"device": "cuda"})
    assert "cuda is asked for" in machine_here(recipe.text(), 1)["refused"]


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    recipe = small_recipe(tmp_path, [], ["majority"])
    with pytest.raises(RunError) as caught:
        list(events_of(recipe, on="ray"))
    assert str(caught.value) == "--on ray: Ray is not installed. pip install 'tuneproof[ray]'"

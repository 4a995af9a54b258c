"""A worker on a node: what it refuses, when it stops, that it needs no cluster to be tried."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.arms.small import arm_of, folder_of, small_recipe
from tests.devices.pretended import PretendedDevice
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.context.monitor import ArmFinished
from tuneproof.errors import RunError
from tuneproof.study.plan import plan_study
from tuneproof.study.ray_worker import Assignment, describe_machine, run_assignment
from tuneproof.study.run import run_study


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study's folder as a driver has prepared it, and what a worker of its arm is told."""
    monkeypatch.chdir(tmp_path)
    model = tiny_model(tmp_path / "bert", "distilbert")
    full = {"full": {"learning_rate": 1e-3}}
    recipe = small_recipe(tmp_path, [model], [full], train={"epochs": 40})
    plan = plan_study(recipe)
    plan.folder.mkdir()
    (plan.folder / "recipe.yaml").write_text(recipe.text())
    return recipe, Assignment(recipe.text(), str(tmp_path), 1, None, 0, plan.arms[0].fingerprint)


def test_a_node_without_the_folder_of_the_start_is_refused(study) -> None:
    _, assignment = study
    answer = run_assignment(replace(assignment, cwd="/not/there"), [], lambda events: False)
    assert "does not see /not/there. Start from a folder that all nodes see." in answer["refused"]


@pytest.mark.parametrize("seen", [None, "task: sst2\n"])
def test_a_node_without_the_studys_folder_is_refused(study, tmp_path, seen) -> None:
    _, assignment = study
    (tmp_path / "study" / "recipe.yaml").unlink()
    if seen:
        (tmp_path / "study" / "recipe.yaml").write_text(seen)
    answer = run_assignment(assignment, [], lambda events: False)
    assert "does not see the study's folder" in answer["refused"]
    assert "Name a folder on storage that all nodes share with --out." in answer["refused"]


def test_a_node_with_other_files_is_refused(study) -> None:
    _, assignment = study
    answer = run_assignment(replace(assignment, fingerprint="0" * 64), [], lambda events: False)
    assert "sees another bert full seed 0: its data, model or packages differ" in answer["refused"]


def test_an_arm_that_waited_until_the_stop_is_not_begun(study) -> None:
    recipe, assignment = study
    assert run_assignment(assignment, [], lambda events: True) == {"success": False}
    assert not (Path(recipe.out) / "arms").exists()


def test_an_arm_told_to_stop_keeps_its_checkpoint_and_says_who_died(study) -> None:
    recipe, assignment = study

    def send(events) -> bool:
        return any(kind == "Progress" and "loss" in values["note"] for kind, values in events)

    assert run_assignment(assignment, ["its worker died"], send) == {"success": False}
    assert list(folder_of(recipe, "full").glob("checkpoints/step-*"))
    assert not (folder_of(recipe, "full") / "arm.json").exists()
    assert run_assignment(assignment, ["its worker died"], lambda events: False) == {"success": True}
    notes = arm_of(recipe, "full")["notes"]
    assert "On the cluster its worker died; another worker continued the arm." in notes
    assert any("resumes after step" in note for note in notes)
    events = run_recorded(recipe).events
    assert [event.status for event in events if isinstance(event, ArmFinished)] == ["skipped"]


def test_a_baseline_needs_no_gpu_that_the_models_ask_for(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = tiny_model(tmp_path / "bert", "distilbert")
    recipe = small_recipe(tmp_path, [model], ["majority", "head"], compute={"device": "cuda"})
    machine = {"compute.device": "cuda", "compute.precision": "bf16", "compute.threads": 1}
    plan = plan_study(recipe, machine=machine)
    plan.folder.mkdir()
    (plan.folder / "recipe.yaml").write_text(recipe.text())
    fingerprint = plan.arms[0].fingerprint
    assignment = Assignment(recipe.text(), str(tmp_path), 1, tuple(machine.items()), 0, fingerprint)
    assert run_assignment(assignment, [], lambda events: False) == {"success": True}


def test_what_a_worker_does_not_have_is_said_and_not_raised(tmp_path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("a CUDA device is there")
    recipe = small_recipe(tmp_path, [], ["majority"], compute={"device": "cuda"})
    assert "cuda" in describe_machine(recipe.text(), 1)["refused"]


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    recipe = small_recipe(tmp_path, [], ["majority"])
    with pytest.raises(RunError) as caught:
        run_study(recipe, on="ray")
    assert str(caught.value) == "--on ray: Ray is not installed. pip install 'tuneproof[ray]'"


def test_a_node_that_would_emulate_bf16_is_refused_unless_the_study_began_so(study) -> None:
    recipe, _ = study
    compute = recipe.compute.model_copy(update={"device": "auto", "precision": "bf16"})
    text = recipe.model_copy(update={"compute": compute}).text()
    with PretendedDevice("cuda", bf16=False):
        assert "Tesla T4 has no instructions for it" in describe_machine(text, 1)["refused"]
        arm = Path(recipe.out) / "arms" / "bert.full.seed0"
        arm.mkdir(parents=True)
        (arm / "facts.json").write_text('{"facts": {"compute.precision": "bf16"}}')
        assert describe_machine(text, 1)["compute.precision"] == "bf16"

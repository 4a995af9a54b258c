"""Trackers get every step's numbers; a missing or refusing one is an error, not a traceback."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.arms.small import small_recipe, steps_of
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.errors import RecipeError, RunError
from tuneproof.train.trackers import check_trackers, open_trackers, track


class Trackio(ModuleType):
    """Takes the place of the package, as far as Accelerate asks it."""

    def __init__(self) -> None:
        super().__init__("trackio")
        self.__spec__ = ModuleSpec("trackio", None)
        self.seen: list[Any] = []

    def init(self, project: str, name: str) -> "Trackio":
        self.seen.append(("begin", project, name))
        return self

    def log(self, values: dict[str, float], step: int | None = None) -> None:
        self.seen.append((step, values))

    def finish(self) -> None:
        self.seen.append("end")


@pytest.fixture
def trackio(monkeypatch) -> Trackio:
    package = Trackio()
    monkeypatch.setitem(sys.modules, "trackio", package)
    return package


def test_every_step_of_an_arm_is_sent(trackio, tmp_path):
    model = tiny_model(tmp_path / "tiny", "distilbert")
    recipe = small_recipe(tmp_path, [model], ["full"], train={"epochs": 1, "trackers": ["trackio"]})
    run_recorded(recipe)
    lines = steps_of(recipe, "full")
    begin, *steps, end = trackio.seen
    assert (begin, end) == (("begin", "study", "tiny.full.seed0"), "end")
    assert [step for step, _ in steps] == [line["step"] for line in lines]
    for (_, sent), line in zip(steps, lines, strict=True):
        assert sent["loss"] == line["loss"]
        assert sent["learning_rate"] == line["learning_rate"]
        assert ("dev_loss" in sent) == (line["dev_loss"] is not None)


def test_a_tracker_is_finished_where_training_fails(trackio):
    def fail() -> None:
        with open_trackers(["trackio"], Path("study"), "arm") as trackers:
            track(trackers, {"loss": 1.0, "note": "x", "skipped": False, "step": 3}, 3)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert trackio.seen[1:] == [(3, {"loss": 1.0}), "end"]


def test_a_package_that_is_not_there_is_named_before_anything_loads():
    with pytest.raises(RecipeError) as error:
        check_trackers(["no_such_tracker"])
    assert str(error.value) == (
        "train.trackers: the package no_such_tracker is not installed. pip install no_such_tracker, "
        "or remove it: every step is in steps.jsonl as well."
    )


def test_a_tracker_that_does_not_start_says_why(trackio, monkeypatch):
    def init(project: str, name: str) -> None:
        raise OSError("no login.\nRun login")

    monkeypatch.setattr(trackio, "init", init)
    with (
        pytest.raises(RunError, match=r"^tracker trackio: did not start: no login\. Run login\. "),
        open_trackers(["trackio"], Path("study"), "arm"),
    ):
        pass


def test_without_trackers_nothing_is_imported():
    with open_trackers([], Path("study"), "arm") as trackers:
        assert trackers == []

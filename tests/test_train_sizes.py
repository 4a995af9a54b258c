"""Arms on samples of train: how they are drawn, run, listed separately and reported."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.arms.small import folder_of, small_recipe
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.apply.labels import predict
from tuneproof.context.monitor import ArmFinished
from tuneproof.errors import RunError
from tuneproof.record.study_folder import read_study
from tuneproof.study.plan import check

ARMS = ["majority", "lexical", "zero-shot", "head", {"full": {"learning_rate": 3e-3}}]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    root = tmp_path_factory.mktemp("sizes")
    model = tiny_model(root / "llama", "llama")
    return small_recipe(
        root, [model], ARMS, seeds=[0, 1], train_sizes=[8, 16], claim={"arm": "full", "over": "head"}
    )


@pytest.fixture(scope="module")
def study(recipe):
    events = run_recorded(recipe).events
    assert {e.status for e in events if isinstance(e, ArmFinished)} == {"done"}
    return read_study(Path(recipe.out))


def test_a_sample_is_stratified_nested_and_the_same_for_all_arms(recipe) -> None:
    study = check(recipe).study
    small, large = study.sampled(8, 1), study.sampled(16, 1)
    ids = [example.id for example in small.splits.train]
    assert ids == [example.id for example in large.splits.train][:8]
    assert np.bincount([example.label for example in small.splits.train]).tolist() == [4, 4]
    assert ids != [example.id for example in study.sampled(8, 0).splits.train]
    assert set(ids) <= {example.id for example in study.splits.train}
    assert small.splits.test == study.splits.test


def test_every_arm_that_learns_is_run_at_every_size_with_every_seed(recipe) -> None:
    runs = [run for run in check(recipe).arms if run.train_size]
    learners = ("majority", "lexical", "head", "full")
    expected = {(name, size, seed) for name in learners for size in (8, 16) for seed in (0, 1)}
    assert {(run.arm.name, run.train_size, run.seed) for run in runs} == expected
    assert len({run.folder for run in runs}) == len(runs)
    assert len({run.fingerprint for run in runs}) == len(runs)


def test_arms_on_samples_stand_apart_from_the_others(study) -> None:
    assert {arm.about["train_size"] for arm in study.arms} == {None}
    assert {arm.about["train_size"] for arm in study.sampled} == {8, 16}
    names = {pair["arm"] for pair in study.comparisons["comparisons"]}
    assert names <= {"majority", "lexical", "zero-shot", "head", "full"}
    pooled = {entry["arm"]: entry["seeds"] for entry in study.comparisons["arms"]}
    assert pooled["full"] == 2
    assert pooled["lexical"] == 1


def test_a_sampled_arm_learnt_from_so_many_items(study) -> None:
    steps = {
        arm.about["train_size"]: sum(step["count"] for step in arm.steps)
        for arm in study.sampled
        if arm.about["arm"] == "full" and arm.about["seed"] == 0
    }
    assert steps == {8: 2 * 8, 16: 2 * 16}


def test_scores_by_size_end_with_the_whole_and_say_what_it_adds(study) -> None:
    entries = [e for e in study.comparisons["by_train_size"] if e["arm"] == "full"]
    assert [entry["train_size"] for entry in entries] == [8, 16, study.splits["sizes"]["train"]]
    assert [entry["seeds"] for entry in entries] == [2, 2, 2]
    assert entries[-1]["gain_from_full_train"] is None
    whole, small = entries[-1]["score"]["value"], entries[0]["score"]["value"]
    assert entries[0]["gain_from_full_train"]["difference"] == pytest.approx(whole - small)
    assert entries[0]["gain_from_full_train"]["over"] == "full on 8 items"


def test_the_report_draws_them_in_a_section_of_their_own(study) -> None:
    page = (study.folder / "report.html").read_text("utf-8")
    section = page[page.index('<section id="label-efficiency">') : page.index('<section id="changes">')]
    assert "<svg" in section
    for name in ("majority", "lexical", "head", "full", "zero-shot"):
        assert name in section
    assert re.search(r"(full on (8|16) items is|No sample of full is shown to be)", section)
    assert " on 8 items" not in page[: page.index('<section id="label-efficiency">')]


def test_the_second_run_has_nothing_left_to_do(recipe, study) -> None:
    statuses = {event.status for event in run_recorded(recipe).events if isinstance(event, ArmFinished)}
    assert statuses == {"skipped"}


def test_a_sampled_arm_keeps_no_weights_and_says_so(recipe, study) -> None:
    folder = folder_of(recipe, "head.train8", 0)
    assert not (folder / "weights").exists()
    with pytest.raises(RunError, match="learnt from a sample of train and kept no weights"):
        predict(folder, ["good"])


def test_min_steps_lengthens_short_trainings_alone(tmp_path) -> None:
    model = tiny_model(tmp_path / "llama", "llama")
    arms = [{"full": {"learning_rate": 3e-3}}]
    recipe = small_recipe(tmp_path, [model], arms, train_sizes=[8], train={"min_steps": 5})
    run_recorded(recipe)
    steps = {}
    for path in (Path(recipe.out) / "arms").glob("*/arm.json"):
        about = json.loads(path.read_text("utf-8"))
        steps[about["train_size"]] = about["chosen"]["steps_done"]
    assert steps[8] == 5, "one step an epoch, two epochs requested"
    assert steps[None] == 2 * -(-36 // 8), "long enough already"

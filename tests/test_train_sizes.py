"""Arms on samples of train: how they are drawn, run, kept apart and reported."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.arms.small import folder_of, follow, small_recipe
from tests.tiny_models import tiny_model
from tuneproof.apply.labels import predict
from tuneproof.context.monitor import ArmEnded
from tuneproof.errors import RunError
from tuneproof.record.study_folder import read_study
from tuneproof.study.run import check

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
    events = follow(recipe)
    assert {e.status for e in events if isinstance(e, ArmEnded)} == {"done"}
    return read_study(Path(recipe.out))


def test_a_sample_is_stratified_nested_and_the_same_for_all_arms(recipe) -> None:
    shared = check(recipe).shared
    small, large = shared.sampled(8, 1), shared.sampled(16, 1)
    ids = [example.id for example in small.splits.train]
    assert ids == [example.id for example in large.splits.train][:8]
    assert np.bincount([example.label for example in small.splits.train]).tolist() == [4, 4]
    assert ids != [example.id for example in shared.sampled(8, 0).splits.train]
    assert set(ids) <= {example.id for example in shared.splits.train}
    assert small.splits.test == shared.splits.test


def test_every_arm_that_learns_is_run_at_every_size_with_every_seed(recipe) -> None:
    works = [work for work in check(recipe).works if work.size]
    found = {(work.arm.name, work.size, work.seed) for work in works}
    learners = ("majority", "lexical", "head", "full")
    assert found == {(name, size, s) for name in learners for size in (8, 16) for s in (0, 1)}
    assert len({work.folder for work in works}) == len(works)
    assert len({work.fingerprint for work in works}) == len(works)


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
    assert entries[-1]["whole_adds"] is None
    whole, small = entries[-1]["score"]["value"], entries[0]["score"]["value"]
    assert entries[0]["whole_adds"]["difference"] == pytest.approx(whole - small)
    assert entries[0]["whole_adds"]["over"] == "full on 8 items"


def test_the_report_draws_them_in_a_section_of_their_own(study) -> None:
    page = (study.folder / "report.html").read_text("utf-8")
    section = page[page.index('<section id="labels">') : page.index('<section id="changed">')]
    assert "<svg" in section
    for name in ("majority", "lexical", "head", "full", "zero-shot"):
        assert name in section
    assert re.search(r"full on (all|8|16) .*?(better than on|cannot be told from itself)", section)
    assert " on 8 items" not in page[: page.index('<section id="labels">')]


def test_the_second_run_has_nothing_left_to_do(recipe, study) -> None:
    statuses = {event.status for event in follow(recipe) if isinstance(event, ArmEnded)}
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
    follow(recipe)
    found = {}
    for path in (Path(recipe.out) / "arms").glob("*/arm.json"):
        about = json.loads(path.read_text("utf-8"))
        found[about["train_size"]] = about["chosen"]["steps_done"]
    assert found[8] == 5, "one step an epoch, two epochs asked"
    assert found[None] == 2 * -(-36 // 8), "long enough already"

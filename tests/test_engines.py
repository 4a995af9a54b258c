"""A study with both engines: the same arm, compared step by step in its report."""

import re
from pathlib import Path

import pytest

from tests.arms.small import arm_of, follow, small_recipe, steps_of
from tests.tiny_models import tiny_model
from tuneproof.context.monitor import ArmEnded
from tuneproof.errors import RecipeError, StoppedError
from tuneproof.record.study_folder import read_study
from tuneproof.report.engine_parity import engines
from tuneproof.report.rounding import MINUS
from tuneproof.report.tables import pooled_rows
from tuneproof.study.study import events_of

FULL = {"full": {"learning_rate": 1e-3}}
TRAINER = {"full": {"name": "full-trainer", "engine": "trainer", "learning_rate": 1e-3}}
LORA = {"lora": {"name": "lora-trainer", "engine": "trainer", "learning_rate": 1e-3}}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "bert", "distilbert")


@pytest.fixture(scope="module")
def study(tmp_path_factory, model):
    recipe = small_recipe(
        tmp_path_factory.mktemp("study"),
        [model],
        ["majority", FULL, TRAINER, LORA],
        train={"epochs": 3, "batch_size": 7, "evals_per_epoch": 2, "schedule": "linear", "warmup_share": 0.1},
    )
    follow(recipe)
    return recipe


def test_with_dropout_too_the_trainer_takes_our_steps(study) -> None:
    ours, theirs = steps_of(study, "full"), steps_of(study, "full-trainer")
    assert len(ours) == len(theirs) > 12
    for mine, other in zip(ours, theirs, strict=True):
        assert other["loss"] == pytest.approx(mine["loss"], abs=1e-5)
        assert other["learning_rate"] == pytest.approx(mine["learning_rate"], abs=1e-12)
        assert other["gradient_norm"] == pytest.approx(mine["gradient_norm"], rel=1e-3)
        assert (other["dev_loss"] is None) == (mine["dev_loss"] is None)
    chosen, wanted = (arm_of(study, name)["chosen"] for name in ("full-trainer", "full"))
    assert chosen["step"] == wanted["step"]


def test_the_report_says_how_far_apart_the_two_are(study) -> None:
    found = engines(pooled_rows(read_study(Path(study.out))))
    assert found is not None
    ((name, steps, loss, norm, rate, times),) = found.table.rows
    assert (name, int(steps)) == ("full and full-trainer", len(steps_of(study, "full")))
    assert 0 <= number(loss) < 1e-5
    assert number(norm.removesuffix(" %")) < 0.1
    assert number(rate) < 1e-12
    assert re.fullmatch(r"1 : \d+\.\d\d", times)
    page = (Path(study.out) / "report.html").read_text("utf-8")
    assert "Our loop beside the Trainer" in page
    assert loss in page


def number(shown: str) -> float:
    return float(shown.replace(MINUS, "-"))


def test_other_arms_are_not_compared_with_the_trainer(study) -> None:
    rows = [row for row in pooled_rows(read_study(Path(study.out))) if row.arm != "full"]
    assert any(row.arm == "lora-trainer" for row in rows)
    assert engines(rows) is None


def test_an_arm_of_the_trainer_that_is_stopped_begins_again(tmp_path, model, study) -> None:
    recipe = small_recipe(
        tmp_path,
        [model],
        [TRAINER],
        train={
            "epochs": 3,
            "batch_size": 7,
            "evals_per_epoch": 2,
            "schedule": "linear",
            "warmup_share": 0.1,
            "checkpoint_minutes": 0,
        },
    )
    events = events_of(recipe)
    for event in events:
        if getattr(event, "note", "").startswith("loss") and lines_of(recipe) > 4:
            break
    with pytest.raises(StoppedError):
        events.throw(StoppedError("test", "stopped."))
    assert not list(Path(recipe.out).rglob("step-*"))
    ended = [event for event in follow(recipe) if isinstance(event, ArmEnded)]
    assert [event.status for event in ended] == ["done"]
    kept, whole = steps_of(recipe, "full-trainer"), steps_of(study, "full-trainer")
    assert [line["loss"] for line in kept] == [line["loss"] for line in whole]


def lines_of(recipe) -> int:
    found = list(Path(recipe.out).glob("arms/*/steps.jsonl"))
    return found[0].read_text().count("\n") if found else 0


@pytest.mark.parametrize(
    ("sections", "what"),
    [
        ({"train": {"micro_batch": 2}}, r"train\.micro_batch"),
        ({"train": {"nonfinite": "skip"}}, r"train\.nonfinite"),
        ({"compute": {"memory": "auto"}}, r"compute\.memory"),
    ],
)
def test_what_the_trainer_does_not_do_is_refused(tmp_path, model, sections, what) -> None:
    recipe = small_recipe(tmp_path, [model], [TRAINER], **sections)
    with pytest.raises(RecipeError, match=f"engine: trainer does not go with {what}"):
        follow(recipe)

"""A study with both engines: the same arm, compared step by step in its report."""

import re
from pathlib import Path

import pytest

from tests.arms.small import arm_of, small_recipe, steps_of
from tests.monitoring import run_recorded, run_until
from tests.tiny_models import tiny_model
from tuneproof.context.monitor import ArmFinished, Progress
from tuneproof.errors import RecipeError
from tuneproof.record.study_folder import read_study
from tuneproof.report.engine_parity import engine_parity
from tuneproof.report.formatting import MINUS
from tuneproof.report.tables import pooled_rows

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
    run_recorded(recipe)
    return recipe


def test_with_dropout_too_the_trainer_takes_our_steps(study) -> None:
    ours, theirs = steps_of(study, "full"), steps_of(study, "full-trainer")
    assert len(ours) == len(theirs) > 12
    for our_step, trainer_step in zip(ours, theirs, strict=True):
        assert trainer_step["loss"] == pytest.approx(our_step["loss"], abs=1e-5)
        assert trainer_step["learning_rate"] == pytest.approx(our_step["learning_rate"], abs=1e-12)
        assert trainer_step["gradient_norm"] == pytest.approx(our_step["gradient_norm"], rel=1e-3)
        assert (trainer_step["dev_loss"] is None) == (our_step["dev_loss"] is None)
    chosen, expected = (arm_of(study, name)["chosen"] for name in ("full-trainer", "full"))
    assert chosen["step"] == expected["step"]


def test_the_report_shows_the_largest_differences(study) -> None:
    parity = engine_parity(pooled_rows(read_study(Path(study.out))))
    assert parity is not None
    ((name, steps, loss, norm, rate, times),) = parity.table.rows
    assert (name, int(steps)) == ("full and full-trainer", len(steps_of(study, "full")))
    assert 0 <= number(loss) < 1e-5
    assert number(norm.removesuffix(" %")) < 0.1
    assert number(rate) < 1e-12
    assert re.fullmatch(r"1 : \d+\.\d\d", times)
    page = (Path(study.out) / "report.html").read_text("utf-8")
    assert "Parity with the Hugging Face Trainer" in page
    assert loss in page


def number(text: str) -> float:
    return float(text.replace(MINUS, "-"))


def test_other_arms_are_not_compared_with_the_trainer(study) -> None:
    rows = [row for row in pooled_rows(read_study(Path(study.out))) if row.arm != "full"]
    assert any(row.arm == "lora-trainer" for row in rows)
    assert engine_parity(rows) is None


def test_a_stopped_arm_of_the_trainer_starts_again(tmp_path, model, study) -> None:
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
    run_until(
        recipe,
        lambda event: isinstance(event, Progress) and event.note.startswith("loss") and lines_of(recipe) > 4,
    )
    assert not list(Path(recipe.out).rglob("step-*"))
    finished = [event for event in run_recorded(recipe).events if isinstance(event, ArmFinished)]
    assert [event.status for event in finished] == ["done"]
    steps, expected = steps_of(recipe, "full-trainer"), steps_of(study, "full-trainer")
    assert [line["loss"] for line in steps] == [line["loss"] for line in expected]


def lines_of(recipe) -> int:
    paths = list(Path(recipe.out).glob("arms/*/steps.jsonl"))
    return paths[0].read_text().count("\n") if paths else 0


@pytest.mark.parametrize(
    ("sections", "setting"),
    [
        ({"train": {"micro_batch": 2}}, r"train\.micro_batch"),
        ({"train": {"nonfinite": "skip"}}, r"train\.nonfinite"),
        ({"compute": {"memory": "auto"}}, r"compute\.memory"),
    ],
)
def test_what_the_trainer_does_not_do_is_refused(tmp_path, model, sections, setting) -> None:
    recipe = small_recipe(tmp_path, [model], [TRAINER], **sections)
    with pytest.raises(RecipeError, match=f"engine: trainer cannot be combined with {setting}"):
        run_recorded(recipe)

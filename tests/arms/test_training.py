"""Training that is stopped at any step continues from its checkpoint to the same bits."""

import json
from pathlib import Path

import pytest

from tests.arms.small import arm_of, die_at, folder_of, results, small_recipe, steps_of
from tests.monitoring import run_recorded, run_until
from tests.tiny_models import tiny_model
from tuneproof.arms import training
from tuneproof.arms.training import training_cycles
from tuneproof.context.monitor import Progress, StageStarted
from tuneproof.errors import RunError
from tuneproof.methods.options import TunedOptions
from tuneproof.settings import TrainSettings
from tuneproof.study import arm_session

RATE = {"learning_rate": 3e-3}
ARMS = {
    "full": {"full": RATE},
    "full, words": {"full": {**RATE, "name": "full", "objective": "words"}},
    "lora": {"lora": RATE},
    "lp-ft": {"lp-ft": RATE},
}
SOON = {"checkpoint_minutes": 0, "evals_per_epoch": 2, "micro_batch": 3}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {kind: tiny_model(root / kind, kind) for kind in ("distilbert", "llama")}


@pytest.mark.parametrize(
    ("kind", "arm"),
    [
        ("distilbert", "full"),
        ("llama", "lora"),
        *(pytest.param("distilbert", arm, marks=pytest.mark.slow) for arm in ("lora", "lp-ft")),
        *(pytest.param("llama", arm, marks=pytest.mark.slow) for arm in ("full", "full, words", "lp-ft")),
    ],
)
def test_a_killed_run_resumes_to_the_same_bits(tmp_path, models, monkeypatch, kind, arm) -> None:
    name = next(iter(ARMS[arm]))
    recipes = [
        small_recipe(tmp_path, [models[kind]], [ARMS[arm]], out=out, train=SOON)
        for out in ("whole", "killed")
    ]
    run_recorded(recipes[0])
    for at in (1, 2, 5, 10):
        die_at(monkeypatch, at)
        with pytest.raises(KeyboardInterrupt):
            run_recorded(recipes[1])
        monkeypatch.undo()
    run_recorded(recipes[1])
    assert results(recipes[1], name) == results(recipes[0], name)
    left = (folder_of(recipes[1], name) / "checkpoints").glob("*")
    kept = arm_of(recipes[1], name).get("checkpoint")
    assert [path.name for path in left] == ([f"step-{kept['step']}"] if kept else [])
    assert kept == arm_of(recipes[0], name).get("checkpoint")
    notes = " ".join(arm_of(recipes[1], name)["notes"])
    assert "resumes after step 10" in notes


@pytest.mark.parametrize("moment", ["step", "dev", "predict"])
def test_a_requested_stop_loses_nothing(tmp_path, models, monkeypatch, moment) -> None:
    monkeypatch.setattr(arm_session, "is_under_trained", lambda findings: True)
    recipes = [
        small_recipe(
            tmp_path,
            [models["llama"]],
            [ARMS["full"]],
            out=out,
            train={"checkpoint_minutes": None, "evals_per_epoch": 2},
        )
        for out in ("whole", "stopped")
    ]
    run_recorded(recipes[0])
    stage = {"step": "train", "dev": "dev", "predict": "predict"}[moment]
    stages: list[str] = []

    def stop_at(event) -> bool:
        if isinstance(event, StageStarted):
            stages.append(event.name)
        return stage in stages and isinstance(event, Progress)

    run_until(recipes[1], stop_at)
    folder = folder_of(recipes[1], "full")
    assert len(list((folder / "checkpoints").glob("step-*"))) == 1
    assert not (folder / "arm.json").exists()
    events = run_recorded(recipes[1]).events
    assert results(recipes[1], "full") == results(recipes[0], "full")
    assert not any("checkpoint" in arm_of(recipe, "full") for recipe in recipes)
    steps = [e for e in events if isinstance(e, Progress) and e.note.startswith("loss")]
    if moment == "predict":
        assert not steps, "it trained again"


def test_checkpoints_are_rotated_and_deleted_when_the_arm_is_complete(tmp_path, models, monkeypatch) -> None:
    recipe = small_recipe(tmp_path, [models["llama"]], [ARMS["full"]], train=SOON)
    die_at(monkeypatch, 7)
    with pytest.raises(KeyboardInterrupt):
        run_recorded(recipe)
    folder = folder_of(recipe, "full") / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["step-6", "step-7"]
    monkeypatch.undo()
    monkeypatch.setattr(arm_session, "is_under_trained", lambda findings: False)
    run_recorded(recipe)
    assert not folder.exists()


def test_a_short_arm_that_is_done_writes_no_checkpoint(tmp_path, models, monkeypatch) -> None:
    monkeypatch.setattr(training, "is_under_trained", lambda findings: False)
    monkeypatch.setattr(training.CheckpointManager, "save", lambda *_: pytest.fail("one was written"))
    run_recorded(small_recipe(tmp_path, [models["llama"]], [ARMS["full"]]))


def test_a_bad_number_names_the_last_good_checkpoint_and_can_be_skipped(
    tmp_path, models, monkeypatch
) -> None:
    from tuneproof.objectives.head import HeadObjective
    from tuneproof.train.gradients import LossSum

    loss, calls = HeadObjective.loss, []

    def bad(self, model, part):
        summed = loss(self, model, part)
        if model.training:
            calls.append(1)
        is_bad = len(calls) == 4 and model.training
        return LossSum(summed.sum * float("nan"), summed.count, summed.tokens) if is_bad else summed

    monkeypatch.setattr(HeadObjective, "loss", bad)
    train = {"checkpoint_minutes": 0}
    recipe = small_recipe(tmp_path, [models["llama"]], [ARMS["full"]], train=train)
    with pytest.raises(RunError, match="1 of 1 arms failed"):
        run_recorded(recipe)
    reason = arm_of(recipe, "full")["reason"]
    assert "step 4: the loss is nan in the batch of row-" in reason
    assert reason.endswith("checkpoints/step-3.")
    assert "failed" in (Path(recipe.out) / "report.html").read_text()
    calls.clear()
    recipe = small_recipe(
        tmp_path, [models["llama"]], [ARMS["full"]], out="skip", train={**train, "nonfinite": "skip"}
    )
    run_recorded(recipe)
    steps = steps_of(recipe, "full")
    assert [step["step"] for step in steps if step["skipped"]] == [4]
    assert steps[3]["loss"] is None
    assert steps[3]["gradient_norm"] is None
    assert arm_of(recipe, "full")["chosen"]["steps_skipped"] == 1
    assert "NaN" not in json.dumps(json.loads((Path(recipe.out) / "report.json").read_text()))


@pytest.mark.parametrize(
    ("settings", "options", "steps_per_epoch", "cycles"),
    [
        ({}, {}, 27, (12,)),  # 12 · 27 = 324 steps, 11 · 27 = 297
        ({}, {}, 100, (3,)),
        ({}, {}, 5000, (3,)),
        ({"min_steps": 0}, {}, 27, (3,)),
        ({"min_steps": 600}, {}, 100, (6,)),
        ({"epochs": 2}, {}, 27, (2,)),
        ({"epochs": 2}, {"epochs": 5}, 27, (5,)),
        ({}, {"epochs": 1, "more_epochs": 4}, 27, (1, 4)),
        ({"epochs": 2, "min_steps": 55}, {}, 27, (3,)),
        ({"min_steps": 55}, {"epochs": 1}, 27, (3,)),
    ],
)
def test_epochs_are_as_written_and_otherwise_three_or_300_steps(settings, options, steps_per_epoch, cycles):
    assert training_cycles(TunedOptions(**options), TrainSettings(**settings), steps_per_epoch) == cycles

"""Finished arms go on with more epochs, from the checkpoint they kept, to the bits of one from scratch."""

import json
import shlex
from pathlib import Path

import pytest

from tests.arms.small import arm_of, die_at, folder_of, results, small_recipe, steps_of
from tests.monitoring import RecordingMonitor, run_recorded
from tests.tiny_models import tiny_model
from tuneproof.arms import training
from tuneproof.cli.main import main
from tuneproof.context.monitor import Message
from tuneproof.errors import RecipeError
from tuneproof.recipe.recipe import read_recipe
from tuneproof.study import arm_session
from tuneproof.study.resume import ResumePolicy
from tuneproof.study.run import run_study

RATE = {"learning_rate": 3e-3}
TRAIN = {"epochs": 1, "schedule": "linear", "warmup_share": 0.2, "evals_per_epoch": 2}
EXTEND = ResumePolicy(extend=("lora",))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "llama", "llama")


@pytest.fixture
def under_trained(monkeypatch):
    """Every tuned arm counts as under-trained."""
    for module in (training, arm_session):
        monkeypatch.setattr(module, "is_under_trained", lambda findings: True)


def recipe_of(tmp_path, model, out="study", train=TRAIN, **options):
    arms = ["majority", {"lora": {**RATE, "dropout": 0.1, **options}}]
    return small_recipe(tmp_path, [model], arms, out=out, train=train)


def extend(recipe, policy=EXTEND):
    """Go on with the study's own recipe; returns the messages."""
    monitor = RecordingMonitor()
    run_study(read_recipe(Path(recipe.out) / "recipe.yaml"), monitor, policy)
    return [event.text for event in monitor.events if isinstance(event, Message)]


def test_an_extended_arm_has_the_bits_of_one_that_was_planned_so(tmp_path, model, under_trained) -> None:
    planned = recipe_of(tmp_path, model, "planned", more_epochs=[1, 2])
    run_recorded(planned)
    recipe = recipe_of(tmp_path, model)
    run_recorded(recipe)
    first = steps_of(recipe, "lora")
    about = arm_of(recipe, "lora")
    (checkpoint,) = (folder_of(recipe, "lora") / "checkpoints").iterdir()
    assert about["checkpoint"] == {
        "step": len(first),
        "bytes": sum(file.stat().st_size for file in checkpoint.glob("*.safetensors")),
    }
    assert any("is kept: --extend goes on from it" in note for note in about["notes"])
    messages = extend(recipe)
    assert any("goes on from its final checkpoint with 1 more epochs" in text for text in messages)
    assert [line["loss"] for line in steps_of(recipe, "lora")[: len(first)]] == [s["loss"] for s in first]
    assert any(f"resumes after step {len(first)}." in note for note in arm_of(recipe, "lora")["notes"])
    extend(recipe)
    assert read_recipe(Path(recipe.out) / "recipe.yaml").arm("lora").options.more_epochs == (1, 2)
    assert results(recipe, "lora") == results(planned, "lora")
    rates = [line["learning_rate"] for line in steps_of(recipe, "lora")]
    assert [rates.index(0.0), rates[len(first)], rates[2 * len(first)]] == [0, 0.0, 0.0], "three cycles"
    changes = json.loads((Path(recipe.out) / "changes.json").read_text())["changes"]
    assert [entry["action"] for entry in changes] == ["extended", "extended"]
    assert (Path(recipe.out) / changes[0]["moved_to"] / "predictions.parquet").is_file()


def test_without_a_checkpoint_it_trains_from_the_start_to_the_same_bits(tmp_path, model) -> None:
    train = {**TRAIN, "checkpoint_minutes": None}
    planned, recipe = (
        recipe_of(tmp_path, model, "planned", train, more_epochs=1),
        recipe_of(tmp_path, model, train=train),
    )
    run_recorded(planned)
    run_recorded(recipe)
    assert not (folder_of(recipe, "lora") / "checkpoints").exists()
    messages = extend(recipe, ResumePolicy(extend=("all",)))
    assert any("kept no checkpoint and trains from the start" in text for text in messages)
    assert results(recipe, "lora") == results(planned, "lora")


def test_killed_while_extending_it_resumes_and_is_not_extended_twice(
    tmp_path, model, under_trained, monkeypatch
) -> None:
    train = {**TRAIN, "checkpoint_minutes": 0}
    planned = recipe_of(tmp_path, model, "planned", train, more_epochs=1)
    run_recorded(planned)
    recipe = recipe_of(tmp_path, model, train=train)
    run_recorded(recipe)
    at = len(steps_of(recipe, "lora")) + 2
    with monkeypatch.context() as patch:
        die_at(patch, at)
        with pytest.raises(KeyboardInterrupt):
            extend(recipe)
    extend(recipe)  # the same command again
    assert results(recipe, "lora") == results(planned, "lora")
    assert any(f"resumes after step {at}." in note for note in arm_of(recipe, "lora")["notes"])


@pytest.mark.parametrize("moment", ["write_text", "rename_folder"])
def test_killed_before_the_arm_has_moved_the_next_run_completes_it(
    tmp_path, model, under_trained, monkeypatch, moment
) -> None:
    from tuneproof.study import extend as module
    from tuneproof.study import run as main_path

    planned = recipe_of(tmp_path, model, "planned", more_epochs=1)
    run_recorded(planned)
    recipe = recipe_of(tmp_path, model)
    run_recorded(recipe)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(main_path if moment == "write_text" else module, moment, stop)
        with pytest.raises(KeyboardInterrupt):
            extend(recipe)
    extend(recipe, EXTEND if moment == "write_text" else ResumePolicy())
    assert results(recipe, "lora") == results(planned, "lora")


def test_the_verdict_is_withheld_and_its_command_works(tmp_path, model, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    slow = {"learning_rate": 1e-6, "dropout": 0.0}
    arms = ["lexical", {"lora": slow}]
    recipe = small_recipe(
        tmp_path, [model], arms, out="own folder", train=TRAIN, claim={"arm": "lora", "over": "lexical"}
    ).model_copy(update={"out": "own folder"})
    run_study(recipe, RecordingMonitor())
    comparisons = json.loads(Path("own folder/comparisons.json").read_text())
    (diagnosis,) = comparisons["diagnoses"]
    assert (diagnosis["arm"], diagnosis["seed"], diagnosis["under_trained"]) == ("lora", 0, True)
    assert "not_learning" in [finding["name"] for finding in diagnosis["findings"]]
    sentence = comparisons["verdict"]["sentence"]
    assert sentence.startswith(
        "Cannot tell whether lora is worse than lexical: lora had learnt next to nothing"
    )
    assert comparisons["verdict"]["outcome"] == "cannot tell"
    assert comparisons["comparisons"][0]["withheld"]
    del comparisons["diagnoses"]  # as before there were diagnoses
    Path("own folder/comparisons.json").write_text(json.dumps({**comparisons, "verdict": {}}))
    assert main(["report", "own folder"]) == 0
    assert json.loads(Path("own folder/comparisons.json").read_text())["diagnoses"] == [diagnosis]
    command = diagnosis["command"]
    assert f"`{command}`" in sentence
    assert main(shlex.split(command)[1:]) == 0
    assert read_recipe("own folder/recipe.yaml").arm("lora").options.more_epochs == (1,)
    assert json.loads(Path("own folder/provenance.json").read_text())["changes"][0]["action"] == "extended"


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        (ResumePolicy(extend=("lorra",)), "'lorra' is not an arm of this study. Did you mean lora?"),
        (ResumePolicy(extend=("majority",)), "majority is not trained in epochs. Arms that are: lora."),
        (ResumePolicy(extend=("lora",), accept=True), "cannot be combined with --accept-change."),
        (ResumePolicy(restart=("all",), extend=("lora",)), "cannot be combined with --restart."),
    ],
)
def test_what_cannot_go_on_is_refused(tmp_path, model, policy, problem) -> None:
    recipe = recipe_of(tmp_path, model)
    with pytest.raises(RecipeError, match=r"holds no study\. Run it without --extend first"):
        run_study(recipe, RecordingMonitor(), EXTEND)
    Path(recipe.out).mkdir(exist_ok=True)
    (Path(recipe.out) / "recipe.yaml").write_text(recipe.text())
    with pytest.raises(RecipeError) as caught:
        run_study(recipe, RecordingMonitor(), policy)
    assert problem in str(caught.value)


def test_an_arm_that_patience_stopped_is_not_extended(tmp_path, model) -> None:
    train = {**TRAIN, "epochs": 4, "patience": 1, "evals_per_epoch": 1}
    recipe = small_recipe(tmp_path, [model], [{"full": {"learning_rate": 0.5}}], train=train)
    run_recorded(recipe)
    with pytest.raises(RecipeError, match=r"full was stopped early by train\.patience"):
        extend(recipe, ResumePolicy(extend=("full",)))


def test_one_further_cycle_can_be_written_as_a_number(tmp_path, model) -> None:
    assert recipe_of(tmp_path, model, more_epochs=3).arm("lora").options.more_epochs == (3,)
    with pytest.raises(RecipeError, match="more_epochs"):
        recipe_of(tmp_path, model, more_epochs=[0])


def test_the_trainer_has_no_more_epochs(tmp_path, model) -> None:
    with pytest.raises(RecipeError, match="engine: trainer cannot be combined with more_epochs"):
        run_recorded(recipe_of(tmp_path, model, engine="trainer", more_epochs=[1]))

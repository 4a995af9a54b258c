"""The forecast of a study: what is in it, what is not known, where it goes."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.arms.questions import question_models, question_recipe
from tests.arms.small import context_of, small_recipe
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.arms.memory_plan import predict_peak
from tuneproof.context.monitor import StudyForecast
from tuneproof.errors import RunError
from tuneproof.families.blocks import with_layers
from tuneproof.models.load import model_on_meta
from tuneproof.study.forecast import ArmForecast, Forecast, announce_forecast, forecast_plan
from tuneproof.study.forecast_process import forecast_apart, forecast_here
from tuneproof.study.plan import check

KEYS = {"label", "arm", "model", "seed", "train_size", "steps", "time_s", "memory_bytes"}
TRAIN = {"epochs": 1, "batch_size": 8, "min_steps": 0}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {kind: tiny_model(root / kind, kind) for kind in ("llama", "distilbert")}


def forecast_of(recipe) -> Forecast:
    return forecast_plan(check(recipe))


def entry(label: str, **more) -> ArmForecast:
    values = {"arm": label, "model": None, "seed": None, "train_size": None, "steps": 0, "time_s": None}
    return ArmForecast(**{"label": label, "memory_bytes": None, **values, **more})


def test_every_kind_of_arm_of_labels_is_predicted(models, tmp_path):
    words = {"lora": {"name": "words", "objective": "words"}}
    arms = ["lexical", "zero-shot", "head", words, {"lp-ft": {"layers": "last 1"}}]
    recipe = small_recipe(tmp_path, [models["llama"]], arms, seeds=[0, 1], train=TRAIN, train_sizes=[8])
    forecast = forecast_of(recipe)
    assert forecast.notes == ()
    full = [arm for arm in forecast.arms if arm.train_size is None]
    assert [arm.arm for arm in full if arm.seed in (None, 0)] == [
        *("lexical", "zero-shot", "head", "words", "lp-ft")
    ]
    assert all(arm.time_s is not None and arm.time_s >= 0 for arm in forecast.arms)
    assert all(arm.memory_bytes for arm in forecast.arms if arm.model)
    steps = {arm.label.split(" ", 1)[1]: arm.steps for arm in full if arm.steps}
    assert steps == {f"{name} seed {seed}": 5 for name in ("words", "lp-ft") for seed in (0, 1)}
    assert {arm.steps for arm in forecast.arms if arm.train_size} == {0, 1}
    assert not Path(recipe.out).exists(), "nothing is written"


def test_every_kind_of_arm_of_questions_is_predicted(tmp_path):
    folders = question_models(tmp_path, ["llama", "distilbert"])
    arms = ["zero-shot", {"lora": {"objective": "words"}}]
    recipe = question_recipe(tmp_path, [folders["llama"]], arms, train=TRAIN)
    spans = question_recipe(tmp_path, [folders["distilbert"]], ["head", "full"], train=TRAIN)
    for forecast in (forecast_of(recipe), forecast_of(spans)):
        assert forecast.notes == ()
        assert [arm.arm for arm in forecast.arms][:2] == ["majority", "lexical"]
        assert all(arm.time_s is not None for arm in forecast.arms)
    assert forecast.arms[-1].steps == 48 // 8, "a window for each of the questions"


def test_an_encoder_is_predicted_without_its_weights(models, tmp_path, monkeypatch):
    from transformers import PreTrainedModel

    def refuse(*rest, **more):
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(PreTrainedModel, "from_pretrained", refuse)
    forecast = forecast_of(small_recipe(tmp_path, [models["distilbert"]], ["zero-shot", "full"]))
    assert forecast.notes == ()
    assert all(arm.time_s is not None for arm in forecast.arms)


def test_the_memory_of_twelve_layers_follows_from_two(models, tmp_path):
    """Each layer adds its weights, gradients and two states of the optimizer, at least."""
    context = context_of(check(small_recipe(tmp_path, [models["llama"]], ["full"])), "full")
    peaks, weights = [], []
    for layers in (2, 12):
        spec = replace(context.spec, config=with_layers(context.spec.config, layers))
        model = model_on_meta(spec.source, spec.config, head="labels", labels=("a", "b"))
        weights.append(sum(parameter.numel() for parameter in model.parameters()))
        peaks.append(predict_peak(replace(context, spec=spec)))
    assert 16 * (weights[1] - weights[0]) < peaks[1] - peaks[0] < 10 * peaks[0]


def test_what_cannot_be_timed_is_said_and_the_rest_is_predicted(models, tmp_path, monkeypatch):
    def fail(context, shots, predicted):
        raise ValueError("no such layer")

    monkeypatch.setattr("tuneproof.arms.timing.time_arm", fail)
    forecast = forecast_of(small_recipe(tmp_path, [models["llama"]], ["majority", "head", "full"]))
    head, full = (note for note in forecast.notes)
    assert head.startswith("head: its time cannot be predicted: ValueError: no such layer (test_forecast.py")
    assert full.startswith("full: its time")
    assert [arm.time_s is None for arm in forecast.arms] == [False, True, True]
    assert forecast.sentence.startswith("More than 1 second and at most ")


def test_a_run_writes_the_forecast_and_tells_it_first(models, tmp_path, monkeypatch):
    monkeypatch.setattr("tuneproof.study.run.announce_forecast", announce_forecast)
    recipe = small_recipe(tmp_path, [models["distilbert"]], ["majority", "full"], seeds=[0, 1], train=TRAIN)
    monitor = run_recorded(recipe)
    (told,) = [event for event in monitor.events if isinstance(event, StudyForecast)]
    assert list(told.predicted_s) == ["majority", "distilbert full seed 0", "distilbert full seed 1"]
    file = Path(recipe.out) / "forecast.json"
    values = json.loads(file.read_text())
    assert set(values) == {"time_s", "memory_bytes", "arms"}
    assert [set(arm) for arm in values["arms"]] == [KEYS] * 3
    assert values["time_s"] == pytest.approx(sum(told.predicted_s.values()))
    assert values["memory_bytes"] > 10**6
    more = small_recipe(
        tmp_path, [models["distilbert"]], ["majority", "full", "head"], seeds=[0, 1], train=TRAIN
    )
    (again,) = [event for event in run_recorded(more).events if isinstance(event, StudyForecast)]
    assert list(again.predicted_s) == ["distilbert head"], "finished arms cost nothing"
    labels = [arm["label"] for arm in json.loads(file.read_text())["arms"]]
    assert sorted(labels) == sorted([*told.predicted_s, "distilbert head"])
    assert not [event for event in run_recorded(more).events if isinstance(event, StudyForecast)]


def test_a_forecast_from_another_process_is_the_same_but_for_the_clock(tmp_path):
    recipe = small_recipe(tmp_path, [], ["majority", "lexical"])
    with forecast_apart(recipe) as forecast:
        plan = check(recipe)
        here, apart = forecast_here(plan), forecast(plan)
    assert here is not None
    assert apart is not None
    assert [arm.label for arm in apart.arms] == [arm.label for arm in here.arms]
    assert apart.arms[1].time_s > 0


def test_a_process_that_dies_leaves_a_note(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    recipe = small_recipe(tmp_path, [], ["majority"])
    with forecast_apart(recipe) as read:
        forecast = read(check(recipe))
    assert forecast is not None
    assert forecast.notes == (
        "The cost cannot be predicted: the process that times the arms ended with code 1.",
    )


def test_the_process_ends_with_the_plan_that_fails(tmp_path):
    def children():
        return [child for child in psutil.Process().children() if "forecast_process" in str(child.cmdline())]

    started = []

    def fail():
        with forecast_apart(small_recipe(tmp_path, [], ["majority"])):
            started.extend(children())
            raise RunError("here", "there is no plan.")

    with pytest.raises(RunError, match="no plan"):
        fail()
    assert started
    assert not children()


def test_a_study_of_baselines_is_forecast_without_torch(tmp_path):
    recipe = small_recipe(tmp_path, [], ["majority", "lexical"])
    (tmp_path / "recipe.yaml").write_text(recipe.text())
    code = (
        "import sys; from tuneproof.study.plan import check\n"
        "from tuneproof.recipe.recipe import read_recipe\n"
        "from tuneproof.study.forecast import forecast_plan\n"
        "forecast_plan(check(read_recipe('recipe.yaml')))\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0


def test_the_sentence_and_the_lines_add_up():
    lora = {"arm": "lora", "model": "m", "steps": 240, "time_s": 300.0, "memory_bytes": 2_100_000_000}
    forecast = Forecast(
        (entry("lexical", time_s=20.0), *(entry(f"lora {n}", seed=n, **lora) for n in range(2)))
    )
    assert forecast.sentence == "About 10 minutes and at most 2.1 GB: 3 runs, 480 steps."
    assert forecast.lines() == [
        "lexical: about 20 seconds",
        "m lora: 2 runs, 480 steps, about 10 minutes and at most 2.1 GB",
    ]
    assert forecast.as_json()["time_s"] == 620.0
    assert Forecast((entry("head"),)).sentence == "An unknown time: 1 run."
    assert Forecast((entry("a", time_s=5.0), entry("b"))).sentence == "More than 5 seconds: 2 runs."

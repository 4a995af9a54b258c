"""The seconds and steps of arms, by hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tuneproof.arms.timing import ArmTimes
from tuneproof.recipe.recipe import recipe_from
from tuneproof.study.arm_costs import START_S, ArmCosts, Counts, planned_steps
from tuneproof.study.arm_runs import list_arm_runs
from tuneproof.throughput.linear_cost import LayeredCost, Line

COUNTS = Counts(train=100, train_rows=100, all_train=100, dev=20, test=50)
SPEC: Any = SimpleNamespace(
    name="m", is_complete=False, width=8, config=SimpleNamespace(), family=SimpleNamespace(kind="decoder")
)


def cost(fixed: float, item: float, layer: float = 1.0) -> LayeredCost:
    """Seconds of a model of two layers and more: each layer adds the same."""
    return LayeredCost({n: Line(n * layer * fixed, n * layer * item) for n in (1, 2)})


def runs_of(arms: list[Any], monkeypatch, **sections: Any) -> tuple[Any, list[Any]]:
    """The recipe and its runs, for a model that can do everything."""
    monkeypatch.setattr("tuneproof.study.arm_runs.why_impossible", lambda *rest: None)
    values = {"task": "demo", "models": ["demo"], "arms": arms, "out": "out", **sections}
    recipe = recipe_from({**values, "train": {"self_test": False, **sections.get("train", {})}})
    return recipe, list_arm_runs(recipe, [SPEC], None, {})


def test_steps_are_those_of_every_seed_and_sample(monkeypatch):
    train = {"epochs": 3, "batch_size": 16, "min_steps": 0}
    recipe, runs = runs_of(["majority", "lora"], monkeypatch, train=train, train_sizes=[20])
    steps = [planned_steps(run, recipe, run.train_size or 100).all_steps for run in runs]
    assert [run.label for run in runs if run.arm.name == "lora"][:3] == [f"m lora seed {n}" for n in range(3)]
    assert steps == [0, *[3 * 7] * 3, 0, 0, 0, *[3 * 2] * 3]


def test_the_fewest_steps_further_cycles_and_the_arms_own_epochs_count(monkeypatch):
    train = {"epochs": 3, "batch_size": 10, "min_steps": 65, "evals_per_epoch": 2}
    arms = ["lora", {"full": {"epochs": 9}}, {"lp-ft": {"more_epochs": [2]}}]
    recipe, runs = runs_of(arms, monkeypatch, train=train, seeds=[0])
    planned = [planned_steps(run, recipe, 100) for run in runs]
    assert [plan.training for plan in planned] == [70, 90, 90]
    assert [plan.evaluations for plan in planned] == [14, 18, 19], "a fitted head is evaluated first"


def test_a_search_adds_its_budget(monkeypatch):
    arm = {"lora": {"learning_rate": "auto"}}
    settings = {"train": {"epochs": 2, "batch_size": 10, "min_steps": 0}, "search": {"budget": 1.5}}
    recipe, runs = runs_of([arm], monkeypatch, seeds=[0], **settings)
    planned = planned_steps(runs[0], recipe, 100)
    assert (planned.training, planned.searching, planned.all_steps) == (20, 30, 50)
    assert planned.trials == 5


def test_a_trained_arm_is_the_sum_of_its_work(monkeypatch):
    train = {"epochs": 2, "batch_size": 25, "min_steps": 0}
    recipe, (run,) = runs_of(["lora"], monkeypatch, train=train, seeds=[0])
    times = ArmTimes(
        layers=4, weights=cost(0, 0), predict=cost(0, 0.01), step=cost(0.1, 0.02), evaluate=cost(0, 0.001)
    )
    steps, evaluations, predictions = 8 * 4 * (0.1 + 25 * 0.02), 2 * 4 * 20 * 0.001, 4 * 70 * 0.01
    assert ArmCosts(recipe).seconds(run, times, COUNTS) == pytest.approx(
        START_S + steps + evaluations + predictions
    )


def test_the_last_layers_train_from_states_that_the_first_run_caches(monkeypatch):
    arms = [{"lora": {"layers": "last 1"}}]
    train = {"epochs": 1, "batch_size": 100, "min_steps": 0}
    recipe, runs = runs_of(arms, monkeypatch, train=train, seeds=[0, 1])
    times = ArmTimes(layers=4, weights=cost(0, 0), predict=cost(0, 0.01), step=cost(0.1, 0.0))
    costs = ArmCosts(recipe)
    own = START_S + 1 * 0.1 + 20 * 0.01 + 70 * 0.01, 3 * 170 * 0.01
    assert [costs.seconds(run, times, COUNTS) for run in runs] == pytest.approx([sum(own), own[0]])


def test_prompts_in_a_row_load_once_and_answers_are_written_to_their_end(monkeypatch):
    recipe, runs = runs_of(["zero-shot", {"few-shot": {"shots": 2}}], monkeypatch, seeds=[0])
    times = ArmTimes(layers=1, weights=cost(0, 0), predict=cost(0, 0.01), token=cost(0.5, 0), more_tokens=6)
    batches = 1 + 2  # of at most 32: of dev and of test
    own = 70 * 0.01 + batches * 6 * 0.5
    costs = ArmCosts(recipe)
    assert [costs.seconds(run, times, COUNTS) for run in runs] == pytest.approx([START_S + own, own])


def test_samples_of_train_share_the_heads_features(monkeypatch):
    recipe, runs = runs_of(["head"], monkeypatch, seeds=[0, 1], train_sizes=[50])
    times = ArmTimes(layers=1, weights=cost(0, 0), predict=cost(0, 1.0))
    costs = ArmCosts(recipe)
    first, *others = (costs.seconds(run, times, COUNTS) for run in runs)
    assert first == pytest.approx(START_S + 170, abs=0.1)
    assert len(others) == 2
    assert max(others) < 0.1


def test_a_baseline_is_extended_by_its_items(monkeypatch):
    recipe, (run,) = runs_of(["lexical"], monkeypatch)
    assert ArmCosts(recipe).seconds(run, Line(1.0, 0.1), COUNTS) == pytest.approx(START_S + 1.0 + 17.0)
    assert Path(recipe.out) == Path("out")

"""Arms are timed on dev with what they have loaded, and their results stay the same."""

import json
import time
from pathlib import Path

import pytest

from tests.arms.small import small_recipe
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.arms import serving_speed
from tuneproof.arms.serving_speed import Timing, time_serving
from tuneproof.errors import RunError
from tuneproof.settings import PredictSettings
from tuneproof.tasks.task import Example

ITEMS = [Example(str(i), f"text {i}", 0, str(i)) for i in range(10)]


def test_every_batch_holds_different_items_and_none_is_too_large() -> None:
    batches: list[list[str]] = []

    def serve(size):
        return lambda examples: batches.append([example.id for example in examples])

    entry = time_serving(serve, ITEMS, Timing(5.0, 8))
    assert {len(batch) for batch in batches} <= {1, 2, 8}
    assert all(len(set(batch)) == len(batch) for batch in batches)
    assert entry["reason"] is None
    assert set(entry["latency_s"]) == {"p50", "p95", "p99", "mean", "calls"}
    assert len(entry["item_s"]) == serving_speed.PASSES
    assert str(entry["batch_size"]) in entry["items_per_s"]


def test_percentiles_that_the_calls_cannot_show_are_left_out(monkeypatch) -> None:
    monkeypatch.setattr(serving_speed, "MAX_CALLS", 30)
    latency = time_serving(lambda size: len, ITEMS, Timing(5.0, 1))["latency_s"]
    assert set(latency) == {"p50", "p95", "mean", "calls"}


def test_an_item_that_takes_too_long_is_not_timed_again() -> None:
    calls = []
    entry = time_serving(lambda size: calls.append, ITEMS, Timing(1e-9, 8))
    assert len(calls) == 1
    assert entry["reason"].startswith("one item took ")


@pytest.mark.parametrize(("items_per_s", "best"), [(None, 2), (4000.0, 40)])
def test_the_rate_of_the_study_says_which_batches_there_is_time_for(items_per_s, best) -> None:
    items = [Example(str(i), f"text {i}", 0, str(i)) for i in range(40)]
    entry = time_serving(lambda size: lambda rows: time.sleep(0.02), items, Timing(0.5, 40, items_per_s))
    assert entry["batch_size"] == best


def test_a_failure_while_timing_costs_no_arm() -> None:
    def serve(size):
        raise RunError("here", "fails.")

    assert time_serving(serve, ITEMS, Timing(1.0, 8)) == {"reason": "RunError while it was timed"}


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """The same arms, timed and not timed."""
    folder = tmp_path_factory.mktemp("serving")
    arms = ["majority", "lexical", "zero-shot", "head", {"lora": {"layers": "last 1"}}]
    model = tiny_model(folder / "model", "llama")
    recipes = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuneproof.study.arm_session.time_serving", time_serving)
        patch.setattr(serving_speed, "MAX_CALLS", 4)
        for seconds in (2.0, 0.0):
            recipe = small_recipe(
                folder,
                [model],
                arms,
                seeds=[0],
                predict={"timing_s": seconds},
                out=str(folder / str(seconds)),
            )
            run_recorded(recipe)
            recipes.append(Path(recipe.out))
    return recipes


def test_arms_of_every_kind_are_timed_unless_the_recipe_says_no(studies) -> None:
    timed, untimed = (
        {path.parent.name: json.loads(path.read_text())["serving"] for path in folder.glob("arms/*/arm.json")}
        for folder in studies
    )
    assert len(timed) == 5
    assert all(entry["latency_s"]["p50"] > 0 for entry in timed.values())
    assert set(untimed.values()) == {None}


def test_timing_changes_no_bit_of_a_result(studies) -> None:
    timed, untimed = studies
    for path in timed.glob("arms/*/*predictions.parquet"):
        assert path.read_bytes() == (untimed / path.relative_to(timed)).read_bytes()
    facts = [
        {
            path.parent.name: json.loads(path.read_text())["fingerprint"]
            for path in folder.glob("arms/*/facts.json")
        }
        for folder in studies
    ]
    assert facts[0] == facts[1]


TIMED = {
    "latency_s": {"p50": 0.1, "mean": 0.1, "calls": 9},
    "items_per_s": {"1": 10.0},
    "batch_size": 1,
    "item_s": [0.1] * 3,
    "reason": None,
}


@pytest.mark.parametrize("failures", [0, 1])
def test_one_of_an_arms_seeds_is_timed(tmp_path, monkeypatch, failures) -> None:
    limits, fails = [], iter([True] * failures + [False] * 9)

    def record(serve, examples, timing):
        limits.append(timing.seconds)
        return {"reason": "RuntimeError while it was timed"} if next(fails) else TIMED

    monkeypatch.setattr("tuneproof.study.arm_session.time_serving", record)
    model = tiny_model(tmp_path / "model", "bert")
    recipe = small_recipe(tmp_path, [model], ["lora"], seeds=[3, 1, 2], predict={"timing_s": None})
    run_recorded(recipe)
    timed = {
        path.parent.name.rpartition("seed")[2]: json.loads(path.read_text())["serving"]
        for path in Path(recipe.out).glob("arms/*/arm.json")
    }
    last = ("3", "1")[failures]
    assert {seed: bool(entry and "item_s" in entry) for seed, entry in timed.items()} == {
        seed: seed == last for seed in "312"
    }
    assert len(limits) == 1 + failures
    assert all(2 <= seconds <= 5 for seconds in limits)


def test_a_batch_that_takes_no_more_than_the_time_is_timed_three_times() -> None:
    items = [Example(str(i), f"text {i}", 0, str(i)) for i in range(8)]

    def serve(size):
        return lambda examples: time.sleep(0.05 + 0.002 * len(examples))

    entry = time_serving(serve, items, Timing(0.8, 8, items_per_s=100))
    assert entry["batch_size"] == 8
    assert len(entry["item_s"]) >= 3


@pytest.mark.parametrize(
    ("setting", "arm_s", "limit_s"), [(None, 3, 2), (None, 30, 3), (None, 900, 5), (60, 3, 60), (0, 30, 0)]
)
def test_an_arm_is_timed_for_a_tenth_of_its_own_time(setting, arm_s, limit_s) -> None:
    assert PredictSettings(timing_s=setting).timing_limit_s(arm_s) == limit_s
